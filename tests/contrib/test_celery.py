"""The Celery adapter, with Celery's own worker in a thread and a broker in memory."""

import asyncio
import logging
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker
from celery.exceptions import Retry

from twelvefold import Workflow
from twelvefold.boot import migrate_journal, open_services
from twelvefold.config import Settings
from twelvefold.contrib import celery as adapter
from twelvefold.contrib.celery import CeleryRuns, _advance
from twelvefold.core import Principal, RunId
from twelvefold.engine import RunRequest, Services, enqueue_run, take
from twelvefold.errors import RequestError, StoreUnavailable

NO_BROKER = "amqp://127.0.0.1:1"
WISH = "What can you do?"
OTHER = Workflow("other", "You answer.", ())


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    """Undo what a Celery worker does to the loggers of its process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logger.level for name, logger in _loggers().items()}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, logger in _loggers().items():
        logger.setLevel(levels.get(name, logging.NOTSET))
        logger.disabled = False


def _loggers() -> dict[str, logging.Logger]:
    known = logging.Logger.manager.loggerDict
    return {name: one for name, one in known.items() if isinstance(one, logging.Logger)}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The settings of a migrated database, with the demo model."""
    settings = Settings.from_environ({"DATABASE_URL": f"sqlite:///{tmp_path}/runs.db"})
    asyncio.run(migrate_journal(settings))
    return settings


@pytest.fixture
def runs(settings: Settings) -> Iterator[CeleryRuns]:
    runs = CeleryRuns(Celery("tests", broker="memory://"), settings)
    yield runs
    runs.close()


def statuses(settings: Settings) -> dict[str, str]:
    async def read() -> dict[str, str]:
        async with open_services(settings, with_model=False) as services:
            records = await services.store.runs(limit=100)
        return {str(record.run): record.status for record in records}

    return asyncio.run(read())


def entries(settings: Settings, run: str) -> int:
    async def read() -> int:
        async with open_services(settings, with_model=False) as services:
            return (await services.store.load(RunId.parse(run).thread)).head

    return asyncio.run(read())


def work_off(runs: CeleryRuns) -> None:
    """Run a Celery worker until the queue of the broker in memory is empty."""
    app = runs.app
    with start_worker(app, pool="solo", perform_ping_check=False, loglevel="error"):  # noqa: SIM117
        with app.connection_for_read() as connection, connection.channel() as channel:
            while channel._size("celery"):
                time.sleep(0.01)


def test_a_run_is_driven_by_a_task(runs: CeleryRuns, settings: Settings) -> None:
    run = runs.start("enrolment", WISH, principal="ann")
    assert statuses(settings) == {run: "queued"}

    work_off(runs)

    assert statuses(settings) == {run: "completed"}


def test_a_message_that_is_delivered_twice_changes_nothing(
    runs: CeleryRuns, settings: Settings
) -> None:
    run = runs.start("enrolment", WISH, principal="ann")
    work_off(runs)
    before = entries(settings, run)

    runs.advance(run)
    work_off(runs)

    assert entries(settings, run) == before


def test_a_run_without_a_message_is_found_by_the_sweep(settings: Settings) -> None:
    app = Celery("tests", broker=NO_BROKER)
    app.conf.task_publish_retry = False
    unsent = CeleryRuns(app, settings)
    run = unsent.start("enrolment", WISH, principal="ann")
    unsent.close()
    assert statuses(settings) == {run: "queued"}

    runs = CeleryRuns(Celery("tests", broker="memory://"), settings)
    assert runs.sweep() == 1
    work_off(runs)
    runs.close()

    assert statuses(settings) == {run: "completed"}


async def test_a_run_that_another_process_holds_is_tried_again_after_its_lease(
    settings: Settings,
) -> None:
    async with open_services(settings) as services:
        run = await queued(services)
        await take(services, run)

        assert await _advance(services, run) == services.limits.lease_s


async def test_a_run_that_is_over_or_removed_is_not_tried_again(settings: Settings) -> None:
    async with open_services(settings) as services:
        run = await queued(services)

        assert [await _advance(services, run) for _ in range(2)] == [0, 0]
        assert await _advance(services, RunId(run.thread, 9)) == 0


def test_an_unknown_workflow_is_an_error_at_the_start(runs: CeleryRuns) -> None:
    with pytest.raises(RequestError, match="shop"):
        runs.start("shop", WISH, principal="ann")


def test_a_process_whose_services_did_not_open_opens_them_for_the_next_message(
    runs: CeleryRuns, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = runs.start("enrolment", WISH, principal="ann")
    runs.close()
    with monkeypatch.context() as patch:
        patch.setattr(adapter, "check_database", unavailable)
        with pytest.raises(Retry):
            runs._advance(run)
        runs._advance(run, is_swept=True)

    runs._advance(run)

    assert statuses(settings) == {run: "completed"}


def test_a_run_in_progress_is_given_back_when_the_services_close(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        base_url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        hangs = {"DATABASE_URL": settings.database_url, "OPENAI_BASE_URL": base_url}
        options = Settings.from_environ({**hangs, "OPENAI_MODEL": "silent"})
        runs = CeleryRuns(Celery("tests", broker="memory://"), options)
        run = runs.start("enrolment", WISH, principal="ann")
        with ThreadPoolExecutor(1) as pool:
            task = pool.submit(runs._advance, run)
            connection, _ = silent.accept()
            assert statuses(settings) == {run: "running"}
            runs.close()
            assert isinstance(task.exception(), Retry)
            connection.close()

    assert statuses(settings) == {run: "queued"}


def test_a_swept_message_expires_and_is_not_sent_again(settings: Settings) -> None:
    runs = CeleryRuns(Celery("tests", broker="memory://"), settings, sweep_interval_s=7.0)
    messages(runs)  # those of other tests
    run = runs.start("enrolment", WISH, principal="ann")
    assert messages(runs) == [([run], False)]
    runs.sweep.delay()
    assert messages(runs) == [([], True)]

    async def hold(services: Services) -> None:
        await take(services, RunId.parse(run))

    assert runs.sweep() == 1
    assert messages(runs) == [([run, True], True)]
    runs._call(hold)
    runs._advance(run, is_swept=True)
    runs.close()

    assert messages(runs) == []


def test_the_sweep_reaches_the_principals_behind_the_first_page(
    runs: CeleryRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "PAGE_SIZE", 2)
    for principal in ("ann", "ann", "ann", "ben", "cleo"):
        runs.start("enrolment", WISH, principal=principal)

    assert runs.sweep() == 4


def test_a_message_of_a_run_that_is_not_served_is_logged(
    runs: CeleryRuns, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    run = runs.start("enrolment", WISH, principal="ann")
    other = Settings.from_environ(
        {"DATABASE_URL": settings.database_url, "WORKFLOWS": "tests.contrib.test_celery:OTHER"}
    )
    serves_other = CeleryRuns(Celery("tests", broker="memory://"), other)

    with caplog.at_level("WARNING", "twelvefold"):
        serves_other._advance(run)

    assert "run_not_served" in caplog.messages
    assert serves_other.sweep() == 0
    assert runs.sweep() == 1
    serves_other.close()


async def unavailable(store: object) -> None:
    raise StoreUnavailable("the database does not respond")


def messages(runs: CeleryRuns) -> list[tuple[list[Any], bool]]:
    """Remove the messages of the broker in memory: the arguments, and whether each expires."""
    with runs.app.connection_for_read() as connection, connection.channel() as channel:
        found = iter(lambda: channel.basic_get("celery", no_ack=True), None)
        return [(one.decode()[0], bool(one.headers["expires"])) for one in found]


async def queued(services: Services) -> RunId:
    said: dict[str, Any] = {"type": "message", "role": "user", "content": WISH}
    request = RunRequest(workflow="enrolment", principal=Principal("ann"), items=[said])
    run, _ = await enqueue_run(services, request)
    return run
