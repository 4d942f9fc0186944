"""Celery tasks that advance runs, for teams that operate Celery already.

A message names a run. The task claims it and drives it until it is over or waits; the state is in
the database, so that a message may be lost, late or delivered twice. Messages are acknowledged
late: if a worker process dies, the broker delivers its message again, and another process continues
the run.

Needs the extra `twelvefold[celery]`. `docs/howto/celery.md` describes it.
"""

import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import CancelledError
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from celery import Celery, Task
from celery.signals import worker_process_shutdown, worker_shutdown

from twelvefold.app.loop_thread import LoopThread
from twelvefold.app.texts import user_message
from twelvefold.boot import check_database, open_services, read_environment
from twelvefold.config import Settings
from twelvefold.core import NullListener, Principal, RunId, WaitingWork
from twelvefold.engine import RunRequest, Services, enqueue_run, take
from twelvefold.engine.drive import drive
from twelvefold.errors import Conflict, NotFound, ServiceFault, StaleRun, TooLate
from twelvefold.observe.log import get_logger

log = get_logger(__name__)
MAX_PAUSE_S = 60
"""The longest pause before a run that was given back is tried again."""
LATE = {"acks_late": True, "reject_on_worker_lost": True}
PAGE_SIZE = 1_000
"""Queued runs that one statement of a sweep reads. One principal has at most as many per sweep."""


class CeleryRuns:
    """The tasks `twelvefold.advance` and `twelvefold.sweep` of a Celery app.

    `settings`: those of the environment, unless given. Each process opens the services of the
    settings with its first task, and closes them at its end. `sweep_interval_s`: the seconds
    between two sweeps. The messages of a sweep expire after this time, when the next one sends
    others.
    """

    def __init__(
        self, app: Celery, settings: Settings | None = None, *, sweep_interval_s: float = 60.0
    ) -> None:
        self.app = app
        self.sweep_interval_s = sweep_interval_s
        self._settings = settings
        self._thread: LoopThread[Services] | None = None
        self._lock = threading.Lock()

        # Not shared: two apps in one process have their own.
        options = {"ignore_result": True, "shared": False}

        @app.task(name="twelvefold.advance", bind=True, max_retries=None, **LATE, **options)  # type: ignore[untyped-decorator]
        def advance(task: Task, run: str, is_swept: bool = False) -> None:
            self._run_advance(task, run, is_swept)

        @app.task(name="twelvefold.sweep", expires=sweep_interval_s, **options)  # type: ignore[untyped-decorator]
        def sweep() -> int:
            return self._run_sweep()

        self._advance: Task = advance
        self.sweep: Task = sweep
        """Sends a message for each run that can be claimed. Run it every `sweep_interval_s`."""
        worker_process_shutdown.connect(self._on_shutdown, weak=False)
        worker_shutdown.connect(self._on_shutdown, weak=False)

    def start(self, workflow: str, text: str, *, principal: str) -> str:
        """Commit a new run of the workflow, then send its message; return the run's id.

        Without a broker the run waits for the next sweep. Raises RequestError for a workflow that
        WORKFLOWS does not name, and StoreUnavailable if the database does not respond.
        """
        items = [user_message(text)]
        request = RunRequest(workflow=workflow, principal=Principal(principal), items=items)

        async def enqueue(services: Services) -> RunId:
            run, _ = await enqueue_run(services, request)
            return run

        run = str(self._call(enqueue))
        self._send(run)
        return run

    def advance(self, run: str) -> None:
        """Send a message for a run, for example after a person has answered its approval."""
        self._advance.delay(run)

    def close(self) -> None:
        """Close the services of this process."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.close()

    def _call(self, work: Any) -> Any:
        with self._lock:
            if self._thread is None or not self._thread.is_usable:
                self._thread = LoopThread(self._open_services)
            thread = self._thread
        return thread.call(work)

    @asynccontextmanager
    async def _open_services(self) -> AsyncIterator[Services]:
        settings = self._settings or Settings.from_environ(read_environment())
        async with open_services(settings) as services:
            services.gate.note(await check_database(services.store))
            yield services

    def _on_shutdown(self, **_: object) -> None:
        self.close()

    def _send(self, run: str) -> None:
        try:
            self._advance.delay(run)
        except self._advance.OperationalError as error:
            # The run is committed: the next sweep sends its message.
            log.warning("message_not_sent", run=run, error=error)

    def _run_advance(self, task: Task, run: str, is_swept: bool) -> None:
        """Drive a run until it is over or waits. Raises Retry if it must be tried again.

        A message of a sweep is not tried again: the next sweep sends another.
        """
        pause_s = self._try_to_advance(run)
        if pause_s and not is_swept:
            raise task.retry(countdown=min(MAX_PAUSE_S, pause_s * (task.request.retries + 1)))

    def _try_to_advance(self, run: str) -> float:
        """As `_advance`, also if the services cannot be opened or are closed meanwhile."""
        try:
            return float(self._call(lambda services: _advance(services, RunId.parse(run))))
        except (ServiceFault, CancelledError) as error:
            log.warning("run_postponed", run=run, error=error)
            return 1.0

    def _run_sweep(self) -> int:
        """Send a message for each run that waits; return how many."""
        swept = set[str]()
        for work in self._waiting_work():
            for run in (str(one.run) for one in work.runs if str(one.run) not in swept):
                self._advance.apply_async((run, True), expires=self.sweep_interval_s)
                swept.add(run)
        return len(swept)

    def _waiting_work(self) -> Iterator[WaitingWork]:
        after: str | None = ""
        while after is not None:
            work: WaitingWork = self._call(partial(_waiting_work, after=after))
            yield work
            after = work.end or None


async def _advance(services: Services, run: RunId) -> float:
    """Claim a run and drive it; return the seconds after which it must be tried again, 0: never."""
    try:
        held = await take(services, run)
        if (workflow := held.thread.workflow) not in services.workflows:
            # `drive` gives it back, and the sweep of a process that serves the workflow finds it.
            log.warning("run_not_served", run=str(run), workflow=workflow)
        outcome = await drive(services, held, NullListener())
    except (TooLate, NotFound, StaleRun):
        return 0.0  # it is over, was removed, is not served, or another process continues it
    except Conflict:
        # Its holder may be the process that died with this message: its lease expires.
        return services.limits.lease_s
    return 1.0 if outcome.status == "queued" else 0.0


async def _waiting_work(services: Services, after: str) -> WaitingWork:
    return await services.store.waiting_work(
        workflows=services.workflows, limit=PAGE_SIZE, after=after
    )
