"""The runs that this process's requests have begun: bounded, counted, never loose.

A run that its process does not finish loses nothing: its lease is given back, and any other
process goes on with it. A run that a fault of a service stops ends as failed: its caller waits.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Self

from twelvefold.core.ids import RunId
from twelvefold.core.ports import Listener, Principal
from twelvefold.engine.commit import HeldRun
from twelvefold.engine.drain import DrainGuard
from twelvefold.engine.drive import Outcome, drive
from twelvefold.engine.loop_shares import LoopShares
from twelvefold.engine.memory_budget import RUN_BYTES, GrowingListener, MemoryBudget, Reservation
from twelvefold.engine.preparation import Preparation
from twelvefold.engine.services import Services
from twelvefold.errors import StaleRun
from twelvefold.observe.log import bind, get_logger
from twelvefold.web.http.errors import ApiError
from twelvefold.web.runs.run_slots import RunSlots

log = get_logger(__name__)


class RunExecutor:
    """Runs in flight, at most `max_runs` at once; open as long as the body runs.

    A request takes a slot before it writes a run, so that no run is written that nobody drives:

        with drives.slot(principal):
            driven = await start_run(…)
            drives.start(driven, listener)

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
        self._stopping = False
        self._group = asyncio.TaskGroup()
        self._hands: dict[RunId, DrainGuard] = {}
        self._tasks: dict[RunId, asyncio.Task[Outcome | None]] = {}

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
            # No task of the group fails, so what ended the body goes on as it is, in no group.
            await self._group.__aexit__(None, None, None)

    async def prepare(self) -> None:
        """Import and build what runs need; those that begin earlier wait for it."""
        await self._preparation.ready()

    @property
    def in_flight(self) -> int:
        """How many runs are driven here now."""
        return len(self._tasks)

    @contextmanager
    def slot(self, principal: Principal) -> Iterator[None]:
        """Keep a place for one run of the principal's, until it is started or the body ends.

        Raises ApiError: 429 if all places are taken, or all that one principal may take, 503 if the
        process is about to end.
        """
        if self._stopping:
            raise ApiError(503, "the server is stopping", code="service_unavailable", wait_s=1)
        with self._slots.slot(principal.id):
            yield

    def start(
        self, driven: HeldRun, listener: Listener, reservation: Reservation | None = None
    ) -> "asyncio.Task[Outcome | None]":
        """Drive a run to its rest, whether or not anybody waits for it.

        It keeps the reservation of its conversation's bytes, and gives it back then.

        The task never raises; None says that the run went on elsewhere, or that the drive failed
        as the log says. Who waits for it shields it: to cancel it is to give the run back.
        """
        principal = driven.thread.principal
        reservation = reservation or self.memory.reservation(principal)
        reservation.keep()
        reservation.grow_to(driven.thread.size)
        self._slots.take(principal)
        hand = DrainGuard(GrowingListener(listener, reservation), lambda: self._stopping)
        drive = self._shares.measured(principal, partial(self._driven, driven, hand))
        task = self._group.create_task(drive, name=f"drive {driven.run}")
        self._hands[driven.run], self._tasks[driven.run] = hand, task
        task.add_done_callback(lambda _: self._over(driven.run, task))
        task.add_done_callback(lambda _: self._give_back(principal, reservation))
        return task

    def _give_back(self, principal: str, reservation: Reservation) -> None:
        self._slots.release(principal)
        reservation.release()

    def _over(self, run: RunId, task: "asyncio.Task[Outcome | None]") -> None:
        # A run that was approved at once may be in hand again.
        if self._tasks[run] is task:
            del self._hands[run], self._tasks[run]

    def task(self, run: RunId) -> "asyncio.Task[Outcome | None] | None":
        """The task that drives this run here; None if no task here does."""
        return self._tasks.get(run)

    async def drain(self, grace_s: float) -> None:
        """Let every run finish the step in hand, then give it back.

        A step that takes longer than `grace_s` is abandoned. Returns when every lease is back.
        """
        self._stopping = True
        self._services.exit_limit.begin(grace_s)
        loop = asyncio.get_running_loop()
        end = loop.time() + grace_s
        while self._tasks and (left_s := end - loop.time()) > 0:
            await asyncio.wait([*self._tasks.values()], timeout=left_s)
        while self._tasks:
            await asyncio.sleep(0)  # until those that have just been started have begun
            for hand in self._hands.values():
                hand.leave()
            await asyncio.wait([*self._tasks.values()])

    async def _driven(self, driven: HeldRun, hand: DrainGuard) -> Outcome | None:
        with bind(run=str(driven.run)):
            try:
                await self._preparation.ready()
                hand.begin()
                return await drive(self._services, driven, hand, fail_on_fault=True)
            except StaleRun:
                return None  # the engine has logged it
            except Exception:
                log.exception("drive_failed")
                return None

    def stop(self, run: RunId) -> None:
        """End a drive, if there is one here."""
        if hand := self._hands.get(run):
            hand.leave()
