"""Runs the checks of the factors concurrently and collects their results."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from twelvefold.config import Settings
from twelvefold.factors.harness import MachineLoad, Report, Result, TestBed, open_test_bed
from twelvefold.factors.registry import FACTORS, Factor

CHECK_TIMEOUT_S = 180.0
"""For each check, from its own start, on a quiet machine."""
MAX_CONCURRENT = 4
"""Checks at a time; most of their time they wait for processes to start."""
MEASURES_STARTUP = "IX"
"""Starts alone, because it times the start of a process."""
LONGEST_FIRST = (MEASURES_STARTUP, "VIII", "XII", "IV")


@dataclass(frozen=True, slots=True)
class FactorResult:
    factor: Factor
    result: Result
    evidence: tuple[str, ...]
    took_s: float


async def run_checks(
    settings: Settings,
    environ: Mapping[str, str],
    factors: Sequence[Factor] = FACTORS,
    *,
    timeout_s: float = CHECK_TIMEOUT_S,
    max_concurrent: int = MAX_CONCURRENT,
    load: MachineLoad | None = None,
) -> list[FactorResult]:
    """Check the factors against the running release; results are in the order of the factors.

    Raises SettingsError or StoreUnavailable if no temporary database can be created.
    """
    ordered = sorted(factors, key=lambda factor: factor.number not in LONGEST_FIRST)
    async with open_test_bed(settings, environ, load or MachineLoad()) as bed:
        await bed.databases.create_empty()  # one error here instead of one in every check
        runner = _Runner(bed, timeout_s, max_concurrent)
        if MEASURES_STARTUP not in {factor.number for factor in factors}:
            bed.startup_measured.set()
        async with asyncio.TaskGroup() as tasks:
            results = {one.number: tasks.create_task(runner.run(one)) for one in ordered}
    return [results[factor.number].result() for factor in factors]


class _Runner:
    """Runs single checks on a shared test bed, a limited number at a time."""

    def __init__(self, bed: TestBed, timeout_s: float, max_concurrent: int) -> None:
        self._bed = bed
        self._timeout_s = bed.load.scaled(timeout_s)
        self._slots = asyncio.Semaphore(max_concurrent)

    async def run(self, factor: Factor) -> FactorResult:
        """Run one check. An exception in it is part of its result."""
        if factor.number != MEASURES_STARTUP:
            await self._bed.startup_measured.wait()
        async with self._slots:
            started, report = time.monotonic(), Report(self._bed.load)
            await self._check(factor, report)
            if factor.number == MEASURES_STARTUP:
                self._bed.startup_measured.set()
        took_s = time.monotonic() - started
        return FactorResult(factor, report.result, tuple(report.evidence), took_s)

    async def _check(self, factor: Factor, report: Report) -> None:
        timeout = asyncio.timeout(self._timeout_s)
        try:
            async with timeout:
                await factor.check(self._bed, report)
        except Exception as error:
            first = _first_of_group(error)
            reason = f"{type(first).__name__}: {first}".removesuffix(": ")
            if timeout.expired():
                reason = f"timed out after {self._timeout_s:.0f} s"
            if isinstance(first, TimeoutError) and self._bed.load.is_busy():
                report.mark_inconclusive(f"{reason}; the machine is too busy for a result")
            else:
                report.fail(reason)


def _first_of_group(error: Exception) -> Exception:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
