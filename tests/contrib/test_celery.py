"""The Celery adapter, with Celery's own worker in a thread and a broker in memory."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker

from twelvefold.boot import migrate_journal, open_services
from twelvefold.config import Settings
from twelvefold.contrib.celery import CeleryRuns, _advance
from twelvefold.contrib.loop_thread import LoopThread
from twelvefold.core import Principal, RunId
from twelvefold.engine import RunRequest, Services, enqueue_run, take
from twelvefold.errors import RequestError

NO_BROKER = "amqp://127.0.0.1:1"
WISH = "What can you do?"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The settings of a migrated database, with the demo model."""
    settings = Settings.from_environ({"DATABASE_URL": f"sqlite:///{tmp_path}/runs.db"})
    asyncio.run(migrate_journal(settings.database_url))
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


def test_an_error_while_the_services_open_is_raised_to_each_caller() -> None:
    def fails() -> AbstractAsyncContextManager[Services]:
        raise RequestError("cannot open")

    thread = LoopThread(fails)

    for _ in range(2):
        with pytest.raises(RequestError, match="cannot open"):
            thread.call(lambda services: queued(services))


async def queued(services: Services) -> RunId:
    said: dict[str, Any] = {"type": "message", "role": "user", "content": WISH}
    request = RunRequest(workflow="enrolment", principal=Principal("ann"), items=[said])
    run, _ = await enqueue_run(services, request)
    return run
