"""Drives runs until they are over or wait, here or while another process drives them."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from twelvefold.app.run import Run, make_run, read_run
from twelvefold.core import (
    OVER,
    JournalDelta,
    Listener,
    RunId,
    RunRecord,
)
from twelvefold.engine import HeldRun, Outcome, Preparation, Services, take
from twelvefold.engine.commands import give_back
from twelvefold.engine.family import drive_family
from twelvefold.errors import Conflict, StaleRun, TooLate

FOLLOW_POLL_S = 0.2
"""How often a run that another process drives is read."""


class Follower(Listener, Protocol):
    """Observes a run also while another process drives it."""

    @property
    def is_streaming(self) -> bool:
        """Whether it needs the entries and pieces of other processes."""
        ...

    @property
    def position(self) -> int:
        """The position of the last entry that it was given."""
        ...

    @property
    def deltas_after(self) -> tuple[int, int]:
        """The position and the number of the last piece that it was given."""
        ...

    def moved(self) -> None:
        """Another process drives the run from here, or this one again."""

    def read(self, delta: JournalDelta) -> None:
        """Take new entries and pieces of another process."""


@dataclass
class Drives:
    """The runs that an app drives, by id."""

    services: Services
    poll_s: float = FOLLOW_POLL_S
    _preparation: Preparation = field(init=False)
    _tasks: "dict[RunId, asyncio.Task[Outcome]]" = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._preparation = Preparation(self.services)

    async def prepare(self) -> None:
        """Import and build in a thread what runs need, before the first one is leased."""
        await self._preparation.ready()

    async def drive(self, held: HeldRun, follower: Follower) -> Run[object]:
        """Drive a run until it is over or waits; follow it if another process takes it over.

        A fault of a service gives the run back: the result is "queued", with the error.
        """
        run, current = held.run, held
        while True:
            outcome = await self._drive_here(current, follower)
            if outcome is not None:
                return await make_run(self.services, outcome)
            follower.moved()
            next_held = await self._wait(run, follower)
            if next_held is None:
                return await read_run(self.services, run)
            current = next_held

    async def follow(self, run: RunId, follower: Follower, *, wakes: bool = False) -> Run[object]:
        """Return a run once it is over or waits; drive it if no process does.

        `wakes`: drive it also if it waits, because what it waits for may have come.
        """
        held = await (self._claim(run, follower) if wakes else self._wait(run, follower))
        if held is None and wakes:
            held = await self._wait(run, follower)
        if held is None:
            return await read_run(self.services, run)
        return await self.drive(held, follower)

    async def stop(self, run: RunId) -> None:
        """Stop the drive of a run that was cancelled, if it is here."""
        if task := self._tasks.get(run):
            await asyncio.sleep(0)  # a task that is cancelled before it starts gives nothing back
            task.cancel()

    async def _drive_here(self, held: HeldRun, listener: Listener) -> Outcome | None:
        """Return the outcome, or None if the run was cancelled or taken over meanwhile."""
        task = asyncio.get_running_loop().create_task(
            drive_family(self.services, held, listener), name=f"drive {held.run}"
        )
        self._tasks[held.run] = task
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            task.cancel()
            while not task.done():  # a second cancellation must not interrupt the release
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([task])
            raise
        finally:
            if self._tasks.get(held.run) is task:  # else another call has taken the run over
                del self._tasks[held.run]
        with suppress(StaleRun, asyncio.CancelledError):
            return task.result()
        return None

    # --- a run that another process may drive --------------------------------------------------

    async def _wait(self, run: RunId, follower: Follower) -> HeldRun | None:
        """Wait until the run rests; return it as held if no process drives it."""
        services = self.services
        while True:
            record = await services.retry(lambda: services.store.run(run))
            if follower.is_streaming:
                follower.read(await self._read(run, follower))
            if _rests(record):
                return None
            if not record.leased and (held := await self._claim(run, follower)):
                return held
            await asyncio.sleep(self.poll_s)

    async def _claim(self, run: RunId, follower: Follower) -> HeldRun | None:
        """Claim the run; the follower then has all entries, and the pieces so far are void."""
        await self.prepare()
        try:
            held = await take(self.services, run)
        except (Conflict, TooLate):
            return None
        try:
            if follower.is_streaming:
                follower.read(await self._read(run, follower))
        except BaseException:
            await give_back(self.services, held)
            raise
        follower.moved()
        return held

    async def _read(self, run: RunId, follower: Follower) -> JournalDelta:
        store = self.services.store
        return await self.services.retry(
            lambda: store.follow(
                run.thread, after=follower.position, deltas_after=follower.deltas_after
            )
        )


def _rests(record: RunRecord) -> bool:
    return record.status in OVER or record.status == "waiting"
