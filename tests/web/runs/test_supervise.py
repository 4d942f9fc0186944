"""A request that waits for a run ends with the run, its client, or the last process there is."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx2
import pytest

from tests.engine.stage import Stage
from tests.web.serving import Json, Serve, Served
from tests.web.stream_clients import followed, types
from twelvefold.core.ids import RunId
from twelvefold.core.ports import NullListener
from twelvefold.engine.commands import take
from twelvefold.engine.drive import drive
from twelvefold.errors import ModelUnavailable
from twelvefold.web.http.middleware import CLIENT_GONE
from twelvefold.web.state import Waits
from twelvefold.web.streaming.reader import INTERRUPTED

CHAT_PATH = "/v1/chat/completions"
KEY = {"idempotency-key": "one"}
ASKED: Json = {"model": "shop", "input": "buy a lamp"}
CHAT: Json = {"model": "shop", "messages": [{"role": "user", "content": "buy a lamp"}]}
KINDS: dict[str, tuple[str, Json]] = {
    "whole": ("/responses", ASKED),
    "stream": ("/responses", ASKED | {"stream": True}),
    "chat": (CHAT_PATH.removeprefix("/v1"), CHAT),
    "chat stream": (CHAT_PATH.removeprefix("/v1"), CHAT | {"stream": True}),
}
DONE = {
    "whole": '"status":"completed"',
    "stream": "event: response.completed",
    "chat": '"finish_reason":"stop"',
    "chat stream": '"finish_reason":"stop"',
}
UNDRIVEN = {
    "whole": '"status":"in_progress"',
    "stream": INTERRUPTED.decode(),
    "chat": "this server cannot follow the turn to its end",
    "chat stream": "this server cannot follow the turn to its end",
}
Gone = Callable[..., Awaitable[None]]


@pytest.fixture
def gone(caplog: pytest.LogCaptureFixture) -> Gone:
    """Waits until so many POST requests have ended, with one of these statuses."""
    caplog.set_level(logging.INFO)

    def statuses() -> list[int]:
        lines = [one.__dict__["fields"] for one in caplog.records if one.msg == "request"]
        posts = [line for line in lines if line["method"] == "POST"]
        return [line["status"] for line in posts if line["path"] != "/v1/conversations"]

    async def wait(count: int, among: Collection[int] = (200, CLIENT_GONE)) -> None:
        while sum(status in among for status in statuses()) < count:
            await asyncio.sleep(0.01)

    return wait


async def sent(api: Served, kind: str) -> httpx2.Response:
    path, body = KINDS[kind]
    return await api.post(path, body, headers=KEY)


@asynccontextmanager
async def held(api: Served, kind: str) -> AsyncIterator["asyncio.Task[httpx2.Response]"]:
    """A request whose model does not answer while the body runs; its client waits."""
    api.model.gate.clear()
    api.model.asked.clear()
    request = asyncio.create_task(sent(api, kind))
    await api.model.asked.wait()
    try:
        yield request
    finally:
        api.model.gate.set()
        request.cancel()
        with suppress(asyncio.CancelledError):
            await request


# --- a run that no process drives -----------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_a_run_whose_process_died_continues_where_its_request_is_repeated(
    serve: Serve, stage: Stage, kind: str
) -> None:
    dead, alive = await serve(worker=False), await serve(worker=False)
    async with held(dead, kind) as first:
        await stage.let_leases_run_out()

        again = await sent(alive, kind)
        dead.model.gate.set()  # so that its driver finds that the run is another process's
        answer = await first

    assert again.status_code == 200
    assert DONE[kind] in again.text
    assert answer.text == again.text
    assert await stage.bought() == ["a lamp"]


async def test_a_run_that_is_followed_continues_without_a_worker(
    serve: Serve, stage: Stage
) -> None:
    dead, alive = await serve(worker=False), await serve(worker=False)
    async with held(dead, "whole") as first:
        [run] = await dead.web.services.store.runs(limit=1)
        await stage.let_leases_run_out()

        events = await alive.replayed(str(run.run))
        dead.model.gate.set()

        assert events[-1]["type"] == "response.completed"
        assert (await first).json() == events[-1]["response"]


async def test_a_run_in_the_background_is_left_to_workers(serve: Serve) -> None:
    api = await serve(worker=False)
    waiting = await api.ask("hi", background=True)

    async with followed(api, waiting["id"]) as client:
        first = await client.events(2)
        other = await serve()
        rest = await client.rest()

    assert types(first) == ["created", "queued"]
    assert types(rest)[-1] == "completed"
    assert (api.model.requests, len(other.model.requests)) == ([], 1)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_wait_for_a_run_that_cannot_continue_ends(
    serve: Serve, stage: Stage, kind: str
) -> None:
    dead = await serve(worker=False)
    full = await serve(worker=False, max_runs=1, waits=Waits(undriven_s=0.1, check_undriven_s=0.05))
    async with held(dead, kind):
        await stage.let_leases_run_out()
        full.model.gate.clear()
        busy = asyncio.create_task(full.ask("hi"))
        await full.model.asked.wait()

        again = await sent(full, kind)
        bought = await stage.bought()
        full.model.gate.set()
        await busy

    assert again.status_code == (503 if kind == "chat" else 200)
    assert UNDRIVEN[kind] in again.text
    assert bought == []


async def test_a_run_that_a_service_has_stopped_elsewhere_fails_for_its_client(
    serve: Serve, stage: Stage
) -> None:
    """A worker of another release gives such a run back and retries it without end."""
    dead = await serve(worker=False)
    async with held(dead, "whole"):
        [run] = await dead.web.services.store.runs(limit=1)
        await stage.let_leases_run_out()
        other = stage.process(ModelUnavailable("down"))
        await drive(other, await take(other, run.run), NullListener())
        api = await serve(worker=False)

        again = (await sent(api, "whole")).json()

    assert (again["status"], again["error"]["message"]) == (
        "failed",
        "Run failed: down; try again later",
    )
    assert api.model.requests == []


async def test_a_stream_of_a_deleted_run_ends(serve: Serve) -> None:
    api = await serve(worker=False, waits=Waits(check_driven_s=0.1))
    waiting = await api.ask("hi", background=True)
    async with followed(api, waiting["id"]) as client:
        await client.events(2)
        async with api.web.services.store.write() as tx:
            await tx.execute("delete from runs")

        left = await client.left()

    assert left == [INTERRUPTED.decode().strip()]


async def test_a_stream_ends_if_its_run_cannot_be_supervised(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    api = await serve(worker=False)
    queued = await api.ask("hi", background=True)
    store, load = api.web.services.store, api.web.services.store.run
    reads = 0

    async def fails_after_the_first(run: RunId) -> Any:
        nonlocal reads
        reads += 1
        if reads > 1:
            raise RuntimeError("not expected")
        return await load(run)

    monkeypatch.setattr(store, "run", fails_after_the_first)
    async with followed(api, queued["id"]) as client:
        left = await client.left()

    assert left[-1] == INTERRUPTED.decode().strip()
    assert "supervision_failed" in [one.getMessage() for one in caplog.records]


# --- a client that leaves -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_a_request_ends_with_its_client_and_its_run_continues(
    serve: Serve, stage: Stage, gone: Gone, kind: str
) -> None:
    api = await serve(worker=False)
    async with held(api, kind) as request:
        request.cancel()
        await gone(1)

    again = await sent(api, kind)

    assert DONE[kind] in again.text
    assert await stage.bought() == ["a lamp"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_repeated_request_ends_with_its_client(serve: Serve, gone: Gone, kind: str) -> None:
    holder, api = await serve(worker=False), await serve(worker=False)
    async with held(holder, kind):
        again = asyncio.create_task(sent(api, kind))
        await api.web.notifier.threads_to_poll()  # returns once it reads
        again.cancel()
        await gone(1)


TWO = {"role": "user", "content": "two"}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/responses", lambda id: {"model": "shop", "input": [TWO], "conversation": id}),
        ("/conversations/{id}/items", lambda id: {"items": [TWO]}),
    ],
    ids=["turn", "items"],
)
async def test_nothing_is_started_for_a_client_that_left_while_it_waited_for_another_turn(
    serve: Serve,
    gone: Gone,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    body: Callable[[str], Json],
) -> None:
    api = await serve(worker=False)
    conversation = (await api.post("/conversations")).json()["id"]
    api.model.gate.clear()
    first = asyncio.create_task(api.ask("one", conversation=conversation))
    await api.model.asked.wait()
    looks, store = asyncio.Semaphore(0), api.web.services.store
    looked_at = store.listed_thread

    async def counted(of: Any) -> Any:
        looks.release()
        return await looked_at(of)

    monkeypatch.setattr(store, "listed_thread", counted)
    second = asyncio.create_task(api.post(path.format(id=conversation), body(conversation)))
    for _ in range(5):  # several looks at the turn that is under way
        await looks.acquire()
    second.cancel()
    await gone(1, among=[CLIENT_GONE])
    api.model.gate.set()
    await first

    assert len(await api.web.services.store.runs(limit=10)) == 1
    items = (await api.get(f"/conversations/{conversation}/items")).json()["data"]
    assert [item["role"] for item in items] == ["assistant", "user"]
