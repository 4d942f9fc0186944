"""A person answers a run that another one has started, through the run of the caller."""

import asyncio
from typing import Any, Literal

import pytest

from tests.engine.family.stories import last_user_text
from tests.engine.stage import Stage, refund
from tests.web.asking import error
from tests.web.sdk import check_events, check_items, check_response
from tests.web.serving import Json, Serve, Served
from twelvefold import Ask, FanOut, Workflow, tool
from twelvefold.core.events import (
    ChildAsked,
    ChildrenStarted,
    Entry,
    Event,
    ModelReplied,
    RunStarted,
    Usage,
)
from twelvefold.core.ids import CallId, RunId, ThreadId
from twelvefold.core.ports import ApiKey, ModelRequest
from twelvefold.engine import answer
from twelvefold.services.model.scripted import Scripted, ScriptedModel, calls, says
from twelvefold.web.http.authentication import hash_of
from twelvefold.web.ids import ResponseId
from twelvefold.web.projection.objects import ResponseView
from twelvefold.web.projection.response import ResponseProjection

TOKEN = "tw_" + "b" * 43


@tool(effect="pure")
async def ask_colour(item: str) -> Ask:
    """Ask for a colour."""
    return Ask(f"Which colour has the {item}?", schema=Literal["red", "blue"])


CLERK = Workflow("clerk", "clerk", (refund, ask_colour))
MANAGER = Workflow("manager", "manager", (CLERK.as_tool("Refunds."),))


@tool(effect="pure")
async def refund_all(items: list[str]) -> FanOut:
    """Refund several items, each by a clerk."""
    return FanOut(CLERK.task(f"refund {item}") for item in items)


SHOP = Workflow[Any](
    "shop",
    "boss",
    (CLERK.as_tool("Refunds."), MANAGER.as_tool("Manages."), refund_all),
    children=(CLERK,),
)


def script(request: ModelRequest) -> Scripted:
    results = [item for item in request.items if item.get("type") == "function_call_output"]
    if results:
        return says(f"{request.instructions}: {results[-1]['output']}")
    verb, _, rest = last_user_text(request).partition(" ")
    if verb == "refund_all":
        return calls((verb, {"items": rest.split()}))
    if verb in ("clerk", "manager"):
        return calls((verb, {"input": rest}))
    return calls((verb, {"item": rest}))


@pytest.fixture(params=[False, True], ids=["alone", "worker"])
async def api(serve: Serve, request: pytest.FixtureRequest) -> Served:
    model = ScriptedModel(script)
    return await serve(worker=request.param, model=model, workflow=SHOP)


def asked(response: Json) -> Json:
    [request] = [one for one in response["output"] if one["type"] == "mcp_approval_request"]
    return dict(request)


def approval(request: Json, *, approve: bool = True) -> list[Json]:
    id = request["id"]
    return [{"type": "mcp_approval_response", "approval_request_id": id, "approve": approve}]


def text_of(response: Json) -> str:
    return str(response["output"][-1]["content"][0]["text"])


@pytest.mark.parametrize("text", ["clerk refund lamp", "manager clerk refund lamp"])
async def test_a_child_is_approved_at_the_callers_run(api: Served, stage: Stage, text: str) -> None:
    first = await api.ask(text)

    request = asked(first)
    check_response(first)
    assert (first["status"], request["name"]) == ("completed", "refund")
    assert request["server_label"] == "clerk"
    assert request["arguments"] == '{"item":"lamp"}'
    assert await stage.bought() == []
    second = await api.ask(approval(request), previous_response_id=first["id"])
    check_response(second)
    assert second["id"] == f"{first['id']}c1"
    assert second["status"] == "completed"
    assert text_of(second).startswith("boss: ")
    again = (await api.get(f"/responses/{first['id']}")).json()
    assert again["output"] == first["output"]
    [given] = (await api.get(f"/responses/{second['id']}/input_items")).json()["data"]
    assert given["approval_request_id"] == request["id"]
    items = (await api.get(f"/conversations/conv_{first['id'][5:49]}/items", order="asc")).json()
    check_items(items["data"], conversation=True)
    types = [item["type"] for item in items["data"]]
    assert types == [
        *("message", "mcp_call", "mcp_approval_request", "mcp_approval_response", "message"),
    ]


async def test_siblings_are_asked_one_after_the_other(api: Served) -> None:
    response = await api.ask("refund_all lamp rug vase")
    conversation, seen = f"conv_{response['id'][5:49]}", []

    while response["output"][-1]["type"] != "message":
        request = asked(response)
        seen.append(request)
        response = await api.ask(approval(request), conversation=conversation)

    assert len({request["id"] for request in seen}) == 3
    assert sorted(request["arguments"] for request in seen) == [
        f'{{"item":"{item}"}}' for item in ("lamp", "rug", "vase")
    ]
    assert response["status"] == "completed"
    for item in ("lamp", "rug", "vase"):
        assert f"refunded {item}" in text_of(response)


async def test_a_stream_ends_with_the_question_of_a_child(api: Served) -> None:
    first = await api.told("clerk ask_colour lamp")

    check_events(first)
    response = first[-1]["response"]
    call = response["output"][-1]
    assert first[-1]["type"] == "response.completed"
    assert call["call_id"].startswith("ask_")
    given = [{"type": "function_call_output", "call_id": call["call_id"], "output": "red"}]
    second = await api.told(given, previous_response_id=response["id"])
    check_events(second)
    assert second[-1]["response"]["id"] == f"{response['id']}c1"
    assert text_of(second[-1]["response"]) == 'boss: clerk: "red"'
    replayed = await api.replayed(response["id"])
    assert replayed == first


async def test_a_denied_child_goes_on(api: Served) -> None:
    first = await api.ask("clerk refund lamp")

    second = await api.ask(approval(asked(first), approve=False), previous_response_id=first["id"])

    assert text_of(second) == "boss: clerk: Error: not allowed by local"


async def test_an_answer_below_counts_once(api: Served) -> None:
    first = await api.ask("clerk refund lamp")
    body = {"model": "shop", "input": approval(asked(first)), "previous_response_id": first["id"]}

    answers = await asyncio.gather(*(api.post("/responses", body) for _ in range(3)))

    assert sorted(one.status_code for one in answers) == [200, 400, 400]
    refused = next(one for one in answers if one.status_code == 400)
    assert error(refused)[1:] == ("approval_not_pending", "input[0].approval_request_id")


async def test_a_repeated_answer_below_gets_the_same_response(api: Served) -> None:
    first = await api.ask("clerk refund lamp")
    body = {"model": "shop", "input": approval(asked(first)), "previous_response_id": first["id"]}
    key = {"Idempotency-Key": "k1"}

    one, two = [await api.post("/responses", body, headers=key) for _ in range(2)]

    assert (one.status_code, two.status_code) == (200, 200)
    assert one.json() == two.json()


async def test_the_next_turn_names_the_missing_answer(api: Served) -> None:
    conversation = (await api.post("/conversations")).json()["id"]
    first = await api.ask("clerk refund lamp", conversation=conversation)

    body = {"model": "shop", "input": "hello", "conversation": conversation}
    refused = await api.post("/responses", body)

    assert refused.status_code == 409
    assert f"answer {asked(first)['id']}" in refused.json()["error"]["message"]


async def test_the_answer_of_another_place_is_seen(api: Served) -> None:
    first = await api.ask("clerk refund lamp")
    child = child_with(asked(first))

    await answer(api.web.services, child, approved=True, by="operator")
    body = {"model": "shop", "input": approval(asked(first)), "previous_response_id": first["id"]}
    refused = await api.post("/responses", body)

    assert error(refused)[1] == "approval_not_pending"


def child_with(request: Json) -> RunId:
    """Return the run whose call a request for approval names."""
    return RunId.parse(f"resp_{request['id'][5:49]}1")


async def test_another_process_takes_the_answer(serve: Serve) -> None:
    one = await serve(worker=False, model=ScriptedModel(script), workflow=SHOP)
    two = await serve(worker=False, model=ScriptedModel(script), workflow=SHOP)
    first = await one.sdk.responses.create(model="shop", input="manager clerk refund lamp")
    request = first.output[-1]

    assert request.type == "mcp_approval_request"
    second = await two.sdk.responses.create(
        model="shop",
        previous_response_id=first.id,
        input=[
            {"type": "mcp_approval_response", "approval_request_id": request.id, "approve": True}
        ],
    )

    assert second.status == "completed"
    assert second.output_text == "boss: manager: clerk: refunded lamp"
    assert (await one.sdk.responses.retrieve(second.id)).output_text == second.output_text


async def test_a_background_response_ends_with_the_request_of_a_child(serve: Serve) -> None:
    api = await serve(worker=True, model=ScriptedModel(script), workflow=SHOP)
    started = await api.ask("clerk refund lamp", background=True)

    first = await api.settled(started["id"])
    queued = await api.ask(
        approval(asked(first)), previous_response_id=first["id"], background=True
    )

    assert first["status"] == "completed"
    second = await api.settled(queued["id"])
    assert text_of(second) == "boss: clerk: refunded lamp"


async def test_a_run_that_was_cancelled_takes_no_answer_below(api: Served) -> None:
    first = await api.ask("clerk refund lamp")
    await api.post(f"/responses/{first['id']}/cancel?force=true")

    body = {"model": "shop", "input": approval(asked(first)), "previous_response_id": first["id"]}
    refused = await api.post("/responses", body)

    assert error(refused)[1] == "approval_not_pending"


async def test_chat_names_the_tool_of_the_child(api: Served) -> None:
    body = {"model": "shop", "messages": [{"role": "user", "content": "clerk refund lamp"}]}

    answered = (await api.post("/chat/completions", body)).json()

    assert "person's approval of refund" in answered["choices"][0]["message"]["content"]


@pytest.mark.parametrize("part", ["c1", "c7"])
async def test_an_answer_below_continues_an_earlier_response_only(api: Served, part: str) -> None:
    first = await api.ask("clerk refund lamp")

    previous = f"{first['id']}{part}"
    body = {"model": "shop", "input": approval(asked(first)), "previous_response_id": previous}
    refused = await api.post("/responses", body)

    assert error(refused)[2] == "previous_response_id"


async def test_an_answer_takes_the_slot_of_the_drive_that_has_just_asked(serve: Serve) -> None:
    api = await serve(worker=False, model=ScriptedModel(script), workflow=SHOP, max_runs=2)

    for _ in range(3):
        first = (await api.told("clerk refund lamp"))[-1]["response"]
        second = await api.ask(approval(asked(first)), previous_response_id=first["id"])
        assert text_of(second) == "boss: clerk: refunded lamp"


async def test_another_principal_cannot_answer_below(stage: Stage, serve: Serve) -> None:
    api = await serve(model=ScriptedModel(script), workflow=SHOP)
    first = await api.ask("clerk refund lamp")
    key = ApiKey("k", "k", "bob", ("runs", "approve"), hash_of(TOKEN), 0)
    await api.web.services.store.add_key(key)

    body = {"model": "shop", "input": approval(asked(first))}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    refused = await api.post("/responses", body, headers=headers)

    assert error(refused)[1] == "approval_not_pending"


def test_an_unknown_outcome_below_fails_the_response() -> None:
    thread = ThreadId("0" * 44)
    reply = ModelReplied(tuple(calls(("clerk", {"input": "x"}))), Usage(), "m", "h")
    events: list[Event] = [
        RunStarted((), "ann", "shop", "r"),
        reply,
        ChildrenStarted(CallId("2.0"), "clerk", (f"resp_{'1' * 44}1",)),
        ChildAsked(
            CallId("2.0"), "ship", f"resp_{'1' * 44}1", CallId("2.0"), "clerk", is_unknown=True
        ),
    ]
    started = events[0]
    assert isinstance(started, RunStarted)
    view = ResponseView("shop", "mcp_call", "full", False, started)
    projection = ResponseProjection(ResponseId(RunId(thread, 1)), view)

    for position, event in enumerate(events, 1):
        projection.feed(Entry(position, 1, event, 0))

    response = projection.response()
    assert projection.over
    assert (response["status"], [one["type"] for one in response["output"]]) == (
        "failed",
        ["mcp_call"],
    )
    assert "ship" in response["error"]["message"]
