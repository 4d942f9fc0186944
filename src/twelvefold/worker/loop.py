"""The worker: claims runs from the queue and drives them, hundreds at once in one process.

A row that any process may claim is the whole queue; the process whose claim succeeds has the run.
Runs are taken round-robin between principals (`turns`). Runs that were given back because a service
failed are tried again after growing pauses (`backoff`). One statement finds runs and due mail.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from twelvefold.core import Listener, Mailer, NullListener, RunId, WaitingRun
from twelvefold.engine import (
    RUN_BYTES,
    BudgetExhausted,
    DrainGuard,
    GrowingListener,
    HeldRun,
    MemoryBudget,
    Outcome,
    Preparation,
    Reservation,
    Services,
    SharesTaken,
    take,
)
from twelvefold.engine.drive import drive
from twelvefold.errors import RequestError, ServiceFault, StaleRun
from twelvefold.observe.log import bind, get_logger
from twelvefold.worker.backoff import NO_ROOM_S, RunBackoff
from twelvefold.worker.outbox import OutboxSender, SendPolicy
from twelvefold.worker.search import RunSearch
from twelvefold.worker.selection import BATCH_SIZE, RunSelector
from twelvefold.worker.share_holds import ShareHolds
from twelvefold.worker.turns import default_share
from twelvefold.worker.usage import UsageCounter

log = get_logger(__name__)
POLL_S = 1.0
"""The longest that a run waits for a worker without work, if no broker is connected."""
SWEEP_S = 10.0
"""The same with a broker, for a run whose wake-up was lost."""
MAIL_POLL_S = 300.0
"""How often the outbox is read unless the search for work finds mail there."""


def _null_listener(run: RunId) -> Listener:
    return NullListener()


class Worker:
    """Drives background runs, and those whose process died, up to `max_runs` at once.

    Their conversations have at most `max_run_bytes` together. `max_per_principal` limits the runs
    of one principal; None: `default_share`. With `mailer` None, mail stays in the outbox. `listen`
    returns the listener of a run. `backoff` holds the pauses of runs that failed. `poll_s` is how
    often it searches for work without a broker, `sweep_s` with one. With `until_idle` it stops when
    no run can be claimed, none is driven and no message is due.
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
        listen: Callable[[RunId], Listener] = _null_listener,
        backoff: RunBackoff | None = None,
        batch_size: int = BATCH_SIZE,
        sweep_s: float = SWEEP_S,
        until_idle: bool = False,
    ) -> None:
        self._services = services
        self._max_runs = max_runs
        self._memory = MemoryBudget(max_run_bytes, default_share(max_run_bytes))
        self._grace_s = grace_s
        self._listen = listen
        self._sender = _open_sender(services, mailer) if mailer else None
        self._preparation = Preparation(services, mailer)
        self._usage = UsageCounter(services)
        self._backoff = RunBackoff(time.monotonic) if backoff is None else backoff
        self._share_holds = ShareHolds(time.monotonic)
        selector = RunSelector(
            services,
            self._backoff,
            self._share_holds,
            max_per_principal or default_share(max_runs),
            batch_size=batch_size,
            on_due_mail=self._wake_sender,
        )
        sweep_s = poll_s if until_idle else sweep_s
        self._search = RunSearch(selector, self._backoff, poll_s=poll_s, sweep_s=sweep_s)
        self._until_idle = until_idle
        self._guards: dict[RunId, DrainGuard] = {}
        self._principals: dict[RunId, str] = {}
        self._drives: set[asyncio.Task[None]] = set()

    @property
    def in_flight(self) -> int:
        """How many runs this worker drives now."""
        return len(self._guards)

    @property
    def _slots(self) -> int:
        return 0 if self._memory.is_full else max(0, self._max_runs - self.in_flight)

    def wake(self) -> None:
        """Search for work now: this process has just enqueued some."""
        self._search.nudge.set()

    def _wake_sender(self) -> None:
        if self._sender:
            self._sender.wake()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; every run is given back when this returns.

        A step that is running may take `grace_s` to its end. Cancelling gives the runs back at
        once.
        """
        log.info("worker_started", max_runs=self._max_runs, sends_mail=self._sender is not None)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._claim_runs(group, stop))]
            tasks.append(group.create_task(self._usage.run(stop)))
            if self._sender:
                tasks.append(group.create_task(self._sender.run(stop)))
            try:
                await stop.wait()
                self._search.return_wake_ups()
                await self._stop(tasks)
            except asyncio.CancelledError:
                self._services.exit_limit.begin(0)
                raise
        log.info("worker_stopped")

    # --- claiming -------------------------------------------------------------------------------

    async def _claim_runs(self, group: asyncio.TaskGroup, stop: asyncio.Event) -> None:
        await self._prepare(group, stop)
        async with self._search.opened(self._services, mail=self._sender is not None):
            while not stop.is_set():
                if not self._slots and not self._sender:
                    await self._search.wait_for_slot()
                    continue
                was_busy = bool(self._guards)
                runs = await self._search.select(self._slots, self._principals)
                if runs is not None:
                    claimed = await asyncio.gather(*(self._claim(one, group, stop) for one in runs))
                    if self._until_idle and not was_busy and self._is_idle(runs):
                        stop.set()
                    room = 0 if stop.is_set() else self._slots
                    await self._search.pause(sum(claimed), room)

    def _is_idle(self, selected: Sequence[WaitingRun]) -> bool:
        """Whether the last search found nothing to do, and nothing is being done.

        A run that ended during the search may have written mail that the search did not find.
        """
        has_mail = self._sender is not None and self._search.mail_is_due
        return not selected and not self._guards and not has_mail

    async def _prepare(self, group: asyncio.TaskGroup, stop: asyncio.Event) -> None:
        """Wait for the preparation before any run is claimed, or until the process stops."""
        waits = [group.create_task(self._preparation.ready()), group.create_task(stop.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()

    async def _claim(self, one: WaitingRun, group: asyncio.TaskGroup, stop: asyncio.Event) -> bool:
        """Claim a run and begin to drive it; return whether the claim succeeded.

        A claimed run is driven at once, or given back, even while other claims do not return.
        """
        with self._memory.reservation(one.principal) as reservation:
            try:
                reserve = partial(reservation.hold, wait_s=0)
                async with self._services.run_shares.slot(one.principal, one.key_id, one.run):
                    held = await take(self._services, one.run, reserve, waits=False)
            except SharesTaken as taken:
                self._share_holds.add(taken.owner)
            except RequestError:
                return False  # another process was faster, or has removed it
            except BudgetExhausted:
                self._backoff.postpone(one.run, NO_ROOM_S)  # a smaller run may fit now
            except ServiceFault as error:
                self._postpone(one.run, error)
            except Exception:
                self._postpone(one.run)
            else:
                self._principals[one.run] = one.principal
                self._start(group, held, stop, reservation)
                return True
        return False

    # --- driving --------------------------------------------------------------------------------

    def _start(
        self,
        group: asyncio.TaskGroup,
        held: HeldRun,
        stop: asyncio.Event,
        reservation: Reservation,
    ) -> None:
        reservation.keep()
        reservation.grow_to(held.thread.size)
        listener = GrowingListener(self._listen(held.run), reservation)
        guard = self._guards[held.run] = DrainGuard(listener, stop.is_set)
        task = group.create_task(self._drive(guard, held), name=f"drive {held.run}")
        self._drives.add(task)
        task.add_done_callback(self._drives.discard)
        task.add_done_callback(lambda _: self._release(reservation))

    def _release(self, reservation: Reservation) -> None:
        if self._memory.is_full:
            self._search.nudge.set()
        reservation.release()

    async def _drive(self, guard: DrainGuard, held: HeldRun) -> None:
        with bind(run=str(held.run)):
            try:
                guard.attach()
                log.info("run_taken_up", interrupted=held.thread.interrupted)
                outcome = await drive(self._services, held, guard)
                self._handle_outcome(outcome)
                if outcome.thread.parent_calls or outcome.thread.ancestry:
                    self._search.nudge.set()  # it has queued its children, or its parent
            except StaleRun:
                pass  # the engine has logged it, and another process continues the run
            except ServiceFault as error:
                self._postpone(held.run, error)
            except Exception:
                self._postpone(held.run)
            finally:
                self._share_holds.clear()
                self._search.end(held.run, was_full=self.in_flight >= self._max_runs)
                del self._guards[held.run], self._principals[held.run]

    def _handle_outcome(self, outcome: Outcome) -> None:
        self._wake_sender()  # a tool may have sent mail
        if outcome.status != "queued":
            self._backoff.forget(outcome.run)
            log.info("run_rested", status=outcome.status)
            return
        pause_s = self._backoff.postpone(outcome.run)
        log.info("run_postponed", pause_s=round(pause_s, 2))

    def _postpone(self, run: RunId, error: ServiceFault | None = None) -> None:
        """Try the run later; without `error` the exception that is being handled is a bug."""
        pause_s = round(self._backoff.postpone(run), 2)
        if error:
            log.warning("run_postponed", run=str(run), error=error, pause_s=pause_s)
        else:
            log.exception("drive_failed", run=str(run), pause_s=pause_s)  # noqa: LOG004 - in one

    # --- stopping -------------------------------------------------------------------------------

    async def _stop(self, tasks: Sequence["asyncio.Task[None]"]) -> None:
        log.info("worker_stopping", runs=self.in_flight, grace_s=self._grace_s)
        limit = self._services.exit_limit
        limit.begin(self._grace_s)
        self._search.nudge.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._grace_s):
                await self._wait_for(tasks)
        claiming, *others = tasks
        for task in others:
            task.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(limit.left_s):
                await self._wait_for([claiming], release=True)
        # A claim that has no answer by now is the database's fault: its lease expires.
        claiming.cancel()
        await self._wait_for([claiming], release=True)

    async def _wait_for(
        self, tasks: Sequence["asyncio.Task[None]"], *, release: bool = False
    ) -> None:
        """Wait for these tasks and all drives; with `release` the runs are given back at once."""
        while True:
            for guard in self._guards.values():
                if release:
                    guard.release()
            pending = [task for task in (*tasks, *self._drives) if not task.done()]
            if not pending:
                return
            await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)


def _open_sender(services: Services, mailer: Mailer) -> OutboxSender:
    return OutboxSender(
        services.store,
        mailer,
        MAIL_POLL_S,
        policy=SendPolicy(lease_s=services.limits.lease_s),
        limit=services.exit_limit,
        renewer=services.renewer,
        clock=services.monotonic,
    )
