"""Conversations and their items: create, describe, list, read, fork, cancel and delete."""

import asyncio
from typing import Any

import httpx2
import pytest

from tests.engine.stage import Stage
from tests.web.asking import WEATHER, answer_to, approval, error, said
from tests.web.sdk import check_items
from tests.web.serving import Serve, Served
from twelvefold.core.ids import RunId
from twelvefold.errors import StoreUnavailable
from twelvefold.services.store.sqlite.store import SQLiteStore
from twelvefold.web.state import Waits

Json = dict[str, Any]
HELLO = {"type": "message", "role": "user", "content": "hello"}
NOWHERE = "conv_" + "0" * 44


async def conversation(api: Served, **body: Any) -> str:
    answer = await api.post("/conversations", body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


async def items_of(api: Served, id: str, **query: Any) -> list[Json]:
    answer = await api.get(f"/conversations/{id}/items", order="asc", **query)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["data"])


def texts(items: list[Json]) -> list[str]:
    parts = (part for item in items for part in item.get("content", ()))
    return [str(part["text"]) for part in parts]


# --- as the official client has them --------------------------------------------------------------


async def test_a_conversation_is_made_described_and_deleted(api: Served) -> None:
    sdk = api.sdk.conversations
    made = await sdk.create(metadata={"a": "b"}, items=[HELLO])  # type: ignore[list-item]
    read = await sdk.retrieve(made.id)
    updated = await sdk.update(made.id, metadata={"c": "d"})
    deleted = await sdk.delete(made.id)

    assert (made.metadata, read.metadata, updated.metadata) == ({"a": "b"}, {"a": "b"}, {"c": "d"})
    assert (deleted.id, deleted.deleted, deleted.object) == (made.id, True, "conversation.deleted")
    assert (await api.get(f"/conversations/{made.id}")).status_code == 404
    assert (await api.get(f"/conversations/{made.id}/items")).status_code == 404


async def test_a_conversation_needs_nothing_to_begin_with(api: Served) -> None:
    made = await api.http.post("/v1/conversations")

    assert made.status_code == 200
    assert made.json()["metadata"] == {}
    assert await items_of(api, made.json()["id"]) == []


async def test_items_are_added_read_and_removed(api: Served) -> None:
    sdk = api.sdk.conversations
    id = await conversation(api)

    added = await sdk.items.create(id, items=[HELLO, HELLO | {"role": "system"}])  # type: ignore[list-item]
    one = await sdk.items.retrieve(added.data[0].id or "", conversation_id=id)
    listed = [item async for item in await sdk.items.list(id, order="asc")]
    left = await sdk.items.delete(added.data[0].id or "", conversation_id=id)

    assert one == added.data[0]
    assert listed == added.data
    assert left.id == id
    assert [item["id"] for item in await items_of(api, id)] == [added.data[1].id]
    gone = await api.get(f"/conversations/{id}/items/{added.data[0].id}")
    assert gone.status_code == 404


async def test_a_conversation_has_the_items_of_its_turns_and_turns_read_its_items(
    api: Served,
) -> None:
    id = await conversation(api, items=[HELLO])
    response = await api.ask("buy a lamp", conversation=id)
    await api.post(f"/conversations/{id}/items", {"items": [HELLO | {"content": "by the way"}]})

    await api.ask("thanks", conversation=id)

    items = await items_of(api, id)
    check_items(items, conversation=True)
    assert [item["id"] for item in response["output"]] == [item["id"] for item in items[2:4]]
    assert texts(items) == [
        *("hello", "buy a lamp", "The tool says: bought a lamp"),
        *("by the way", "thanks", "You said: thanks"),
    ]
    read = api.model.requests[-1].items
    assert [item["content"] for item in read if item.get("role") == "user"] == [
        *("hello", "buy a lamp", "by the way", "thanks"),
    ]


async def test_removed_items_are_not_read(api: Served) -> None:
    id = await conversation(api)
    await api.ask("a secret", conversation=id)
    for item in await items_of(api, id):
        gone = await api.http.delete(f"/v1/conversations/{id}/items/{item['id']}")
        assert gone.json()["id"] == id

    await api.ask("what was it?", conversation=id)

    assert texts(await items_of(api, id)) == ["what was it?", "You said: what was it?"]
    assert [item["content"] for item in api.model.requests[-1].items] == ["what was it?"]


async def test_items_are_listed_page_by_page(api: Served) -> None:
    id = await conversation(api, items=[HELLO | {"content": str(n)} for n in range(20)])

    pages = [(await api.get(f"/conversations/{id}/items", limit=8)).json()]
    while pages[-1]["has_more"]:
        after = pages[-1]["last_id"]
        pages.append((await api.get(f"/conversations/{id}/items", limit=8, after=after)).json())

    assert [len(page["data"]) for page in pages] == [8, 8, 4]
    listed = [text for page in pages for text in texts(page["data"])]
    assert listed == [str(n) for n in reversed(range(20))]


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"metadata": {"a": 1}}, "invalid_type", "metadata.a"),
        ({"items": [HELLO] * 21}, "array_above_max_length", "items"),
        ({"items": [{"role": "user"}]}, "missing_required_parameter", "items[0].content"),
        ({"items": [{"type": "function_call_output", "call_id": "c", "output": ""}]}, *2 * [None]),
        ({"colour": "red"}, "unknown_parameter", "colour"),
    ],
)
async def test_an_invalid_conversation_is_not_created(
    api: Served, body: Json, code: str | None, param: str | None
) -> None:
    refused = await api.post("/conversations", body)

    expected = (400, code or "invalid_call_id", param or "items[0].call_id")
    assert error(refused) == expected
    assert (await api.get("/conversations")).json()["data"] == []


async def test_items_wait_for_the_turn_that_is_under_way(api: Served) -> None:
    id = await conversation(api)
    api.model.gate.clear()
    await api.ask("hi", conversation=id, background=True)
    putting = asyncio.create_task(api.post(f"/conversations/{id}/items", {"items": [HELLO]}))
    await api.model.asked.wait()
    await asyncio.sleep(0.1)
    api.model.gate.set()
    put = await putting

    assert put.status_code == 200
    assert texts(await items_of(api, id)) == ["hi", "You said: hi", "hello"]


async def test_items_are_refused_if_a_turn_is_under_way_for_long(serve: Serve) -> None:
    api = await serve(waits=Waits(thread_s=0.1))
    id = await conversation(api)
    api.model.gate.clear()
    await api.ask("hi", conversation=id, background=True)

    refused = await api.post(f"/conversations/{id}/items", {"items": [HELLO]})
    api.model.gate.set()

    assert error(refused) == (409, "conversation_locked", None)


async def test_unknown_ids_are_404(api: Served) -> None:
    here = await conversation(api)
    missing = [
        await api.get(f"/conversations/{NOWHERE}"),
        await api.get("/conversations/conv_1"),
        await api.get("/conversations/resp_1/items"),
        await api.post(f"/conversations/{NOWHERE}", {"metadata": {}}),
        await api.http.delete(f"/v1/conversations/{NOWHERE}"),
        await api.get(f"/conversations/{NOWHERE}/items"),
        await api.post(f"/conversations/{NOWHERE}/items", {"items": [HELLO]}),
        await api.get(f"/conversations/{here}/items/msg_1"),
        await api.http.delete(f"/v1/conversations/{here}/items/msg_1"),
        await api.get(f"/conversations/{NOWHERE}/journal"),
        await api.post(f"/conversations/{NOWHERE}/fork", {"position": 1}),
        await api.post(f"/conversations/{NOWHERE}/cancel"),
    ]

    assert {(one.status_code, one.json()["error"]["code"]) for one in missing} == {
        (404, "not_found")
    }


# --- our own --------------------------------------------------------------------------------------


async def test_conversations_are_listed_newest_first_with_their_status(api: Served) -> None:
    empty = await conversation(api)
    asking = await conversation(api)
    await approval(api, conversation=asking)
    long = await conversation(api)
    done = await api.ask("  a very\nlong " + "title " * 20, conversation=long)
    await api.ask("not kept", store=False)

    listed = (await api.get("/conversations")).json()
    first = (await api.get("/conversations", limit=1)).json()
    second = (await api.get("/conversations", limit=1, after=first["last_id"])).json()

    assert [(row["id"], row["status"]) for row in listed["data"]] == [
        *((long, "completed"), (asking, "waiting"), (empty, None)),
    ]
    assert [row["title"][:18] for row in listed["data"]] == [
        "a very long title ",
        "refund a lamp",
        "",
    ]
    assert len(listed["data"][0]["title"]) == 80
    assert listed["data"][0]["response"] == done["id"]
    assert (first["has_more"], second["data"]) == (True, [listed["data"][1]])
    assert not listed["has_more"]
    upwards = (await api.get("/conversations", order="asc", limit=2)).json()
    last = (await api.get("/conversations", order="asc", after=upwards["last_id"])).json()
    assert [*upwards["data"], *last["data"]] == listed["data"][::-1]
    assert (upwards["has_more"], last["has_more"]) == (True, False)


async def test_a_list_has_the_rows_of_its_conversations_and_loads_none_of_them(
    api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    talked = await _talked(api)
    both = {id: (await api.get(f"/conversations/{id}")).json() for id in talked}
    monkeypatch.setattr(SQLiteStore, "load", None)

    listed = (await api.get("/conversations", limit=100)).json()["data"]

    assert {row["id"]: row for row in listed} == both
    assert [row["id"] for row in listed] == sorted(talked, reverse=True)


async def _talked(api: Served) -> list[str]:
    """Conversations whose rows in the list differ."""
    empty, items = await conversation(api), await conversation(api, items=[HELLO])
    system = await conversation(api, items=[HELLO | {"role": "system"}])
    await api.ask("buy a lamp", conversation=system)
    await api.post(f"/conversations/{system}/items", {"items": [HELLO]})
    waiting, answered, refused = [await conversation(api) for _ in range(3)]
    await approval(api, conversation=waiting)
    for id, approve in ((answered, True), (refused, False)):
        await api.ask("hi", conversation=id)
        _, request = await approval(api, conversation=id)
        await api.ask(answer_to(request, approve), conversation=id)
    deleted = await conversation(api)
    gone = await api.ask("hi", conversation=deleted)
    await api.http.delete(f"/v1/responses/{gone['id']}")
    unkept = await conversation(api)
    await api.ask("hi", conversation=unkept, store=False)
    forks = [await _fork(api, answered, 3), await _fork(api, answered, 6)]
    forks.append(await _fork(api, forks[0], 3))
    await api.ask("two", conversation=forks[1])
    again = await _fork(api, forks[1], 8)
    return [*(empty, items, system, waiting, answered, refused, deleted, unkept), *forks, again]


async def _fork(api: Served, id: str, position: int) -> str:
    made = await api.post(f"/conversations/{id}/fork", {"position": position})
    return str(made.json()["id"])


async def test_the_journal_has_every_step(api: Served) -> None:
    id = await conversation(api, items=[HELLO])
    response = await api.ask("buy a lamp", conversation=id)
    url = f"/conversations/{id}/journal"

    entries = (await api.get(url)).json()["data"]
    part = (await api.get(url, after=2, limit=2)).json()

    assert [entry["type"] for entry in entries] == [
        *("ItemsAdded", "RunStarted", "ModelReplied", "ToolSucceeded", "ModelReplied"),
        "RunFinished",
    ]
    assert [entry["position"] for entry in entries] == [1, 2, 3, 4, 5, 6]
    assert {entry["response"] for entry in entries[1:]} == {response["id"]}
    assert [entry["took_ms"] is None for entry in entries] == [True, True, *[False] * 4]
    asked, done, answered = entries[2:5]
    assert asked["calls"] == [{"id": "3.0", "tool": "buy", "arguments": '{"item":"a lamp"}'}]
    assert (asked["usage"]["total_tokens"], asked["model"]) == (25, "rules")
    assert (done["item"], done["effect"]) == (response["output"][0]["id"], "transactional")
    assert (done["arguments"], done["result"]) == ('{"item":"a lamp"}', "bought a lamp")
    assert answered["text"] == "The tool says: bought a lamp"
    assert part == {"object": "list", "data": entries[2:4], "last": 4, "has_more": True}


async def test_the_journal_has_approvals_and_failures(api: Served) -> None:
    id = await conversation(api)
    first, request = await approval(api, conversation=id)
    await api.ask(answer_to(request, False), conversation=id)
    await api.ask("buy a dragon", conversation=id)

    entries = (await api.get(f"/conversations/{id}/journal")).json()["data"]

    by_type = {entry["type"]: entry for entry in entries}
    assert (by_type["ApprovalAsked"]["tool"], by_type["ApprovalAsked"]["response"]) == (
        *("refund", first["id"]),
    )
    answered = by_type["ApprovalAnswered"]
    assert (answered["approved"], answered["by"], answered["response"]) == (
        *(False, "local", f"{first['id']}c1"),
    )
    failed = by_type["ToolFailed"]
    assert (failed["failure"], failed["tool"]) == ("refused", "buy")
    assert failed["result"] == "Error: there are no dragons; look at the lamps"


async def test_a_fork_continues_from_an_earlier_entry(api: Served, stage: Stage) -> None:
    id = await conversation(api)
    await api.ask("one", conversation=id)
    await api.ask("two", conversation=id)

    forked = (await api.post(f"/conversations/{id}/fork", {"position": 3})).json()
    response = await api.ask("three", conversation=forked["id"])

    assert forked["forked_from"] == {"id": id, "position": 3}
    assert texts(await items_of(api, forked["id"])) == [
        *("one", "You said: one", "three", "You said: three"),
    ]
    assert texts(await items_of(api, id)) == ["one", "You said: one", "two", "You said: two"]
    journal = (await api.get(f"/conversations/{forked['id']}/journal")).json()["data"]
    assert [entry["inherited"] for entry in journal] == [True] * 3 + [False] * 3
    assert {entry["response"] for entry in journal} == {None, response["id"]}


@pytest.mark.parametrize("position", [0, -1, 99, "x", None])
async def test_a_fork_at_an_unknown_position_is_rejected(api: Served, position: object) -> None:
    id = await conversation(api, items=[HELLO])

    refused = await api.post(f"/conversations/{id}/fork", {"position": position})

    assert (refused.status_code, error(refused)[2]) == (400, "position")


@pytest.mark.parametrize("background", [False, True])
async def test_the_run_of_a_conversation_is_stopped(api: Served, background: bool) -> None:
    id = await conversation(api)
    api.model.gate.clear()
    running = asyncio.create_task(api.ask("hi", conversation=id, background=background))
    await api.model.asked.wait()

    stopped = await api.post(f"/conversations/{id}/cancel")
    again = await api.post(f"/conversations/{id}/cancel")
    response = await running

    assert (stopped.json()["status"], again.json()) == ("cancelled", stopped.json())
    assert (await api.settled(response["id"]))["status"] == "cancelled"


async def test_a_run_that_waits_for_approval_is_stopped(api: Served) -> None:
    id = await conversation(api)
    first, request = await approval(api, conversation=id)

    stopped = await api.post(f"/conversations/{id}/cancel")
    body = {"model": "shop", "input": answer_to(request, True)}
    late = await api.post("/responses", body)

    assert stopped.json()["status"] == "cancelled"
    assert error(late)[1] == "approval_not_pending"
    assert await api.settled(first["id"]) == first
    assert said(await api.ask("go on", conversation=id)) == "You said: go on"


async def test_a_conversation_has_the_workflow_of_its_first_turn(api: Served) -> None:
    id = await conversation(api)
    before = (await api.get(f"/conversations/{id}")).json()
    await api.ask("call get_weather", conversation=id, tools=[WEATHER])

    after = (await api.get(f"/conversations/{id}")).json()

    assert (before["model"], after["model"]) == (None, "shop")


async def test_deleting_a_conversation_cancels_its_run(api: Served) -> None:
    id = await conversation(api)
    api.model.gate.clear()
    running = await api.ask("buy a lamp", conversation=id, background=True)
    await api.model.asked.wait()

    deleted = await api.http.delete(f"/v1/conversations/{id}")
    api.model.gate.set()

    assert deleted.json()["deleted"]
    while (await _status(api, running["id"])) not in (404, "cancelled"):
        await asyncio.sleep(0.02)


async def _status(api: Served, id: str) -> object:
    answer: httpx2.Response = await api.get(f"/responses/{id}")
    return answer.status_code if answer.is_error else answer.json()["status"]


# --- what is gone ---------------------------------------------------------------------------------


async def _deleted(api: Served, *responses: Json) -> None:
    for response in responses:
        answer = await api.http.delete(f"/v1/responses/{response['id']}")
        assert answer.status_code == 200, answer.text


def _of(response: Json) -> str:
    """The conversation of a response whose request named none."""
    return f"conv_{RunId.parse(response['id']).thread}"


async def test_items_of_a_deleted_response_are_not_listed(api: Served) -> None:
    first = await api.ask("my secret")
    second = await api.ask("hi", previous_response_id=first["id"])
    beside = await api.ask("ho", previous_response_id=first["id"])

    await _deleted(api, first)

    for response, words in ((second, "hi"), (beside, "ho")):
        id = _of(response)
        assert texts(await items_of(api, id)) == [words, f"You said: {words}"]
        journal = await api.get(f"/conversations/{id}/journal")
        assert "secret" not in journal.text
        assert (await api.get(f"/conversations/{id}")).json()["title"] == words
    forked = await api.post(f"/conversations/{_of(second)}/fork", {"position": 4})
    assert "secret" not in (await api.get(f"/conversations/{forked.json()['id']}/items")).text
    reference = {"type": "item_reference", "id": first["output"][0]["id"]}
    refused = await api.post("/responses", {"model": "shop", "input": [reference]})
    assert error(refused) == (400, "item_not_found", "input[0].id")


async def test_a_model_still_reads_the_items_of_a_deleted_response(api: Served) -> None:
    first = await api.ask("my secret")
    second = await api.ask("hi", previous_response_id=first["id"])
    await _deleted(api, first)

    await api.ask("ho", previous_response_id=second["id"])

    assert "my secret" in str(api.model.requests[-1].items)


async def test_a_named_conversation_keeps_the_items_of_a_deleted_response(api: Served) -> None:
    id = await conversation(api)
    first = await api.ask("hi", conversation=id)

    await _deleted(api, first)

    assert texts(await items_of(api, id)) == ["hi", "You said: hi"]
    reference = {"type": "item_reference", "id": first["output"][0]["id"]}
    assert said(await api.ask([reference, HELLO])) == "You said: hello"


async def test_an_unnamed_conversation_is_deleted_with_its_last_response(api: Served) -> None:
    first = await api.ask("hi")
    second = await api.ask("ho", previous_response_id=first["id"])
    id = _of(first)

    await _deleted(api, second)
    assert (await api.get(f"/conversations/{id}")).json()["response"] == first["id"]
    await _deleted(api, first)

    assert (await api.get("/conversations")).json()["data"] == []
    assert error(await api.get(f"/conversations/{id}"))[0] == 404
    body = {"model": "shop", "input": "hi", "conversation": id}
    assert error(await api.post("/responses", body))[1] == "conversation_not_found"
    assert await api.web.services.store.prune(before_us=1) == 1


async def test_added_items_keep_a_conversation(api: Served) -> None:
    first = await api.ask("hi")
    id = _of(first)
    await api.post(f"/conversations/{id}/items", {"items": [HELLO]})

    await _deleted(api, first)
    added = await api.post(f"/conversations/{id}/items", {"items": [HELLO]})

    assert added.status_code == 200
    assert texts(await items_of(api, id)) == ["hello", "hello"]
    assert (await api.ask("ho", conversation=id))["status"] == "completed"


async def test_a_response_that_is_not_stored_is_in_no_conversation(api: Served) -> None:
    hidden = await api.ask("hi", store=False)
    id = _of(hidden)

    body = {"model": "shop", "input": "hi", "conversation": id}
    refused = await api.post("/responses", body)
    others = [
        await api.get(f"/conversations/{id}"),
        await api.post(f"/conversations/{id}", {"metadata": {}}),
        await api.post(f"/conversations/{id}/items", {"items": [HELLO]}),
        await api.post(f"/conversations/{id}/fork", {"position": 1}),
        await api.http.delete(f"/v1/conversations/{id}"),
    ]

    assert error(refused) == (404, "conversation_not_found", "conversation")
    assert {one.status_code for one in others} == {404}


async def test_no_turn_continues_from_a_response_of_a_deleted_conversation(api: Served) -> None:
    id = await conversation(api)
    first = await api.ask("hi", conversation=id)
    await api.http.delete(f"/v1/conversations/{id}")

    body = {"model": "shop", "input": "hi", "previous_response_id": first["id"]}
    refused = await api.post("/responses", body)

    expected = (400, "previous_response_not_found", "previous_response_id")
    assert error(refused) == expected


# --- once -----------------------------------------------------------------------------------------


def loses_an_answer(monkeypatch: pytest.MonkeyPatch, api: Served, method: str) -> list[Any]:
    """Break the connection once after the commit; return what each try returned."""
    store = api.web.services.store
    write, tries = getattr(store, method), list[Any]()

    async def lost_once(*what: Any, **how: Any) -> Any:
        tries.append(await write(*what, **how))
        if len(tries) == 1:
            raise StoreUnavailable("the connection broke at COMMIT")
        return tries[-1]

    monkeypatch.setattr(store, method, lost_once)
    return tries


@pytest.mark.parametrize("method", ["new_thread", "add_items"])
async def test_a_conversation_is_created_once_although_the_answer_was_lost(
    api: Served, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    tries = loses_an_answer(monkeypatch, api, method)

    id = await conversation(api, items=[HELLO])

    assert tries
    assert texts(await items_of(api, id)) == ["hello"]
    assert len((await api.get("/conversations")).json()["data"]) == 1


async def test_items_are_added_once_although_the_answer_was_lost(
    api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = await conversation(api)
    tries = loses_an_answer(monkeypatch, api, "add_items")

    added = await api.post(f"/conversations/{id}/items", {"items": [HELLO]})

    assert (added.status_code, tries) == (200, [tries[0]] * 2)
    assert texts(await items_of(api, id)) == ["hello"]
