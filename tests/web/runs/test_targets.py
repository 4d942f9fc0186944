"""Where a turn goes: after a response, in a conversation, or to the run of the same request."""

import asyncio

import pytest

from tests.engine.stage import Stage
from tests.web.asking import NOWHERE, answer_to, approval, error, said
from tests.web.serving import Json, Serve, Served, events
from twelvefold.core.ids import RunId, ThreadId, family_of
from twelvefold.core.ports import ThreadHead
from twelvefold.web.state import Waits

# --- after a response -----------------------------------------------------------------------------


async def test_a_turn_continues_from_the_previous_one(api: Served) -> None:
    first = await api.ask("my name is Ann", instructions="Be brief.")
    second = await api.ask("what is it?", previous_response_id=first["id"])

    assert second["previous_response_id"] == first["id"]
    assert RunId.parse(second["id"]).thread == RunId.parse(first["id"]).thread
    request = api.model.requests[-1]
    assert [item["content"] for item in request.items if item["role"] == "user"] == [
        "my name is Ann",
        "what is it?",
    ]
    assert "Be brief." not in request.instructions


async def test_a_turn_may_continue_from_any_earlier_one(api: Served) -> None:
    first = await api.ask("one")
    await api.ask("two", previous_response_id=first["id"])

    again = await api.ask("three", previous_response_id=first["id"])

    fork, origin = RunId.parse(again["id"]).thread, RunId.parse(first["id"]).thread
    assert fork != origin
    assert family_of(fork) == family_of(origin)
    users = [item for item in api.model.requests[-1].items if item["role"] == "user"]
    assert [item["content"] for item in users] == ["one", "three"]


async def test_concurrent_turns_after_one_response_fork_the_conversation(api: Served) -> None:
    first = await api.ask("one")

    both = await asyncio.gather(
        *(api.ask(text, previous_response_id=first["id"]) for text in ("two", "three", "four"))
    )

    assert [said(one) for one in both] == [f"You said: {one}" for one in ("two", "three", "four")]
    assert len({RunId.parse(one["id"]).thread for one in both}) == 3


async def test_a_turn_that_another_one_overtakes_forks_the_conversation(api: Served) -> None:
    first = await api.ask("one")
    store = api.web.services.store
    load = store.thread

    async def load_overtaken(thread: ThreadId) -> ThreadHead:
        store.thread = load  # type: ignore[method-assign]
        await api.ask("two", previous_response_id=first["id"])
        return await load(thread)

    store.thread = load_overtaken  # type: ignore[method-assign]
    second = await api.ask("three", previous_response_id=first["id"])

    assert said(second) == "You said: three"
    assert RunId.parse(second["id"]).thread != RunId.parse(first["id"]).thread


@pytest.mark.parametrize("more", [{}, {"stream": True}, {"background": True}])
async def test_no_turn_continues_from_an_unknown_response(api: Served, more: Json) -> None:
    for id in ("resp_000", NOWHERE, "resp_" + "x" * 5_000):
        body = {"model": "shop", "input": "hi", "previous_response_id": id, **more}
        refused = await api.post("/responses", body)

        expected = (400, "previous_response_not_found", "previous_response_id")
        assert error(refused) == expected


async def test_no_turn_continues_from_a_response_that_is_not_over(api: Served) -> None:
    api.model.gate.clear()
    first = await api.ask("one", background=True)

    body = {"model": "shop", "input": "two", "previous_response_id": first["id"]}
    refused = await api.post("/responses", body)
    api.model.gate.set()

    assert error(refused)[1:] == ("previous_response_not_completed", "previous_response_id")


async def test_a_response_that_is_not_stored_is_not_found(api: Served) -> None:
    response = await api.ask("hello", store=False)
    events = await api.told("hello", store=False)

    for id in (response["id"], events[-1]["response"]["id"]):
        assert (await api.get(f"/responses/{id}")).status_code == 404
        assert (await api.get(f"/responses/{id}", stream="true")).status_code == 404
        assert (await api.get(f"/responses/{id}/input_items")).status_code == 404
        assert (await api.http.delete(f"/v1/responses/{id}")).status_code == 404
        behind = {"model": "shop", "input": "hi", "previous_response_id": id}
        assert error(await api.post("/responses", behind))[1] == "previous_response_not_found"
    assert (await api.get("/conversations")).json()["data"] == []


async def test_a_turn_that_is_not_stored_does_not_change_its_conversation(api: Served) -> None:
    first = await api.ask("one")
    await api.ask("two", previous_response_id=first["id"], store=False)

    third = await api.ask("three", previous_response_id=first["id"])

    assert RunId.parse(third["id"]).thread == RunId.parse(first["id"]).thread


async def test_items_are_found_by_their_ids_across_responses(api: Served) -> None:
    first = await api.ask("buy a lamp")
    listed = (await api.get(f"/responses/{first['id']}/input_items")).json()["data"]
    references = [{"type": "item_reference", "id": item["id"]} for item in first["output"]]

    items = [{"id": listed[0]["id"]}, *references, {"role": "user", "content": "and now?"}]
    second = await api.ask(items)

    assert said(second) == "You said: and now?"
    types = [item["type"] for item in api.model.requests[-1].items]
    assert types == [
        *("message", "function_call", "function_call_output", "message", "message"),
    ]


async def test_a_reference_to_an_unknown_item_is_rejected(api: Served) -> None:
    hidden = await api.ask("hello", store=False)
    for id in ("msg_1", hidden["output"][0]["id"]):
        body = {"model": "shop", "input": [{"type": "item_reference", "id": id}]}
        refused = await api.post("/responses", body)

        assert error(refused) == (400, "item_not_found", "input[0].id")


# --- idempotency keys -----------------------------------------------------------------------------


async def test_a_repeated_request_is_carried_out_once(api: Served, stage: Stage) -> None:
    key = {"idempotency-key": "one"}
    body = {"model": "shop", "input": "buy a lamp"}

    answers = await asyncio.gather(*(api.post("/responses", body, headers=key) for _ in range(8)))
    late = await api.post("/responses", body, headers=key)

    assert len({one.json()["id"] for one in (*answers, late)}) == 1
    assert {one.status_code for one in answers} == {200}
    assert late.json()["status"] == "completed"
    assert await stage.bought() == ["a lamp"]


async def test_a_repeated_stream_is_the_same_stream(api: Served) -> None:
    key = {"idempotency-key": "one"}
    async with asyncio.TaskGroup() as group:
        repeats = [group.create_task(_keyed(api, key)) for _ in range(4)]
    late = await _keyed(api, key)

    assert [one.result() for one in repeats] == [late] * 4


async def _keyed(api: Served, key: dict[str, str]) -> list[Json]:
    body = {"model": "shop", "input": "buy a lamp", "stream": True}
    return await events(api.http, "POST", "/v1/responses", json=body, headers=key)


async def test_a_key_belongs_to_one_body(api: Served) -> None:
    key = {"idempotency-key": "one"}
    refused = await api.post("/responses", {"model": "nope", "input": "hi"}, headers=key)
    taken = await api.post("/responses", {"model": "shop", "input": "hi"}, headers=key)
    other = await api.post("/responses", {"model": "shop", "input": "ho"}, headers=key)

    assert (refused.status_code, taken.status_code) == (404, 200)
    assert error(other) == (422, "idempotency_key_reused", "Idempotency-Key")


async def test_a_key_of_a_deleted_response_stays_used(api: Served, stage: Stage) -> None:
    body, key = {"model": "shop", "input": "buy a lamp"}, {"idempotency-key": "one"}
    first = await api.post("/responses", body, headers=key)
    await api.http.delete(f"/v1/responses/{first.json()['id']}")

    refused = await api.post("/responses", body, headers=key)

    assert error(refused) == (422, "response_deleted", "Idempotency-Key")
    assert await stage.bought() == ["a lamp"]


@pytest.mark.parametrize("behind", ["conversation", "previous_response_id"])
async def test_a_key_is_valid_for_every_target(api: Served, stage: Stage, behind: str) -> None:
    place = (
        (await api.post("/conversations")).json()["id"]
        if behind == "conversation"
        else (await api.ask("hi"))["id"]
    )
    body = {"model": "shop", "input": "buy a lamp", behind: place}
    key = {"idempotency-key": "one"}

    answers = await asyncio.gather(*(api.post("/responses", body, headers=key) for _ in range(4)))

    assert len({one.json()["id"] for one in answers}) == 1
    assert await stage.bought() == ["a lamp"]


async def test_concurrent_repeats_leave_no_second_conversation(api: Served) -> None:
    first = await api.ask("hi")
    await api.ask("more", previous_response_id=first["id"])
    body = {"model": "shop", "input": "or else", "previous_response_id": first["id"]}
    key = {"idempotency-key": "one"}

    answers = await asyncio.gather(*(api.post("/responses", body, headers=key) for _ in range(4)))

    assert len({one.json()["id"] for one in answers}) == 1
    async with api.web.services.store.read() as db:
        threads = await db.fetch_all("select id from threads")
    assert len(threads) == 2


async def test_no_turn_continues_from_a_response_whose_conversation_was_deleted(
    api: Served,
) -> None:
    conversation = (await api.post("/conversations")).json()["id"]
    first = await api.ask("hi", conversation=conversation)
    await api.http.delete(f"/v1/conversations/{conversation}")

    refused = await api.post(
        "/responses", {"model": "shop", "input": "more", "previous_response_id": first["id"]}
    )

    assert error(refused) == (400, "previous_response_not_found", "previous_response_id")


# --- conversations --------------------------------------------------------------------------------


async def test_turns_of_one_conversation_come_one_by_one(api: Served) -> None:
    conversation = (await api.post("/conversations")).json()["id"]
    texts = ["one", "two", "three", "four"]

    responses = await asyncio.gather(
        *(api.ask(text, conversation={"id": conversation}) for text in texts)
    )

    items = (await api.get(f"/conversations/{conversation}/items", order="asc")).json()["data"]
    spoken = [part["text"] for item in items for part in item["content"]]
    assert sorted(spoken[::2]) == sorted(texts)
    assert spoken[1::2] == [f"You said: {text}" for text in spoken[::2]]
    assert {one["conversation"]["id"] for one in responses} == {conversation}


async def test_a_conversation_that_is_busy_for_long_is_locked(serve: Serve) -> None:
    api = await serve(waits=Waits(thread_s=0.2))
    conversation = (await api.post("/conversations")).json()["id"]
    api.model.gate.clear()
    first = await api.ask("one", conversation=conversation, background=True)
    body = {"model": "shop", "input": "two", "conversation": conversation}
    refused = await api.post("/responses", body)
    api.model.gate.set()

    assert error(refused) == (409, "conversation_locked", "conversation")
    assert refused.headers["retry-after"] == "1"
    assert (await api.settled(first["id"]))["status"] == "completed"
    assert (await api.post("/responses", body)).status_code == 200


async def test_a_turn_of_a_conversation_that_waits_for_a_person_is_rejected_at_once(
    api: Served,
) -> None:
    conversation = (await api.post("/conversations")).json()["id"]
    _, request = await approval(api, conversation=conversation)

    body = {"model": "shop", "input": "two", "conversation": conversation}
    refused = await api.post("/responses", body)

    assert error(refused) == (409, "conversation_locked", "conversation")
    assert refused.headers["x-should-retry"] == "false"
    assert request["id"] in refused.json()["error"]["message"]
    answered = await api.ask(answer_to(request, True), conversation=conversation)
    assert answered["status"] == "completed"


async def test_an_unknown_conversation_is_named(api: Served) -> None:
    for id in ("conv_1", "conv_" + "0" * 44):
        body = {"model": "shop", "input": "hi", "conversation": id}
        refused = await api.post("/responses", body)

        assert error(refused) == (404, "conversation_not_found", "conversation")
