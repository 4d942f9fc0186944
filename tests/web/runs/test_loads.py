"""Requests that wait or are repeated do not load a whole conversation at each check."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.web.asking import answer_to, approval, error
from tests.web.serving import Serve, Served
from twelvefold.core.events import RunStarted
from twelvefold.core.ids import LeaseToken, RunId, ThreadId
from twelvefold.web.http.authentication import LOCAL
from twelvefold.web.ids import ResponseId
from twelvefold.web.state import Waits
from twelvefold.web.streaming.lookup import open_response


def loads_of(api: Served, patch: pytest.MonkeyPatch) -> list[ThreadId]:
    """The threads that the process loads from now on."""
    store, loaded = api.web.services.store, list[ThreadId]()
    load: Callable[[ThreadId], Any] = store.load

    async def counted(thread: ThreadId) -> Any:
        loaded.append(thread)
        return await load(thread)

    patch.setattr(store, "load", counted)
    return loaded


async def busy(api: Served) -> tuple[str, str]:
    """A conversation, and its response, which is in progress until the model's gate opens."""
    conversation = str((await api.post("/conversations")).json()["id"])
    api.model.gate.clear()
    first = await api.ask("one", conversation=conversation, background=True)
    await api.model.asked.wait()
    return conversation, str(first["id"])


async def test_a_turn_that_waits_for_another_one_loads_its_conversation_once(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = await serve(waits=Waits(thread_s=1.0))
    conversation, _ = await busy(api)
    loaded = loads_of(api, monkeypatch)

    body = {"model": "shop", "input": "two", "conversation": conversation}
    refused = await api.post("/responses", body)

    api.model.gate.set()
    assert error(refused) == (409, "conversation_locked", "conversation")
    assert len(loaded) == 1


async def test_items_that_wait_for_a_turn_read_the_size_of_their_conversation_once(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = await serve(waits=Waits(thread_s=1.0))
    conversation, first = await busy(api)
    store, sizes = api.web.services.store, list[int]()
    size_of = store.size_of

    async def counted(lineage: Any) -> int:
        sizes.append(await size_of(lineage))
        return sizes[-1]

    monkeypatch.setattr(store, "size_of", counted)

    body = {"items": [{"role": "user", "content": "two"}]}
    refused = await api.post(f"/conversations/{conversation}/items", body)

    api.model.gate.set()
    assert error(refused) == (409, "conversation_locked", None)
    assert len(sizes) == 1
    await api.settled(first)


async def test_an_answer_that_is_repeated_loads_no_conversation(
    api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, request = await approval(api)
    body = {"model": "shop", "input": answer_to(request, True)}
    key = {"headers": {"Idempotency-Key": "once"}}
    first = await api.post("/responses", body, **key)
    loaded = loads_of(api, monkeypatch)

    again = await api.post("/responses", body, **key)

    assert again.json() == first.json()
    assert loaded == []


async def test_an_answer_that_is_repeated_is_refused_once_its_response_was_deleted(
    api: Served,
) -> None:
    _, request = await approval(api)
    body = {"model": "shop", "input": answer_to(request, True)}
    key = {"headers": {"Idempotency-Key": "once"}}
    first = (await api.post("/responses", body, **key)).json()
    await api.http.delete(f"/v1/responses/{first['id']}")

    again = await api.post("/responses", body, **key)

    assert error(again) == (422, "response_deleted", "Idempotency-Key")


async def test_an_answer_to_a_run_that_is_held_loads_its_conversation_once(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = await serve(worker=False, waits=Waits(take_s=0.1))
    first, request = await approval(api)
    run = RunId.parse(first["id"])
    await api.web.services.store.claim(run, 60.0, LeaseToken("another's"))
    loaded = loads_of(api, monkeypatch)

    held = await api.post("/responses", {"model": "shop", "input": answer_to(request, True)})

    assert held.status_code == 409
    assert loaded == [run.thread]


async def test_an_answer_takes_one_slot_until_its_run_rests(
    api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, request = await approval(api)
    store, taken = api.web.services.store, list[int]()
    model, is_read = api.web.services.model, asyncio.Event()
    follow, reply = store.follow, model.reply

    async def watched(*args: Any, **more: Any) -> Any:
        taken.append(api.web.executor._slots.taken)
        is_read.set()
        return await follow(*args, **more)

    async def held(*args: Any) -> Any:
        # The run must not end before its response is read for the first time.
        await is_read.wait()
        return await reply(*args)

    monkeypatch.setattr(store, "follow", watched)
    monkeypatch.setattr(model, "reply", held)

    await api.ask(answer_to(request, True))

    assert max(taken) == 1


async def test_long_responses_of_one_principal_are_read_one_after_another(
    api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    response = await api.ask("x" * 2_500_000)
    store, under_way, counts = api.web.services.store, 0, list[int]()
    follow = store.follow

    async def counted(*args: Any, **more: Any) -> Any:
        nonlocal under_way
        under_way += 1
        counts.append(under_way)
        try:
            return await follow(*args, **more)
        finally:
            under_way -= 1

    monkeypatch.setattr(store, "follow", counted)

    paths = [f"/responses/{response['id']}{more}" for more in ("", "/input_items") * 4]
    answers = await asyncio.gather(*(api.get(path) for path in paths))

    assert {answer.status_code for answer in answers} == {200}
    assert (len(counts), max(counts)) == (8, 1)
    assert api.web.reads.held == 0


async def test_a_reader_that_follows_a_response_keeps_none_of_its_input(api: Served) -> None:
    response = await api.ask("a long text", background=True)
    await api.settled(response["id"])
    id = ResponseId.parse(response["id"])
    reader, _ = await open_response(api.web, LOCAL, id)
    assert isinstance(reader.opening.event, RunStarted)
    assert reader.opening.event.items

    async for _ in reader.events():
        pass

    assert (reader.opening.event.items, reader.view.started.items) == ((), ())
