"""The twelve factors in their order, and how all of their checks are run.

Source of the names: 12factor.net.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence

from twelvefold.config import Settings
from twelvefold.errors import SettingsError
from twelvefold.factors.checks import (
    backing_services as services,
)
from twelvefold.factors.checks import (
    build_release_run as releases,
)
from twelvefold.factors.checks import (
    codebase,
    concurrency,
    config,
    disposability,
    logs,
    parity,
    processes,
)
from twelvefold.factors.harness.machine_load import is_busy, measure_pace, scaled, set_pace
from twelvefold.factors.harness.report import Factor, Row, Witness
from twelvefold.factors.harness.testbed import Scene, open_scene

LIMIT_S = 45.0
"""For each check, from its own beginning, on a quiet machine."""
TOO_LONG = "not over within {:.0f} s"
NO_TIME = "{}; the machine is too busy to tell"
AT_ONCE = 4
"""Checks side by side; most of their time they wait for processes to start."""

FACTORS = (
    Factor("I", "Codebase", codebase.codebase),
    Factor("II", "Dependencies", codebase.dependencies),
    Factor("III", "Config", config.config),
    Factor("IV", "Backing services", services.backing_services),
    Factor("V", "Build, release, run", releases.build_release_run),
    Factor("VI", "Processes", processes.processes),
    Factor("VII", "Port binding", processes.port_binding),
    Factor("VIII", "Concurrency", concurrency.concurrency),
    Factor("IX", "Disposability", disposability.disposability),
    Factor("X", "Dev/prod parity", parity.parity),
    Factor("XI", "Logs", logs.logs),
    Factor("XII", "Admin processes", releases.admin_processes),
)
MEASURED = "IX"
"""Begins alone: it takes the time that a process needs to be ready."""
LONGEST_FIRST = (MEASURED, "VIII", "XII", "IV")


def factors_of(numbers: Sequence[str]) -> tuple[Factor, ...]:
    """Those with these numbers, or all. Raises SettingsError for a number that is none."""
    wanted = {number.upper() for number in numbers}
    if unknown := sorted(wanted - {one.number for one in FACTORS}):
        raise SettingsError(f"there is no factor {', '.join(unknown)}; there are I to XII")
    return tuple(one for one in FACTORS if not wanted or one.number in wanted)


async def prove(
    settings: Settings, environ: Mapping[str, str], factors: Sequence[Factor] = FACTORS
) -> list[Row]:
    """Try these factors on the release that runs; a row each, in their order.

    Raises SettingsError or StoreUnavailable where the database does not let the checks begin.
    """
    in_haste = sorted(factors, key=lambda one: one.number not in LONGEST_FIRST)
    async with open_scene(settings, environ) as scene:
        await scene.scratch.empty()  # refused here, rather than twelve times below
        set_pace(measure_pace())
        run = _Run(scene)
        if MEASURED not in {one.number for one in factors}:
            scene.calm.set()
        async with asyncio.TaskGroup() as tasks:
            trials = {one.number: tasks.create_task(run.tried(one)) for one in in_haste}
    return [trials[one.number].result() for one in factors]


class _Run:
    """All checks on one scene, of which only so many go on at a time."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def tried(self, factor: Factor) -> Row:
        """What came of one check; whatever goes wrong in it is its row's."""
        if factor.number != MEASURED:
            await self._scene.calm.wait()
        async with self._turns:
            began, witness = time.monotonic(), Witness()
            await self._check(factor, witness)
            if factor.number == MEASURED:
                self._scene.calm.set()
        return Row(factor, witness.result, tuple(witness.evidence), time.monotonic() - began)

    async def _check(self, factor: Factor, witness: Witness) -> None:
        limit_s = scaled(LIMIT_S)
        end = asyncio.timeout(limit_s)
        try:
            async with end:
                await factor.check(self._scene, witness)
        except Exception as error:
            first = _first(error)
            why = TOO_LONG.format(limit_s) if end.expired() else _said(first)
            if isinstance(first, TimeoutError) and is_busy():
                witness.cut_short(NO_TIME.format(why))
            else:
                witness.fail(why)


def _first(error: Exception) -> Exception:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".removesuffix(": ")
