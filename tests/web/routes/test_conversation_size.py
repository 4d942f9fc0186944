"""A conversation has a maximum size; an error names the setting."""

from dataclasses import replace
from typing import Any

import httpx2
import pytest

from tests.engine.stage import LIMITS
from tests.web.serving import Serve, Served

FULL = "conversation_too_large"
SMALL = replace(LIMITS, conversation_bytes=2_000)
SHORT = replace(LIMITS, conversation_entries=5)
LONG = "x" * 1_200


def refused(answer: httpx2.Response, param: str, setting: str) -> None:
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert (error["code"], error["param"], error["type"]) == (FULL, param, "invalid_request_error")
    assert setting in error["message"]
    assert "start a new conversation, or continue from an earlier response" in error["message"]


async def conversation(api: Served, *items: object) -> str:
    answer = await api.post("/conversations", {"items": list(items)})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def message(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": text}


@pytest.mark.parametrize(
    ("limits", "setting"),
    [(SMALL, "MAX_CONVERSATION_BYTES is 2000"), (SHORT, "MAX_CONVERSATION_ENTRIES is 5")],
    ids=["bytes", "entries"],
)
@pytest.mark.parametrize("background", [False, True])
async def test_a_turn_beyond_the_limit_is_refused(
    serve: Serve, limits: Any, setting: str, *, background: bool
) -> None:
    api = await serve(limits=limits)
    id = await conversation(api)
    await api.ask(LONG, conversation=id)
    turn = {"model": "shop", "input": LONG, "conversation": id, "background": background}

    refused(await api.post("/responses", turn), "conversation", setting)

    streamed = await api.post("/responses", turn | {"stream": True})
    refused(streamed, "conversation", setting)


async def test_a_turn_after_a_response_counts_the_entries_before_it(serve: Serve) -> None:
    api = await serve(limits=replace(LIMITS, conversation_entries=6))
    first = await api.ask("hello")
    second = await api.ask("hello", previous_response_id=first["id"])
    turn = {"model": "shop", "input": "hello", "previous_response_id": second["id"]}

    refused(await api.post("/responses", turn), "previous_response_id", "MAX_CONVERSATION_ENTRIES")

    fork = await api.ask("hello", previous_response_id=first["id"])
    assert fork["status"] == "completed"
    again = turn | {"previous_response_id": fork["id"]}
    refused(await api.post("/responses", again), "previous_response_id", "MAX_CONVERSATION_ENTRIES")


async def test_a_fork_by_its_own_endpoint_counts_as_well(serve: Serve) -> None:
    api = await serve(limits=replace(LIMITS, conversation_entries=6))
    id = await conversation(api)
    await api.ask("hello", conversation=id)
    await api.ask("hello", conversation=id)
    fork = (await api.post(f"/conversations/{id}/fork", {"position": 6})).json()["id"]
    turn = {"model": "shop", "input": "hello", "conversation": fork}

    refused(await api.post("/responses", turn), "conversation", "MAX_CONVERSATION_ENTRIES is 6")


async def test_input_alone_may_be_too_large(serve: Serve) -> None:
    api = await serve(limits=SMALL)
    turn = {"model": "shop", "input": "x" * 3_000}
    chat = {"model": "shop", "messages": [{"role": "user", "content": "x" * 3_000}]}

    refused(await api.post("/responses", turn), "input", "MAX_CONVERSATION_BYTES")
    refused(await api.post("/chat/completions", chat), "messages", "MAX_CONVERSATION_BYTES")


async def test_items_beyond_the_limit_are_not_added(serve: Serve) -> None:
    api = await serve(limits=SMALL)
    id = await conversation(api, message(LONG))
    before = (await api.get("/conversations")).json()["data"]

    added = await api.post(f"/conversations/{id}/items", {"items": [message(LONG)]})
    refused(added, "items", "MAX_CONVERSATION_BYTES")
    created = await api.post("/conversations", {"items": [message("x" * 3_000)]})
    refused(created, "items", "MAX_CONVERSATION_BYTES")

    items = (await api.get(f"/conversations/{id}/items")).json()["data"]
    assert len(items) == 1
    assert (await api.get("/conversations")).json()["data"] == before


async def test_a_run_that_reaches_the_limit_is_incomplete(serve: Serve) -> None:
    api = await serve(limits=replace(LIMITS, conversation_entries=3))

    response = await api.ask("buy a lamp")

    assert response["status"] == "incomplete"
    assert [item["type"] for item in response["output"]] == ["mcp_call"]
    assert response["output"][0]["status"] == "completed"


async def test_a_full_conversation_is_refused_before_it_is_loaded(serve: Serve) -> None:
    api = await serve(limits=SHORT)
    id = await conversation(api)
    await api.ask("hello", conversation=id)
    await api.ask("hello", conversation=(await conversation(api)))
    loads: list[str] = []
    load = api.web.services.store.load

    async def counted(thread: Any) -> Any:
        loads.append(thread)
        return await load(thread)

    api.web.services.store.load = counted  # type: ignore[method-assign]
    turn = {"model": "shop", "input": "hello", "conversation": id}

    refused(await api.post("/responses", turn), "conversation", "MAX_CONVERSATION_ENTRIES is 5")
    assert loads == []
