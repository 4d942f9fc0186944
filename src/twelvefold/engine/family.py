"""Drives a run together with the runs that it starts, where no worker has taken them.

Any process may drive any of them: this one takes what is queued, and waits for the rest. A run that
waits for its children holds no lease, and the end of a child queues it again.
"""

import asyncio
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial

from msgspec import structs

from twelvefold.backoff import Backoff
from twelvefold.core import OVER, Listener, NullListener, RunId, RunStatus, WaitState, fold
from twelvefold.core.children import awaited_runs
from twelvefold.engine.commands import take
from twelvefold.engine.drive import DrainGuard, Outcome, drive, may_have_children
from twelvefold.engine.held_run import HeldRun
from twelvefold.engine.services import Services
from twelvefold.errors import Conflict, NotFound, StaleRun, TooLate
from twelvefold.observe.log import get_logger

log = get_logger(__name__)
Slot = Callable[[], AbstractAsyncContextManager[object]]
Share = Callable[[RunId], AbstractAsyncContextManager[object]]
"""Opens the context of one drive, which waits until the process can take it."""

RUNS_AT_ONCE = 8
"""How many runs of a family one process drives at the same time."""
POLL = Backoff(first_s=0.05, longest_s=1.0)
"""How often a process reads the status of runs that another one may drive."""
RETRY_POLLS = 8
"""After so many reads of its status a run that another process holds is claimed: that process may
have died."""


def never() -> bool:
    """Return False: the process does not stop."""
    return False


async def drive_family(
    services: Services,
    held: HeldRun,
    listener: Listener,
    *,
    fail_on_fault: bool = False,
    slot: Slot | None = None,
    is_stopping: Callable[[], bool] = never,
    poll: Backoff = POLL,
    share: Share | None = None,
) -> Outcome:
    """Drive a run and the runs below it until it is over, or all of them wait for something else.

    `listener` observes the run itself, `fail_on_fault` is as for `drive`. Each drive is inside of
    `slot()`, without which `RUNS_AT_ONCE` drives may be in progress. The runs below are given back
    after their current step once `is_stopping` returns true. Each run is claimed inside of
    `share(run)`. Returns "waiting" with the fault of a
    run below that a service stopped. Raises as `drive` does, also while another process drives the
    run; the runs below are given back when this is cancelled.
    """
    if not may_have_children(services, held):
        return await drive(services, held, listener, fail_on_fault=fail_on_fault)
    slots = asyncio.Semaphore(RUNS_AT_ONCE)
    take_slot, share_of = slot or (lambda: slots), share or (lambda _: nullcontext())
    family = _Family(services, take_slot, is_stopping, poll, fail_on_fault, share_of)
    return await family.drive(held, listener)


@dataclass(frozen=True)
class _Family:
    """What the drives of a run and of those below it share. Each drive takes a slot."""

    services: Services
    slot: Slot
    is_stopping: Callable[[], bool]
    poll: Backoff
    fail_on_fault: bool
    share: Share

    async def drive(self, held: HeldRun, listener: Listener) -> Outcome:
        """Drive a run, its children while it waits for them, and it again."""
        async with self.slot():
            outcome = await self._drive_held(held, listener)
        return await self._drive_rest(outcome, listener)

    async def _drive_rest(self, outcome: Outcome, listener: Listener) -> Outcome:
        """Drive the children that a run waits for, and the run again."""
        async with _Children(self, outcome.run) as children:
            while runs := _awaited(outcome):
                fault = await children.run(runs)
                if fault is not None:
                    return await self._read(outcome, fault)
                outcome = await self._claim_and_drive(outcome.run, listener) or outcome
        return outcome

    async def _claim_and_drive(self, run: RunId, listener: Listener) -> Outcome | None:
        """Return None if another process holds the run, or it is over."""
        # Claimed with a slot only: a lease is renewed while the run is driven.
        async with self.slot():
            try:
                async with self.share(run):
                    held = await take(self.services, run, waits=False)
            except (Conflict, TooLate, NotFound):
                return None
            return await self._drive_held(held, listener)

    async def _drive_held(self, held: HeldRun, listener: Listener) -> Outcome:
        return await drive(self.services, held, listener, fail_on_fault=self.fail_on_fault)

    async def drive_child(self, run: RunId) -> str:
        """Drive a child if no other process does; return the fault that stopped it, or ""."""
        guard = DrainGuard(NullListener(), self.is_stopping)
        guard.attach()
        try:
            outcome = await self._claim_and_drive(run, guard)
            outcome = outcome and await self._drive_rest(outcome, guard)
        except StaleRun:
            return ""
        except Exception as error:  # as for any other run: it was given back
            log.exception("drive_failed", run=str(run))
            return f"an unexpected {type(error).__name__} stopped run {run}"
        return outcome.fault if outcome else ""

    async def _read(self, last: Outcome, fault: str) -> Outcome:
        """Return a run as it is now: another process may have ended it."""
        store, run = self.services.store, last.run
        record = await self.services.retry(partial(store.run, run), math.inf)
        if record.status not in OVER:
            return structs.replace(last, status="waiting", fault=fault)
        stored = await self.services.retry(partial(store.load, run.thread), math.inf)
        return Outcome(run, record.status, fold(stored.entries))


def _awaited(outcome: Outcome) -> tuple[RunId, ...]:
    """Return the children that a run waits for after its drive."""
    rests = outcome.status in ("waiting", "queued") and not outcome.fault
    return awaited_runs(outcome.thread.parent_calls) if rests else ()


@dataclass
class _Children:
    """The drives of the children of one run, in tasks; leaving the context ends them."""

    family: _Family
    parent: RunId
    _tasks: dict[RunId, "asyncio.Task[str]"] = field(default_factory=dict)
    _visited: set[RunId] = field(default_factory=set)
    _faults: dict[RunId, str] = field(default_factory=dict)

    async def __aenter__(self) -> "_Children":
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        # A coroutine that is closed cannot wait.
        if tasks and not (kind and issubclass(kind, GeneratorExit)):
            await asyncio.wait(tasks)

    async def run(self, runs: tuple[RunId, ...]) -> str | None:
        """Drive children until their parent can be claimed, then return None.

        Returns a fault, or "", if nothing is left to do here: all of them wait or are stopped by a
        fault, the parent is over, or the process stops.
        """
        attempt = 0
        while (state := await self._read(runs)).status not in OVER:
            attempt += 1
            unfinished = [run for run in runs if state.runs[run] not in OVER]
            is_retry = attempt % RETRY_POLLS == 0
            if self._may_continue(state.status, unfinished, is_retry=is_retry):
                return None
            self._start(unfinished, state, is_retry=is_retry)
            if not self._tasks and self._is_idle(unfinished, state):
                return next(iter(self._faults.values()), "")
            await self._pause(self.family.poll.pause_s(attempt))
        return ""

    def _may_continue(
        self, status: RunStatus, unfinished: Sequence[RunId], *, is_retry: bool
    ) -> bool:
        """Return whether to claim the parent: any process may, or its lease may have expired.

        If it waits for none of these children, another process has continued it.
        """
        if status == "running":
            return is_retry
        return status == "queued" or not unfinished

    async def _read(self, runs: tuple[RunId, ...]) -> WaitState:
        services = self.family.services
        return await services.retry(
            partial(services.store.wait_state, self.parent, (), runs), math.inf
        )

    def _start(self, runs: Sequence[RunId], state: WaitState, *, is_retry: bool) -> None:
        """Drive the children that no process seems to drive.

        A child that waits is driven once: it may wait for children of its own.
        """
        if self.family.is_stopping():
            return
        for run in runs:
            status = state.runs[run]
            is_free = status == "queued" or (status == "running" and is_retry)
            is_new = status == "waiting" and run not in self._visited
            if (is_free or is_new) and run not in self._tasks and run not in self._faults:
                self._visited.add(run)
                work = self.family.drive_child(run)
                self._tasks[run] = asyncio.get_running_loop().create_task(work, name=f"drive {run}")

    def _is_idle(self, runs: Sequence[RunId], state: WaitState) -> bool:
        """Return whether no process drives any of these children, as far as this one knows."""
        if self.family.is_stopping():
            return True
        return all(state.runs[run] == "waiting" or run in self._faults for run in runs)

    async def _pause(self, pause_s: float) -> None:
        """Wait for the end of a drive here, at most so long."""
        if not self._tasks:
            await asyncio.sleep(pause_s)
            return
        done, _ = await asyncio.wait(
            self._tasks.values(), timeout=pause_s, return_when=asyncio.FIRST_COMPLETED
        )
        for run in [run for run, task in self._tasks.items() if task in done]:
            task = self._tasks.pop(run)
            # Its guard cancels a drive when the process stops.
            if not task.cancelled() and (fault := task.result()):
                self._faults[run] = fault
