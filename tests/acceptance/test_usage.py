"""Processes that count usage are killed again and again: each run is counted once."""

import asyncio
import os
import random
import secrets
import sys
from collections.abc import AsyncIterator

import pytest

from tests import servers
from tests.acceptance.database import private_database
from tests.services.store.mysql.many_runs import add_runs
from twelvefold.core import Store, UsageFilter
from twelvefold.services.store import open_store
from twelvefold.services.store.migrate import migrate

pytestmark = [pytest.mark.mysql, pytest.mark.slow, pytest.mark.timeout(600)]
RUNS = 6_000
KILLS = 12
EVER = UsageFilter("1970-01-01", "9999-12-31", by=("workflow",))
UNCOUNTED = "SELECT COUNT(*) AS n FROM runs WHERE counted IS NULL"


@pytest.fixture(params=["mariadb", "mysql9"])
async def url(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    server = servers.mysql9() if request.param == "mysql9" else os.environ["DATABASE_URL"]
    async with private_database(server, f"usage_{secrets.token_hex(6)}") as url:
        await migrate(url)
        yield url


async def counter(url: str) -> asyncio.subprocess.Process:
    """Start a process that counts, and wait until it does."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.acceptance.usage_counter", url),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"counting\n"
    return process


async def count_of(store: Store, statement: str) -> int:
    async with store.read() as db:
        return int((await db.fetch_all(statement))[0]["n"])


async def test_no_kill_loses_or_doubles_a_run(url: str) -> None:
    store, cut_short = await open_store(url), 0
    processes = [await counter(url) for _ in range(2)]
    for number in range(KILLS):
        await add_runs(
            store,
            RUNS // KILLS,
            status="completed",
            is_counted=False,
            usage='{"input_tokens":3,"output_tokens":1}',
            made_at_ms=0x010000000000 + number * RUNS,
        )
        await asyncio.sleep(random.uniform(0.0, 0.1))
        processes[0].kill()
        await processes[0].wait()
        cut_short += bool(await count_of(store, UNCOUNTED))
        processes = [processes[1], await counter(url)]
    while await count_of(store, UNCOUNTED):
        await asyncio.sleep(0.05)
    for process in processes:
        process.kill()
        await process.wait()

    [found] = await store.usage(EVER, limit=2)
    [of_ann] = await store.usage(
        UsageFilter(EVER.first_day, EVER.last_day, ("principal",)), limit=2
    )
    await store.close()
    for one in (found, of_ann):
        assert (one.runs, one.input_tokens, one.output_tokens) == (RUNS, 3 * RUNS, RUNS)
    assert cut_short, "no process was killed while there was something to count"
