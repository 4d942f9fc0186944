"""Drives the runs of this process's requests, each in a task, up to a limit.

A run that the process does not finish is not lost: its lease is given back, and another process
continues it. A run that a failing service stops ends as failed, because its client waits for it.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from types import TracebackType
from typing import Self

from twelvefold.core import Listener, Principal, RunId
from twelvefold.engine import (
    RUN_BYTES,
    DrainGuard,
    GrowingListener,
    HeldRun,
    LoopShares,
    MemoryBudget,
    Outcome,
    Preparation,
    Reservation,
    Services,
)
from twelvefold.engine.drive import drive, may_have_children
from twelvefold.engine.family import drive_family
from twelvefold.errors import StaleRun
from twelvefold.observe.log import bind, get_logger
from twelvefold.web.http import ApiError, too_many_runs

log = get_logger(__name__)
Drive = asyncio.Task[Outcome | None]
"""The task that drives one run. It never raises. Its result is None if the run continues in another
process, or if the drive failed and was logged."""


class RunExecutor:
    """Drives at most `max_runs` runs at once, while its context is open.

    A request takes a slot before it writes a run, so that it writes none that is not driven:

        with executor.slot(principal):
            held = await start_run(services, request)
            executor.start(held, listener)

    `max_per_principal` None: half of `max_runs`. `memory` bounds the bytes of their conversations.
    """

    def __init__(
        self,
        services: Services,
        max_runs: int,
        max_per_principal: int | None = None,
        *,
        memory: MemoryBudget | None = None,
        shares: LoopShares | None = None,
    ) -> None:
        self._shares = shares or LoopShares()
        self.memory = memory or MemoryBudget(RUN_BYTES)
        self._services = services
        self._slots = RunSlots(max_runs, max_per_principal)
        self._preparation = Preparation(services)
        self._draining = asyncio.Event()
        self._group = asyncio.TaskGroup()
        self._guards: dict[RunId, DrainGuard] = {}
        self._drives: dict[RunId, Drive] = {}

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self.drain(0)
        finally:
            # No drive raises, so the error of the body is passed on as it is, in no group.
            await self._group.__aexit__(None, None, None)

    async def prepare(self, after: asyncio.Event) -> None:
        """Import and build what runs need, which may take a second, when `after` is set.

        Runs that start earlier wait for it.
        """
        await after.wait()
        await self._preparation.ready()

    @property
    def in_flight(self) -> int:
        """The number of runs that this process drives now."""
        return len(self._drives)

    @contextmanager
    def slot(self, principal: Principal) -> Iterator[None]:
        """Reserve a slot for one run of the principal until it is started or the body ends.

        Raises ApiError: 429 if all slots are taken, or all that one principal may take; 503 if the
        process drains.
        """
        if self._draining.is_set():
            raise ApiError(503, "the server is stopping", code="service_unavailable", wait_s=1)
        with self._slots.slot(principal.id):
            yield

    def start(
        self, held: HeldRun, listener: Listener, reservation: Reservation | None = None
    ) -> Drive:
        """Drive a run until it is over or waits for a person, also after its client has left.

        The reservation of the conversation's bytes is kept until then. Shield the task to wait for
        it: a cancellation gives the run back.
        """
        principal = held.thread.principal
        reservation = reservation or self.memory.reservation(principal)
        reservation.keep()
        reservation.grow_to(held.thread.size)
        self._slots.take(principal)
        guard = DrainGuard(GrowingListener(listener, reservation), self._draining.is_set)
        work = self._shares.measured(principal, partial(self._drive, held, guard))
        task = self._group.create_task(work, name=f"drive {held.run}")
        self._guards[held.run], self._drives[held.run] = guard, task
        task.add_done_callback(lambda _: self._remove(held.run, task))
        task.add_done_callback(lambda _: self._release(principal, reservation))
        return task

    def _release(self, principal: str, reservation: Reservation) -> None:
        self._slots.release(principal)
        reservation.release()

    def _remove(self, run: RunId, task: Drive) -> None:
        # A run that was approved at once may have a new drive already.
        if self._drives[run] is task:
            del self._guards[run], self._drives[run]

    def drive_of(self, run: RunId) -> Drive | None:
        """Return the task that drives this run here, if there is one."""
        return self._drives.get(run)

    async def drain(self, grace_s: float) -> None:
        """Let every run finish its current step, then give it back.

        A step that takes longer than `grace_s` is abandoned. Returns once every lease is back.
        """
        self._draining.set()
        self._services.exit_limit.begin(grace_s)
        loop = asyncio.get_running_loop()
        end = loop.time() + grace_s
        while self._drives and (left_s := end - loop.time()) > 0:
            await asyncio.wait([*self._drives.values()], timeout=left_s)
        while self._drives:
            await asyncio.sleep(0)  # until drives that were just created have started
            for guard in self._guards.values():
                guard.release()
            await asyncio.wait([*self._drives.values()])

    async def _drive(self, held: HeldRun, guard: DrainGuard) -> Outcome | None:
        with bind(run=str(held.run)):
            try:
                await self._preparation.ready()
                guard.attach()
                thread = held.thread
                if not may_have_children(self._services, held):
                    return await drive(self._services, held, guard, fail_on_fault=True)
                slots = _FamilySlots(self._slots, thread.principal)
                shares = self._services.run_shares
                return await drive_family(
                    self._services,
                    held,
                    guard,
                    fail_on_fault=True,
                    slot=slots.slot,
                    is_stopping=self._draining.is_set,
                    share=partial(shares.wait_for_slot, thread.principal, thread.key_id),
                )
            except StaleRun:
                return None  # the engine has logged it
            except Exception:
                log.exception("drive_failed")
                return None

    def stop(self, run: RunId) -> None:
        """Stop the drive of a run, if there is one here."""
        if guard := self._guards.get(run):
            guard.release()


class _FamilySlots:
    """The slots for a run and the runs that it starts: its own, and others while they are free.

    A run that waits for its children is not driven, so that one of them may have its slot.
    """

    def __init__(self, shared: "RunSlots", principal: str) -> None:
        self._shared = shared
        self._principal = principal
        self._own = asyncio.Lock()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Take a slot for one drive; wait for the family's own if no other is free."""
        if self._own.locked() and self._shared.take_if_free(self._principal):
            try:
                yield
            finally:
                self._shared.release(self._principal)
            return
        async with self._own:
            yield


class RunSlots:
    """Slots for the runs that a process drives: `limit` in all, `limit_per_principal` for each.

    None: half of `limit`. All keys of a principal count together.
    """

    def __init__(self, limit: int, limit_per_principal: int | None = None) -> None:
        self._limit = limit
        self._limit_per_principal = limit_per_principal or max(limit // 2, 1)
        self._taken: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """The number of slots that are taken now."""
        return self._taken.total()

    @contextmanager
    def slot(self, principal: str) -> Iterator[None]:
        """Take a slot while the body runs. Raises ApiError with 429 if none is free."""
        if self.taken >= self._limit:
            raise too_many_runs(f"all {self._limit} run slots are taken")
        if self._taken[principal] >= self._limit_per_principal:
            message = f"all {self._limit_per_principal} run slots of one principal are taken"
            raise too_many_runs(message)
        self.take(principal)
        try:
            yield
        finally:
            self.release(principal)

    def take_if_free(self, principal: str) -> bool:
        """Take a slot if there is one for the principal; return whether there was."""
        is_free = self.taken < self._limit and self._taken[principal] < self._limit_per_principal
        if is_free:
            self.take(principal)
        return is_free

    def take(self, principal: str) -> None:
        """Count one more run, also above the limits."""
        self._taken[principal] += 1

    def release(self, principal: str) -> None:
        """Count one run fewer."""
        self._taken[principal] -= 1
        if not self._taken[principal]:
            del self._taken[principal]
