"""Celery tasks that advance runs, for teams that operate Celery already.

A message names a run. The task claims it and drives it until it is over or waits; the state is in
the database, so that a message may be lost, late or delivered twice. Messages are acknowledged
late: if a worker process dies, the broker delivers its message again, and another process continues
the run.

Needs the extra `twelvefold[celery]`. `docs/howto/celery.md` describes it.
"""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from celery import Celery, Task
from celery.signals import worker_process_shutdown, worker_shutdown

from twelvefold.boot import check_database, open_services, read_environment
from twelvefold.config import Settings
from twelvefold.contrib.loop_thread import LoopThread
from twelvefold.core import NullListener, Principal, RunId
from twelvefold.engine import RunRequest, Services, enqueue_run, take
from twelvefold.engine.drive import drive
from twelvefold.errors import Conflict, NotFound, ServiceFault, StaleRun, TooLate
from twelvefold.observe.log import get_logger

log = get_logger(__name__)
MAX_PAUSE_S = 60
"""The longest pause before a run that was given back is tried again."""
LATE = {"acks_late": True, "reject_on_worker_lost": True}
SWEEP_LIMIT = 1_000
"""Runs for which one sweep sends a message."""


class CeleryRuns:
    """The tasks `twelvefold.advance` and `twelvefold.sweep` of a Celery app.

    `settings`: those of the environment, unless given. Each process opens the services of the
    settings with its first task, and closes them at its end.
    """

    def __init__(self, app: Celery, settings: Settings | None = None) -> None:
        self.app = app
        self._settings = settings
        self._thread: LoopThread | None = None
        self._lock = threading.Lock()

        # Not shared: two apps in one process have their own.
        options = {"ignore_result": True, "shared": False}

        @app.task(name="twelvefold.advance", bind=True, max_retries=None, **LATE, **options)  # type: ignore[untyped-decorator]
        def advance(task: Task, run: str) -> None:
            self._run_advance(task, run)

        @app.task(name="twelvefold.sweep", **options)  # type: ignore[untyped-decorator]
        def sweep() -> int:
            return self._run_sweep()

        self._advance: Task = advance
        self.sweep: Task = sweep
        """Sends a message for each run that can be claimed. Run it from Celery beat."""
        worker_process_shutdown.connect(self._on_shutdown, weak=False)
        worker_shutdown.connect(self._on_shutdown, weak=False)

    def start(self, workflow: str, text: str, *, principal: str) -> str:
        """Commit a new run of the workflow, then send its message; return the run's id.

        Without a broker the run waits for the next sweep. Raises RequestError for a workflow that
        WORKFLOWS does not name, and StoreUnavailable if the database does not respond.
        """
        said = {"type": "message", "role": "user", "content": text}
        request = RunRequest(workflow=workflow, principal=Principal(principal), items=[said])

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
            if self._thread is None or not self._thread.is_of_this_process:
                self._thread = LoopThread(self._open_services)
            thread = self._thread
        return thread.call(work)

    @asynccontextmanager
    async def _open_services(self) -> AsyncIterator[Services]:
        settings = self._settings or Settings.from_environ(read_environment())
        async with open_services(settings) as services:
            await check_database(services.store)
            yield services

    def _on_shutdown(self, **_: object) -> None:
        self.close()

    def _send(self, run: str) -> None:
        try:
            self._advance.delay(run)
        except self._advance.OperationalError as error:
            # The run is committed: the next sweep sends its message.
            log.warning("message_not_sent", run=run, error=error)

    def _run_advance(self, task: Task, run: str) -> None:
        """Drive a run until it is over or waits. Raises Retry if it must be tried again."""
        pause_s = self._call(lambda services: _advance(services, RunId.parse(run)))
        if pause_s:
            raise task.retry(countdown=min(MAX_PAUSE_S, pause_s * (task.request.retries + 1)))

    def _run_sweep(self) -> int:
        """Send a message for each run that waits; return how many."""
        runs = self._call(_waiting_runs)
        for run in runs:
            self._send(run)
        return len(runs)


async def _advance(services: Services, run: RunId) -> float:
    """Claim a run and drive it; return the seconds after which it must be tried again, 0: never."""
    try:
        held = await take(services, run)
        outcome = await drive(services, held, NullListener())
    except (TooLate, NotFound, StaleRun):
        return 0.0  # it is over, was removed, or another process continues it
    except Conflict:
        # Its holder may be the process that died with this message: its lease expires.
        return services.limits.lease_s
    except ServiceFault as error:
        log.warning("run_postponed", run=str(run), error=error)
        return 1.0
    return 1.0 if outcome.status == "queued" else 0.0


async def _waiting_runs(services: Services) -> list[str]:
    work = await services.store.waiting_work(workflows=services.workflows, limit=SWEEP_LIMIT)
    return [str(one.run) for one in work.runs]
