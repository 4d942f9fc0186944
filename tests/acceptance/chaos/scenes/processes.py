"""Faults of web and the workers: SIGKILL, SIGTERM, a blocked event loop, a wrong clock."""

import asyncio
import signal
from pathlib import Path
from typing import ClassVar

from tests.acceptance.chaos import plan
from tests.acceptance.chaos.arena import Arena
from tests.acceptance.chaos.plan import Variant
from tests.acceptance.chaos.scenes.scene import LONG_FAULT_S, Scene
from tests.acceptance.chaos.terms import AT_ONCE, LEASE_S, Terms

WEB_DRIVES = {"WEB_DRIVES": "background"}
"""Web drives runs and sends mail, too, so that its end matters as much as a worker's."""


class NoFault(Scene):
    """No fault: the baseline for the figures of the other scenes."""

    name: ClassVar[str] = "no-fault"

    async def faults(self, arena: Arena) -> None:
        await arena.recover()

    def seen(self, arena: Arena) -> int:
        return 1


class KilledEverySecond(Scene):
    """Web and the workers get SIGKILL in turn, one process each second, and are started again."""

    name: ClassVar[str] = "killed-each-second"

    def __init__(self) -> None:
        super().__init__(Terms(AT_ONCE, settings=WEB_DRIVES))
        self._kills = 0

    async def faults(self, arena: Arena) -> None:
        async with asyncio.TaskGroup() as group:
            restart: asyncio.Task[int] | None = None
            for second in range(int(LONG_FAULT_S)):
                await asyncio.sleep(1)
                if number := second % (len(arena.workers) + 1):
                    group.create_task(arena.replace_worker(number - 1, signal.SIGKILL))
                else:
                    if restart:
                        await restart
                    restart = group.create_task(arena.restart_web(signal.SIGKILL))
                self._kills += 1
        await arena.recover()

    def seen(self, arena: Arena) -> int:
        return self._kills


class RollingSigterm(Scene):
    """Web and the workers get SIGTERM one after the other, as in a deployment, twice."""

    name: ClassVar[str] = "rolling-sigterm"

    def __init__(self) -> None:
        # A step of this scene may take longer than the five seconds that the others have.
        super().__init__(Terms(AT_ONCE, settings=WEB_DRIVES | {"GRACE_S": "20"}))
        self._ends = 0

    async def faults(self, arena: Arena) -> None:
        for _ in range(2):
            self._ended(arena, "web", await arena.restart_web(signal.SIGTERM))
            for number, worker in enumerate(tuple(arena.workers)):
                status = await arena.replace_worker(number, signal.SIGTERM)
                self._ended(arena, worker.name, status)
                await asyncio.sleep(1)
        await arena.recover()

    def _ended(self, arena: Arena, name: str, status: int) -> None:
        self._ends += 1
        if status:
            arena.wrong.append(f"{name} ended with {status} after SIGTERM")

    def seen(self, arena: Arena) -> int:
        return self._ends


class ClockOff(Scene):
    """The clock of one worker is an hour fast, then an hour slow; the server's is right."""

    name: ClassVar[str] = "clock-hour-off"

    def __init__(self) -> None:
        super().__init__()
        self._library = _faketime()
        self.missing = "" if self._library else "no libfaketime (Debian: libfaketime)"
        self._entries = 0

    async def faults(self, arena: Arena) -> None:
        for offset in ("+1h", "-1h"):
            # The monotonic clock, which waits are measured by, counts seconds as before.
            settings = {"LD_PRELOAD": str(self._library), "FAKETIME": offset}
            settings |= {"FAKETIME_DONT_FAKE_MONOTONIC": "1"}
            await arena.replace_worker(1, signal.SIGTERM, settings)
            await asyncio.sleep(LONG_FAULT_S / 2)
        await arena.replace_worker(1, signal.SIGTERM)
        self._entries = await arena.admin.number(
            "select count(*) from events"
            " where abs(at_us - unix_timestamp(now(6)) * 1000000) > 1800000000"
        )
        await arena.recover()

    def seen(self, arena: Arena) -> int:
        return self._entries


def _faketime() -> Path | None:
    """Return the library of Debian's package libfaketime; None if it is not installed."""
    return next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


class LoopBlocked(Scene):
    """A tool sleeps in the event loop for longer than the lease."""

    name: ClassVar[str] = "loop-blocked"

    def __init__(self) -> None:
        super().__init__(Terms(block_s=1.5 * LEASE_S, variant_of=_variant))

    async def faults(self, arena: Arena) -> None:
        """The tools are the fault."""

    def seen(self, arena: Arena) -> int:
        starts = arena.counter.starts_by_ticket()
        return sum(
            len(starts.get(call.ticket, ()))
            for thread, variant in arena.runs.items()
            for call in plan.calls(thread, variant)
            if call.tool in plan.BLOCKING
        )


def _variant(number: int) -> Variant:
    variants: dict[int, Variant] = {
        3: "blocking_keyed",
        8: "long_in_thread",
        13: "blocking_unsafe",
    }
    return variants.get(number % 20, "plain")
