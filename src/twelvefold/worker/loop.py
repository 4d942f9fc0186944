"""The worker: takes runs up from the table and drives them, hundreds at once in one process.

A row that any process may claim is the whole queue; the process whose claim succeeds has the run.
Runs are taken round-robin between principals (`turns`). Runs that were let go because a service
failed are tried again after growing pauses (`pauses`). One statement finds runs and due mail.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial

from twelvefold.core.ids import RunId
from twelvefold.core.ports import Listener, Mailer, NullListener, WaitingRun, WaitingWork
from twelvefold.engine.commands import take
from twelvefold.engine.commit import HeldRun
from twelvefold.engine.drain import DrainGuard
from twelvefold.engine.drive import Outcome, drive
from twelvefold.engine.memory_budget import (
    RUN_BYTES,
    BudgetExhausted,
    GrowingListener,
    MemoryBudget,
    Reservation,
)
from twelvefold.engine.preparation import Preparation
from twelvefold.engine.services import Services
from twelvefold.errors import RequestError, ServiceFault, StaleRun
from twelvefold.observe.log import bind, get_logger
from twelvefold.worker.backoff import NO_ROOM_S, RunBackoff
from twelvefold.worker.outbox import OutboxSender
from twelvefold.worker.poll_interval import PollInterval
from twelvefold.worker.quarantine import PoisonRunLimiter
from twelvefold.worker.turns import Search, Turns, default_share

log = get_logger(__name__)
POLL_S = 1.0
"""The longest that a run waits for a worker that has nothing to do."""
FEW = 16
"""Runs that are claimed at once; the others are left for other workers."""
TRICKLE = 4
"""The same in every poll while so many runs fail that not all are remembered: about as many as are
tried again by then anyway, so that a service that is down is not run over."""
CHOICE = 4
"""Of so many times as many candidates of a principal: workers that all took the oldest would
compete for them."""
STATEMENTS = 4
"""Statements of one search for runs. The next one continues behind the principals of this one."""
MAIL_POLL_S = 30.0
"""How often the outbox is read without the search for work having found mail there."""


def _silence(run: RunId) -> Listener:
    return NullListener()


def _postman(services: Services, mailer: Mailer) -> OutboxSender:
    lease_s, limit = services.limits.lease_s, services.exit_limit
    return OutboxSender(
        services.store,
        mailer,
        MAIL_POLL_S,
        lease_s=lease_s,
        limit=limit,
        renewer=services.renewer,
        clock=services.monotonic,
    )


class Worker:
    """Drives background runs, and those whose process died, up to `max_runs` at once.

    Their conversations have at most `max_run_bytes` together. `max_per_principal` of the runs may
    be one principal's; None: `default_share`. `mailer` None leaves mail in the outbox. `listen`
    gives who wants to see a run as it goes on.
    """

    def __init__(
        self,
        services: Services,
        max_runs: int,
        poll_s: float = POLL_S,
        *,
        max_run_bytes: int = RUN_BYTES,
        max_per_principal: int | None = None,
        grace_s: float = 20.0,
        mailer: Mailer | None = None,
        listen: Callable[[RunId], Listener] = _silence,
    ) -> None:
        self._services = services
        self._max_runs = max_runs
        self._memory = MemoryBudget(max_run_bytes, default_share(max_run_bytes))
        self._grace_s = grace_s
        self._listen = listen
        self._postman = _postman(services, mailer) if mailer else None
        self._preparation = Preparation(services, mailer)
        self._rhythm = PollInterval(poll_s)
        self._pauses = RunBackoff(time.monotonic)
        self._hands: dict[RunId, DrainGuard] = {}
        self._principals: dict[RunId, str] = {}
        self._turns = Turns(max_per_principal or default_share(max_runs))
        self._is_held_back = False
        self._drives: set[asyncio.Task[None]] = set()
        self._suspects = PoisonRunLimiter(services.limits.max_attempts)

    @property
    def in_flight(self) -> int:
        """How many runs are driven here now."""
        return len(self._hands)

    @property
    def _is_full(self) -> bool:
        return self.in_flight >= self._max_runs or self._memory.is_full

    def wake(self) -> None:
        """Look for work now: this process has just written some."""
        self._rhythm.nudge.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; every run is given back when this returns.

        A step in hand may take `grace_s` to its end. Cancelled, it gives the runs back at once.
        """
        log.info("worker_started", max_runs=self._max_runs, sends_mail=self._postman is not None)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._take_up(group, stop))]
            if self._postman:
                tasks.append(group.create_task(self._postman.run(stop)))
            try:
                await stop.wait()
                await self._end(tasks)
            except asyncio.CancelledError:
                self._services.exit_limit.begin(0)
                raise
        log.info("worker_stopped")

    async def _take_up(self, group: asyncio.TaskGroup, stop: asyncio.Event) -> None:
        await self._prepared(group, stop)
        while not stop.is_set():
            places = 0 if self._is_full else self._max_runs - self.in_flight
            if not places and not self._postman:
                await self._rhythm.nudged()
                continue
            try:
                few = TRICKLE if self._pauses.are_full else FEW
                runs = await self._candidates(min(places, few))
            except ServiceFault as error:
                await self._rhythm.failed("queue_not_read", error)
                continue
            except Exception as error:
                # Whatever one row holds, the others must be driven.
                log.exception("queue_broke")
                await self._rhythm.failed("queue_not_read", error)
                continue
            taken = await asyncio.gather(*(self._taken(one, group, stop) for one in runs))
            # None of them: others are quicker, so this one need not hurry.
            await self._rhythm.found(any(taken) and not self._pauses.are_full)

    async def _prepared(self, group: asyncio.TaskGroup, stop: asyncio.Event) -> None:
        """Wait for what runs need, before any is claimed; not in a process that stops."""
        waits = [group.create_task(self._preparation.ready()), group.create_task(stop.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()

    async def _candidates(self, few: int) -> Sequence[WaitingRun]:
        """Up to `few` runs to claim, in turn; the principals behind the last turn are read first.

        One principal's runs may fill a statement: the next statement reads behind that principal.
        """
        search, found = Search(self._turns.after), dict[RunId, WaitingRun]()
        for _ in range(STATEMENTS):
            work = await self._look(few, search.after)
            found |= {one.run: one for one in work.runs}
            chosen = self._chosen(found.values(), few)
            if search.is_over(work.end) or len(chosen) == few:
                break
        self._turns.took(chosen, few, search)
        return chosen

    async def _look(self, few: int, after: str) -> WaitingWork:
        # Those that have to wait may be the oldest of all.
        limit = CHOICE * few + len(self._pauses) + self._suspects.left_out
        workflows = tuple(self._services.workflows) if few else ()
        work = await self._services.store.waiting_work(
            workflows=workflows, limit=limit, after=after
        )
        if work.mail_is_due and self._postman:
            self._postman.wake()
        return work

    def _chosen(self, found: Collection[WaitingRun], few: int) -> list[WaitingRun]:
        free = [one for one in found if one.run not in self._hands and one.run not in self._pauses]
        in_turn = self._turns.in_turn(free, CHOICE * few)
        admitted = self._suspects.let_in(in_turn, self._hands)
        chosen = self._turns.chosen(admitted, few, self._principals)
        self._is_held_back = len(chosen) < min(few, len(admitted))
        return chosen

    async def _taken(self, one: WaitingRun, group: asyncio.TaskGroup, stop: asyncio.Event) -> bool:
        """Claim a run and begin to drive it; False if that is not possible now.

        What is claimed is driven at once, or given back: also when other claims hang.
        """
        with self._memory.reservation(one.principal) as reservation:
            try:
                driven = await take(self._services, one.run, partial(reservation.hold, wait_s=0))
            except RequestError:
                return False  # another process was quicker, or has removed it
            except BudgetExhausted:
                self._pauses.failed(one.run, NO_ROOM_S)  # those behind it may have room now
            except ServiceFault as error:
                self._leave_alone(one.run, error)
            except Exception:
                self._leave_alone(one.run)
            else:
                self._principals[one.run] = one.principal
                self._begin(group, driven, stop, reservation)
                return True
        return False

    def _begin(
        self,
        group: asyncio.TaskGroup,
        driven: HeldRun,
        stop: asyncio.Event,
        reservation: Reservation,
    ) -> None:
        reservation.keep()
        reservation.grow_to(driven.thread.size)
        listener = GrowingListener(self._listen(driven.run), reservation)
        hand = self._hands[driven.run] = DrainGuard(listener, stop.is_set)
        task = group.create_task(self._drive(hand, driven), name=f"drive {driven.run}")
        self._drives.add(task)
        task.add_done_callback(self._drives.discard)
        task.add_done_callback(lambda _: self._give_back(reservation))

    def _give_back(self, reservation: Reservation) -> None:
        if self._memory.is_full:
            self._rhythm.nudge.set()
        reservation.release()

    async def _drive(self, hand: DrainGuard, driven: HeldRun) -> None:
        with bind(run=str(driven.run)):
            try:
                hand.begin()
                log.info("run_taken_up", interrupted=driven.thread.interrupted)
                self._rested(await drive(self._services, driven, hand))
            except StaleRun:
                pass  # the engine has logged it, and whoever has the run goes on
            except ServiceFault as error:
                self._leave_alone(driven.run, error)
            except Exception:
                self._leave_alone(driven.run)
            finally:
                self._look_again()
                del self._hands[driven.run], self._principals[driven.run]

    def _look_again(self) -> None:
        """A place becomes free: take the next run now if one had to wait for it."""
        is_full = self.in_flight >= self._max_runs
        if is_full or (self._is_held_back and not self._pauses.are_full):
            self._rhythm.nudge.set()

    def _rested(self, outcome: Outcome) -> None:
        if self._postman:
            self._postman.wake()  # its tools may have left letters
        if outcome.status != "queued":
            self._pauses.rested(outcome.run)
            log.info("run_rested", status=outcome.status)
            return
        pause_s = self._pauses.failed(outcome.run)
        log.info("run_left_alone", pause_s=round(pause_s, 2))

    def _leave_alone(self, run: RunId, error: ServiceFault | None = None) -> None:
        """Not now; without `error` the exception that is being handled is nobody's expectation."""
        pause_s = round(self._pauses.failed(run), 2)
        if error:
            log.warning("run_left_alone", run=str(run), error=error, pause_s=pause_s)
        else:
            log.exception("drive_failed", run=str(run), pause_s=pause_s)  # noqa: LOG004 - in one

    async def _end(self, tasks: Sequence["asyncio.Task[None]"]) -> None:
        log.info("worker_stopping", runs=self.in_flight, grace_s=self._grace_s)
        limit = self._services.exit_limit
        limit.begin(self._grace_s)
        self._rhythm.nudge.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._grace_s):
                await self._rest(tasks)
        taking_up, *others = tasks
        for task in others:
            task.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(limit.left_s):
                await self._rest([taking_up], leave=True)
        # A claim that is not answered by now is the database's fault: its lease expires.
        taking_up.cancel()
        await self._rest([taking_up], leave=True)

    async def _rest(self, tasks: Sequence["asyncio.Task[None]"], *, leave: bool = False) -> None:
        """Until these tasks are over and no run is in hand; `leave` lets go of those that are."""
        while True:
            for hand in self._hands.values():
                if leave:
                    hand.leave()
            pending = [task for task in (*tasks, *self._drives) if not task.done()]
            if not pending:
                return
            await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
