"""A database that accepts connections and statements, and never answers."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx2
import pytest

from tests.engine.stage import LIMITS, SCHEMA, SHOP, Stage
from tests.loop_clock import pass_time_until
from tests.servers import PrivateMariaDB
from tests.services.store.mysql.silent_server import stop
from tests.web.serving import Rules, Served, events, served
from tests.web.stream_clients import reading, types
from twelvefold.boot import RandomIds
from twelvefold.core.ports import Store
from twelvefold.engine.retry import RetryPolicy, retry_unavailable
from twelvefold.engine.services import Services
from twelvefold.services.store import open_store
from twelvefold.services.store.migrate import migrate
from twelvefold.services.store.mysql.connections import Timeouts
from twelvefold.services.store.mysql.store import MySQLStore
from twelvefold.services.store.mysql.url import connect_arguments
from twelvefold.web.state import Waits
from twelvefold.web.streaming.reader import INTERRUPTED

pytestmark = pytest.mark.mysql


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateMariaDB]:
    with PrivateMariaDB(tmp_path_factory.mktemp("server")) as server:
        asyncio.run(_made(server.url))
        yield server


async def _made(url: str) -> None:
    await migrate(url)
    store = await open_store(url)
    await store.run_script(SCHEMA)
    await store.close()


class GivenStore:
    """A stage whose processes use a given store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def process(self, *, model: Rules, **_: Any) -> Services:
        return Services(self._store, model, {SHOP.name: SHOP}, RandomIds(), LIMITS, "1.0")


@asynccontextmanager
async def process(url: str, read_s: float = 60.0, **how: Any) -> AsyncIterator[Served]:
    store = MySQLStore(connect_arguments(url), 10, timeouts=Timeouts(read_s=read_s))
    async with served(cast("Stage", GivenStore(store)), **how) as api:
        yield api
    await store.close()


@asynccontextmanager
async def silent(server: PrivateMariaDB) -> AsyncIterator[None]:
    try:
        await stop(server.pid)
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


async def test_a_stream_sends_heartbeats_then_ends_and_continues_elsewhere(
    server: PrivateMariaDB,
) -> None:
    waits = Waits(heartbeat_s=0.05, unreadable_s=0.2)
    async with process(server.url, worker=False, waits=waits) as one:
        async with reading(one, "hi", background=True) as client:
            first = await client.events(2)
            async with silent(server):
                # These are sent during a read: it lasts until its timeout.
                beats = [await client.block() for _ in range(4)]
                ending = asyncio.create_task(client.left())
                await pass_time_until(ending.done)
                rest = await ending
        async with process(server.url) as two:
            query = {"stream": "true", "starting_after": first[-1]["sequence_number"]}
            url = f"/v1/responses/{first[0]['response']['id']}"
            resumed = await events(two.http, "GET", url, params=query)

    assert types(first) == ["created", "queued"]
    assert beats == [": still here"] * 4
    assert rest[-1] == INTERRUPTED.decode().strip()
    assert types(resumed)[-1] == "completed"


async def test_requests_get_503_with_a_time_to_retry(
    server: PrivateMariaDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        process(server.url) as patient,
        process(server.url, 0.2, worker=False) as api,
    ):
        response = await patient.ask("hi")
        # Reads of web have the default policy: with its 5 s the requests queue for the connections.
        quick = RetryPolicy(timeout_s=0.1)
        monkeypatch.setattr(retry_unavailable, "__kwdefaults__", {"policy": quick})
        path = f"/responses/{response['id']}"
        turn = {"model": "shop", "input": "", "previous_response_id": response["id"]}
        async with silent(server):
            refused = await asyncio.gather(
                api.get(path),
                api.get(path, stream="true"),
                api.get(f"{path}/input_items"),
                api.get("/conversations"),
                api.post("/responses", turn),
                *(api.get(path) for _ in range(20)),
            )
            ready = await api.http.get("/readyz")
        monkeypatch.undo()
        back = await patient.get(path)

    assert [_refusal(one) for one in refused] == [(503, "service_unavailable", "1")] * len(refused)
    assert (ready.status_code, ready.json()["database"]) == (503, "does not answer")
    assert back.json() == response


def _refusal(answer: httpx2.Response) -> tuple[int, str, str | None]:
    return (
        answer.status_code,
        answer.json()["error"]["code"],
        answer.headers.get("retry-after"),
    )
