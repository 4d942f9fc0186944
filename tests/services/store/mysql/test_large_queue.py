"""The queue at the size of a large deployment: reads stay bounded. Prints how long each took."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest

from tests import servers
from tests.services.store.builders import made, on_server
from tests.services.store.mysql.many_runs import BATCH, add_runs
from tests.services.store.mysql.server_reads import reads_of
from twelvefold.core.ports import Store
from twelvefold.services.store import open_store

pytestmark = [pytest.mark.mysql, pytest.mark.slow, pytest.mark.timeout(3_600)]
FINISHED = 1_000_000
MADE_AT_MS = 100_000_000
"""A day or so after 1970: when the first thread was made."""
SERVED = ("academy", "retail")
NAMES = "CONCAT('p', LPAD(MOD(i, 1000), 4, '0'))"
"""SQL: one of a thousand principals."""
Value = TypeVar("Value")


@pytest.fixture(scope="module", params=["mariadb", "mysql9"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database with the queue of a large deployment."""
    server = str(
        servers.mysql9() if request.param == "mysql9" else request.getfixturevalue("mariadb_url")
    )
    name = f"large_{secrets.token_hex(6)}"
    asyncio.run(on_server(server, f"CREATE DATABASE {name} CHARACTER SET utf8mb4"))
    url = urlsplit(server)._replace(path=f"/{name}").geturl()
    try:
        asyncio.run(_filled(url))
        yield url
    finally:
        asyncio.run(on_server(server, f"DROP DATABASE {name}"))


async def _filled(url: str) -> None:
    await made(url)
    store = await open_store(url)
    for first in range(0, FINISHED, BATCH):
        await add_runs(
            store, BATCH, status="completed", principal=NAMES, made_at_ms=MADE_AT_MS + first
        )
    made_at_ms = MADE_AT_MS + FINISHED
    for workflow, principal, number in (
        ("retired", NAMES, 10_000),
        ("academy", "'bulk'", 10_000),
        ("academy", NAMES, 1_000),
    ):
        await add_runs(store, number, workflow=workflow, principal=principal, made_at_ms=made_at_ms)
        made_at_ms += FINISHED
    await store.close()


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    store = await open_store(url)
    yield store
    await store.close()


async def timed(store: Store, what: str, work: Coroutine[Any, Any, Value]) -> tuple[Value, int]:
    took_s = 0.0

    async def timing() -> Value:
        nonlocal took_s
        began_at = time.perf_counter()
        found = await work
        took_s = time.perf_counter() - began_at
        return found

    found, read = await reads_of(store, timing())
    print(f"{what}: {1_000 * took_s:.1f} ms, {read} reads")
    return found, read


async def test_a_search_reads_as_much_as_it_returns(store: Store) -> None:
    # Each asks for some of many: "bulk" sorts before the thousand others.
    for after, end in (("", "bulk"), ("bulk", "p0063"), ("p0063", "p0127"), ("zoe", "")):
        work, read = await timed(
            store,
            f"search behind {after!r}",
            store.waiting_work(workflows=SERVED, limit=64, after=after),
        )

        assert (work.end, len(work.runs)) == (end, 64 if end else 0)
        assert read < 800


async def test_a_count_reads_as_much_as_its_limit(store: Store) -> None:
    everybody, read = await timed(store, "count", store.queued_runs(workflows=SERVED, limit=10_000))
    of_one, read_of_one = await timed(
        store, "count of one", store.queued_runs(workflows=SERVED, limit=5_000, principal="p0001")
    )

    assert (everybody, of_one) == (10_000, 1)
    assert read < 20_100
    assert read_of_one < 100


async def test_pruning_reads_no_young_threads(store: Store) -> None:
    pruned, read = await timed(store, "prune", store.prune(before_us=MADE_AT_MS * 500))

    assert pruned == 0
    assert read < 100
