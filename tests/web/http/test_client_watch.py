"""A revoked key ends its waiting requests: streams, foreground requests, and followers."""

import asyncio
import time
from http import HTTPStatus
from typing import Any

import pytest
from starlette.requests import Request

from tests.web.doubles import OTHER, TOKEN, Clock, Keys, api_key
from tests.web.serving import Json, Serve, Served
from tests.web.stream_clients import Reader
from twelvefold.engine.shares import ANONYMOUS
from twelvefold.web.http.authentication import CACHE_TTL_S, Authenticator, KeyWatch, watch_keys
from twelvefold.web.streaming.reader import REVOKED

ASKED: Json = {"model": "shop", "input": "hi"}
CHAT: Json = {"model": "shop", "messages": [{"role": "user", "content": "hi"}]}


async def request_of(authenticator: Authenticator, token: str = TOKEN) -> Request:
    """Return an authenticated request."""
    headers = [(b"authorization", f"Bearer {token}".encode())]
    scope: dict[str, Any] = {"type": "http", "headers": headers}
    request = Request(scope)
    scope["state"] = {"caller": await authenticator.authenticate(request.headers)}
    return request


async def run_checks(watch: KeyWatch) -> None:
    """Let the watch check its keys a few times."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_revoked_key_ends_only_its_own_requests() -> None:
    keys, clock = Keys([api_key(), api_key(OTHER, "bob", "key-2")]), Clock()
    authenticator = Authenticator(keys.store, is_open=False, clock=clock)
    mine = [await request_of(authenticator) for _ in range(3)]
    others = await request_of(authenticator, OTHER)
    async with watch_keys(authenticator, poll_s=0) as watch, asyncio.TaskGroup() as group:
        waiting = [group.create_task(watch.wait_until_revoked(one)) for one in mine]
        other = group.create_task(watch.wait_until_revoked(others))
        await run_checks(watch)
        keys.revoked.add("key-1")
        clock.now += CACHE_TTL_S + 0.1

        refusals = [await one for one in waiting]
        await run_checks(watch)

        assert [error.status for error in refusals] == [401, 401, 401]
        assert not other.done()
        other.cancel()


async def test_a_key_is_looked_up_once_for_all_its_requests() -> None:
    keys, clock = Keys([api_key()]), Clock()
    authenticator = Authenticator(keys.store, is_open=False, clock=clock)
    requests = [await request_of(authenticator) for _ in range(50)]
    async with watch_keys(authenticator, poll_s=0) as watch, asyncio.TaskGroup() as group:
        waiting = [group.create_task(watch.wait_until_revoked(one)) for one in requests]
        await run_checks(watch)
        before = keys.queries
        for _ in range(3):
            clock.now += CACHE_TTL_S + 0.1
            await run_checks(watch)

        assert (before, keys.queries - before) == (1, 3)
        for one in waiting:
            one.cancel()


async def test_no_key_is_checked_while_no_request_waits() -> None:
    keys, clock = Keys([api_key()]), Clock()
    authenticator = Authenticator(keys.store, is_open=False, clock=clock)
    async with watch_keys(authenticator, poll_s=0) as watch:
        waiting = asyncio.create_task(watch.wait_until_revoked(await request_of(authenticator)))
        await run_checks(watch)
        waiting.cancel()
        await run_checks(watch)
        before = keys.queries
        for _ in range(3):
            clock.now += CACHE_TTL_S + 0.1
            await run_checks(watch)

    assert keys.queries == before


async def test_an_unavailable_database_revokes_no_key() -> None:
    keys, clock = Keys([api_key()]), Clock()
    authenticator = Authenticator(keys.store, is_open=False, clock=clock)
    request = await request_of(authenticator)
    async with watch_keys(authenticator, poll_s=0) as watch, asyncio.TaskGroup() as group:
        waiting = group.create_task(watch.wait_until_revoked(request))
        keys.is_unavailable = True
        clock.now += CACHE_TTL_S + 0.1
        await run_checks(watch)
        still_waits = not waiting.done()
        keys.is_unavailable = False
        keys.revoked.add("key-1")
        refusal = await waiting

    assert (still_waits, refusal.status) == (True, 401)


# --- whole processes ------------------------------------------------------------------------------


async def with_key(serve: Serve) -> Served:
    """Start a process and return its client, which has a key."""
    api = await serve(headers={"authorization": f"Bearer {TOKEN}"}, worker=False)
    await api.web.services.store.add_key(api_key())
    return api


async def test_a_revoked_key_no_longer_counts_for_its_principal(serve: Serve) -> None:
    api, authorization = await with_key(serve), f"Bearer {TOKEN}"
    owners = api.web.admission.owners
    await api.get("/models")
    assert owners.find(authorization, "192.0.2.1") == api_key().principal

    await api.web.services.store.revoke_key("key-1")
    while (await api.http.get("/v1/models")).status_code != HTTPStatus.UNAUTHORIZED:
        await asyncio.sleep(0.05)

    assert owners.find(authorization, "192.0.2.1") == f"{ANONYMOUS}192.0.2.1"


async def revoked_while(api: Served, *waiting: "asyncio.Task[object]") -> float:
    """Revoke the key, and return the seconds until all waiting tasks have ended."""
    await api.web.services.store.revoke_key("key-1")
    revoked_at = time.monotonic()
    await asyncio.wait(waiting)
    return time.monotonic() - revoked_at


async def blocks(api: Served, method: str, path: str, body: Json | None = None) -> list[str]:
    """Return the blocks of a stream until its end."""
    async with Reader(api.http, method, f"/v1{path}", json=body) as stream:
        return await stream.left()


async def test_waiting_requests_of_a_revoked_key_end_and_stored_runs_continue(serve: Serve) -> None:
    api = await with_key(serve)
    api.model.gate.clear()
    queued = await api.ask("later", background=True)
    async with asyncio.TaskGroup() as group:
        whole = group.create_task(api.post("/responses", ASKED))
        chat = group.create_task(api.post("/chat/completions", CHAT))
        stream = group.create_task(blocks(api, "POST", "/responses", ASKED | {"stream": True}))
        chat_stream = group.create_task(
            blocks(api, "POST", "/chat/completions", CHAT | {"stream": True})
        )
        followed = group.create_task(blocks(api, "GET", f"/responses/{queued['id']}?stream=true"))
        while len(api.model.requests) < 4:
            await asyncio.sleep(0.01)

        await revoked_while(api, whole, chat, stream, chat_stream, followed)
    api.model.gate.set()

    for answer in (whole.result(), chat.result()):
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    for blocks_read in (stream.result(), followed.result()):
        assert blocks_read[-1] == REVOKED.decode().strip()
    assert '"code":"invalid_api_key"' in chat_stream.result()[-1]
    runs = await api.web.services.store.runs(limit=10)
    while any(run.status == "running" for run in runs):
        await asyncio.sleep(0.01)
        runs = await api.web.services.store.runs(limit=10)
    # The chat completions are not stored, so their runs are cancelled; no worker drives the other.
    statuses = sorted(run.status for run in runs)
    assert statuses == ["cancelled", "cancelled", "completed", "completed", "queued"]


@pytest.mark.slow
@pytest.mark.parametrize("after_s", [0.0, 0.7, 1.4, 2.1])
async def test_a_revoked_key_ends_requests_within_three_seconds(
    serve: Serve, after_s: float
) -> None:
    api = await with_key(serve)
    api.model.gate.clear()
    stream = asyncio.create_task(blocks(api, "POST", "/responses", ASKED | {"stream": True}))
    whole = asyncio.create_task(api.post("/responses", ASKED))
    while len(api.model.requests) < 2:
        await asyncio.sleep(0.01)
    await asyncio.sleep(after_s)

    took_s = await revoked_while(api, stream, whole)
    api.model.gate.set()

    assert (await whole).status_code == 401
    assert (await stream)[-1] == REVOKED.decode().strip()
    assert took_s < 3.0
