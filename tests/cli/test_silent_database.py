"""After SIGTERM, processes end in time even if the database does not respond."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.acceptance.database import private_database
from tests.cli.conftest import ModelServer, child_environ
from tests.cli.silent_proxy import SilentProxy, silent_proxy
from tests.engine.stage import ANN, SHOP
from tests.smtp_sink import Sink
from twelvefold.boot import RandomIds, migrate_journal
from twelvefold.cli.run import user_message
from twelvefold.config import Settings
from twelvefold.core.budget import Limits
from twelvefold.core.ids import RunId
from twelvefold.core.ports import Store
from twelvefold.engine.commands import RunRequest, enqueue_run
from twelvefold.engine.services import Services
from twelvefold.services.model.scripted import ScriptedModel, in_turn
from twelvefold.services.store import open_store

pytestmark = pytest.mark.mysql
BY_FORCE = -signal.SIGALRM
"""The exit code of a process that its forced exit ended, as on a busy machine."""
IN_TIME_S = 30.0
"""Five seconds, or eight by force, with a margin for a slow machine. Without a limit it takes up to
65."""


@pytest.fixture
async def database() -> AsyncIterator[str]:
    server = os.environ.get("DATABASE_URL", "")
    async with private_database(server, f"silent_{os.urandom(5).hex()}") as url:
        await migrate_journal(Settings(database_url=url))
        yield url


@pytest.fixture
def proxy(database: str) -> Iterator[SilentProxy]:
    with silent_proxy(database) as proxy:
        yield proxy


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    store = await open_store(database)
    await store.run_script("create table bought (who varchar(80), what varchar(80));")
    yield store
    await store.close()


@pytest.fixture
async def smtp() -> AsyncIterator[Sink]:
    async with Sink().serving() as sink:
        yield sink


@pytest.fixture
def environ(here: Path, model: ModelServer, proxy: SilentProxy) -> dict[str, str]:
    return child_environ(
        DATABASE_URL=proxy.url,
        WORKFLOWS="shop:workflow",
        OPENAI_BASE_URL=model.url,
        GRACE_S="0.2",
        WEB_DRIVES="foreground",
        PORT="0",
    )


async def enqueue(store: Store, text: str) -> RunId:
    services = Services(store, ScriptedModel(in_turn()), {"shop": SHOP}, RandomIds(), Limits(), "1")
    items = [user_message(text)]
    run, _ = await enqueue_run(services, RunRequest(workflow="shop", principal=ANN, items=items))
    return run


@asynccontextmanager
async def process(
    environ: dict[str, str], here: Path, *arguments: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "twelvefold", *arguments),
        env=environ,
        cwd=here,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def wait_for_log(process: asyncio.subprocess.Process, event: str) -> dict[str, Any]:
    """Return the first log line of the event."""
    assert process.stdout is not None
    while f'"{event}"' not in (line := (await process.stdout.readline()).decode()):
        assert process.returncode is None
    found: dict[str, Any] = json.loads(line)
    return found


async def wait_until_silent(proxy: SilentProxy) -> None:
    while not proxy.silent.is_set():
        await asyncio.sleep(0.01)


async def terminate(process: asyncio.subprocess.Process) -> int:
    """Send SIGTERM and return the exit code. Raises TimeoutError after `IN_TIME_S`."""
    process.terminate()
    async with asyncio.timeout(IN_TIME_S):
        await process.communicate()
    assert process.returncode is not None
    return process.returncode


COMMIT_OF_A_STEP = ("bought tea", "COMMIT")
BUYS_TEA = 'call buy {"what": "tea"}'


@pytest.mark.parametrize(
    "statements",
    [
        pytest.param(COMMIT_OF_A_STEP, id="commit"),
        pytest.param(("bought tea",), id="step", marks=pytest.mark.slow),
        pytest.param(("SET status = 'running', lease_token",), id="claim", marks=pytest.mark.slow),
        pytest.param(("SET status = 'running', lease_token", "COMMIT"), id="claim's commit"),
        pytest.param(("FROM threads WHERE id",), id="load", marks=pytest.mark.slow),
    ],
)
async def test_a_worker_ends_in_time(
    proxy: SilentProxy, store: Store, environ: dict[str, str], here: Path, statements: list[str]
) -> None:
    async with process(environ, here, "worker") as worker:
        await wait_for_log(worker, "worker_started")
        proxy.fall_silent_at(*statements)
        await enqueue(store, BUYS_TEA)
        await wait_until_silent(proxy)

        assert await terminate(worker) in (0, BY_FORCE)


async def test_a_worker_that_marks_a_mail_as_sent_ends_in_time(
    proxy: SilentProxy, store: Store, smtp: Sink, environ: dict[str, str], here: Path
) -> None:
    environ |= {"SMTP_URL": f"smtp://127.0.0.1:{smtp.port}", "MAIL_FROM": "office@example.org"}
    async with process(environ, here, "worker") as worker:
        await wait_for_log(worker, "worker_started")
        proxy.fall_silent_at("UPDATE outbox SET sent_at")
        async with store.write() as tx:
            await tx.send_mail("ann@example.org", "Hi", "There")
        await wait_until_silent(proxy)

        assert await terminate(worker) in (0, BY_FORCE)


@pytest.mark.usefixtures("store")
async def test_web_ends_in_time(proxy: SilentProxy, environ: dict[str, str], here: Path) -> None:
    async with process(environ, here, "web") as web, httpx2.AsyncClient(timeout=240) as http:
        address = (await wait_for_log(web, "web_ready"))["address"]
        proxy.fall_silent_at(*COMMIT_OF_A_STEP)
        body = {"model": "shop", "input": [user_message(BUYS_TEA)]}
        url = f"{address}/v1/responses"
        first = asyncio.ensure_future(http.post(url, json=body))
        await wait_until_silent(proxy)
        # A second request has to write its run, too.
        second = asyncio.ensure_future(http.post(url, json=body))

        assert await terminate(web) in (0, BY_FORCE)
        await asyncio.gather(first, second, return_exceptions=True)


@pytest.mark.usefixtures("store")
async def test_a_run_of_the_command_line_ends_in_time(
    proxy: SilentProxy, environ: dict[str, str], here: Path
) -> None:
    proxy.fall_silent_at(*COMMIT_OF_A_STEP)
    async with process(environ, here, "run", BUYS_TEA) as run:
        await wait_until_silent(proxy)

        assert await terminate(run) in (75, BY_FORCE)
