"""Runs that wait for answers, events and times, over HTTP."""

import asyncio
import json
from datetime import timedelta
from typing import Any, Literal

import pytest

from tests.engine.stage import Stage, refund
from tests.loop_clock import pass_time_until
from tests.web.asking import approval, error, said
from tests.web.serving import Json, Serve, Served
from twelvefold import Ask, Wait, Workflow, tool
from twelvefold.core.ports import ApiKey
from twelvefold.web.http.authentication import hash_of

TOKEN = "tw_" + "b" * 43


@tool(effect="pure")
async def ask_colour(city: str) -> Ask:
    """Ask for a colour."""
    return Ask(f"Which colour in {city}?", schema=Literal["red", "blue"])


@tool(effect="pure")
async def ask_bob(city: str) -> Ask:
    """Ask bob."""
    return Ask(f"Is {city} nice?", person="bob")


@tool(effect="pure")
async def await_payment(city: str) -> Wait:
    """Wait for a payment."""
    return Wait(event=f"paid {city}")


@tool(effect="pure")
async def pause(city: str) -> Wait:
    """Wait a moment."""
    return Wait(until=timedelta(milliseconds=200))


SHOP = Workflow("shop", "Sell.", (ask_colour, ask_bob, await_payment, pause, refund))


@pytest.fixture
async def api(serve: Serve) -> Served:
    return await serve(workflow=SHOP)


async def question(api: Served, **more: Any) -> tuple[Json, Json]:
    """A turn that ends with a question, and the question."""
    response = await api.ask("call ask_colour", **more)
    assert response["status"] == "completed"
    return response, response["output"][-1]


def output(call: Json, text: str) -> list[Json]:
    return [{"type": "function_call_output", "call_id": call["call_id"], "output": text}]


async def test_a_question_is_a_call_that_the_client_answers(api: Served) -> None:
    first, call = await question(api)

    second = await api.ask(output(call, "blue"), previous_response_id=first["id"])

    assert (call["type"], call["name"]) == ("function_call", "ask_colour")
    assert json.loads(call["arguments"]) == {
        "question": "Which colour in Rome?",
        "schema": {"type": "string", "enum": ["red", "blue"]},
    }
    assert said(second) == 'The tool says: "blue"'
    assert second["id"] == f"{first['id']}c1"


async def test_the_journal_and_the_list_count_the_responses_of_a_question(api: Served) -> None:
    first, call = await question(api)
    second = await api.ask(output(call, "blue"), previous_response_id=first["id"])

    entries = (await api.get(f"/conversations/conv_{first['id'][5:-1]}/journal")).json()["data"]
    [row] = (await api.get("/conversations")).json()["data"]

    ids = {entry["type"]: entry["response"] for entry in entries}
    assert ids["WaitStarted"] == first["id"]
    assert ids["WaitEnded"] == ids["RunFinished"] == second["id"]
    assert second["id"] in str(row)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_chat_cannot_ask_a_question(api: Served, stream: bool) -> None:
    messages = [{"role": "user", "content": "call ask_colour"}]

    answer = await api.post(
        "/chat/completions", {"model": "shop", "messages": messages, "stream": stream}
    )

    assert "answer to ask_colour" in answer.text
    assert "tool_calls" not in answer.text
    assert '"finish_reason":"stop"' in answer.text
    [run] = await api.web.services.store.runs(limit=10)
    while run.status != "cancelled":  # by us, or by a worker that was quicker
        await asyncio.sleep(0.01)
        [run] = await api.web.services.store.runs(limit=10)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("green", '"green" is not one of'),
        ("x" * 70_000, "it has 70002 characters as JSON; 65536 is the most"),
        ('["red"]', "is not one of"),
        ("NaN", "is not one of"),
    ],
)
async def test_an_invalid_answer_is_refused_and_the_question_stays(
    api: Served, text: str, problem: str
) -> None:
    first, call = await question(api)

    body = {"model": "shop", "input": output(call, text), "previous_response_id": first["id"]}
    refused = await api.post("/responses", body)

    assert error(refused) == (400, "invalid_answer", "input[0].output")
    assert problem in refused.json()["error"]["message"]
    second = await api.ask(output(call, "red"), previous_response_id=first["id"])
    assert said(second) == 'The tool says: "red"'


async def test_an_answer_counts_once(api: Served) -> None:
    first, call = await question(api)
    body = {"model": "shop", "input": output(call, "red"), "previous_response_id": first["id"]}

    answers = await asyncio.gather(*(api.post("/responses", body) for _ in range(3)))

    assert sorted(one.status_code for one in answers) == [200, 400, 400]
    refused = next(one for one in answers if one.status_code == 400)
    assert error(refused)[1:] == ("approval_not_pending", "input[0].call_id")


async def test_a_repeated_answer_gets_the_same_response(api: Served) -> None:
    first, call = await question(api)
    body = {"model": "shop", "input": output(call, "red"), "previous_response_id": first["id"]}
    key = {"Idempotency-Key": "k1"}

    one, two = [await api.post("/responses", body, headers=key) for _ in range(2)]

    assert (one.status_code, two.status_code) == (200, 200)
    assert one.json()["id"] == two.json()["id"]


async def test_a_streamed_question_ends_its_stream(api: Served) -> None:
    events = await api.told("call ask_colour")

    assert events[-1]["type"] == "response.completed"
    call = events[-1]["response"]["output"][-1]
    rest = await api.told(output(call, "red"), previous_response_id=events[-1]["response"]["id"])
    assert said(rest[-1]["response"]) == 'The tool says: "red"'


async def test_another_person_is_asked(api: Served) -> None:
    first = await api.ask("call ask_bob")
    call = first["output"][-1]

    body = {"model": "shop", "input": output(call, "yes"), "previous_response_id": first["id"]}
    refused = await api.post("/responses", body)

    assert refused.status_code == 404
    assert refused.json()["error"]["message"].startswith("bob has to answer")


async def test_a_message_does_not_continue_a_run_that_asks(api: Served) -> None:
    conversation = (await api.post("/conversations")).json()["id"]
    _, call = await question(api, conversation=conversation)

    body = {"model": "shop", "input": "hello", "conversation": conversation}
    refused = await api.post("/responses", body)

    assert refused.status_code == 409
    assert f"answer {call['call_id']}" in refused.json()["error"]["message"]


async def test_an_event_continues_a_background_response(api: Served) -> None:
    response = await api.ask("call await_payment", background=True)
    await _until_waiting(api)
    assert (await api.get(f"/responses/{response['id']}")).json()["status"] == "in_progress"

    signal = {"workflow": "shop", "key": "paid Rome", "payload": {"amount": 12}}
    sent = [(await api.post("/signals", signal)).json() for _ in range(2)]

    assert [one["first"] for one in sent] == [True, False]
    settled = await api.settled(response["id"])
    assert said(settled) == 'The tool says: {"amount":12}'


async def _until_waiting(api: Served) -> None:
    while not await api.web.services.store.runs(limit=1, status="waiting"):
        await asyncio.sleep(0.02)


async def test_a_response_stays_open_while_its_run_waits_for_a_time(api: Served) -> None:
    response = await api.ask("call pause")

    assert response["status"] == "completed"
    assert said(response).startswith("The tool says: 2")


async def test_a_response_is_in_progress_after_the_deadline_of_a_run_that_waits(
    api: Served,
) -> None:
    asking = asyncio.create_task(api.ask("call await_payment"))
    await _until_waiting(api)
    await pass_time_until(asking.done)
    response = await asking

    assert response["status"] == "in_progress"
    await api.post("/signals", {"workflow": "shop", "key": "paid Rome"})
    assert said(await api.settled(response["id"])) == "The tool says: null"


async def test_a_chat_with_a_key_is_told_that_its_run_still_waits(api: Served) -> None:
    body = {"model": "shop", "messages": [{"role": "user", "content": "call await_payment"}]}
    key = {"Idempotency-Key": "k1"}

    asking = asyncio.create_task(api.post("/chat/completions", body, headers=key))
    await _until_waiting(api)
    await pass_time_until(asking.done)
    first = await asking
    await api.post("/signals", {"workflow": "shop", "key": "paid Rome"})
    second = await api.post("/chat/completions", body, headers=key)

    assert error(first) == (503, "run_waiting", None)
    assert "the same Idempotency-Key" in first.json()["error"]["message"]
    assert "x-should-retry" not in first.headers
    assert second.json()["choices"][0]["message"]["content"] == "The tool says: null"
    assert len(await api.web.services.store.runs(limit=5)) == 1


async def test_a_stream_stays_open_while_its_run_waits_for_a_time(api: Served) -> None:
    events = await api.told("call pause")

    assert said(events[-1]["response"]).startswith("The tool says: 2")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"key": "k"}, 400),
        ({"workflow": "nothing", "key": "k"}, 400),
        ({"workflow": "shop", "key": ""}, 400),
        ({"workflow": "shop", "key": " "}, 400),
        ({"workflow": "shop", "key": "k", "payload": "x" * 70_000}, 400),
    ],
)
async def test_a_wrong_event_is_refused(api: Served, body: Json, code: int) -> None:
    assert (await api.post("/signals", body)).status_code == code


async def test_a_key_needs_the_scope_to_send_events(stage: Stage, serve: Serve) -> None:
    api = await serve(workflow=SHOP)
    key = ApiKey("k", "k", "ann", ("runs",), hash_of(TOKEN), 0)
    await stage.process().store.add_key(key)

    refused = await api.post(
        "/signals",
        {"workflow": "shop", "key": "k"},
        headers={"Authorization": f"Bearer {TOKEN}"},
    )

    assert error(refused) == (403, "missing_scope", None)


async def test_an_event_of_another_principal_continues_nothing(stage: Stage, serve: Serve) -> None:
    api = await serve(workflow=SHOP)
    await api.ask("call await_payment", background=True)
    await _until_waiting(api)
    key = ApiKey("k", "k", "bob", ("signal",), hash_of(TOKEN), 0)
    await stage.process().store.add_key(key)

    sent = await api.post(
        "/signals",
        {"workflow": "shop", "key": "paid Rome"},
        headers={"Authorization": f"Bearer {TOKEN}"},
    )

    assert sent.json()["first"]
    assert [one.status for one in await api.web.services.store.runs(limit=2)] == ["waiting"]


async def test_a_call_is_approved_with_other_arguments(api: Served) -> None:
    first, request = await approval(api)
    answer = {
        "type": "mcp_approval_response",
        "approval_request_id": request["id"],
        "approve": True,
        "arguments": '{"item": "a candle"}',
    }

    wrong = {"model": "shop", "input": [answer | {"arguments": "{}"}]}
    assert error(await api.post("/responses", wrong)) == (
        400,
        "invalid_value",
        "input[0].arguments",
    )
    second = await api.ask([answer], previous_response_id=first["id"])

    [call] = [one for one in second["output"] if one["type"] == "mcp_call"]
    assert (call["arguments"], call["output"]) == ('{"item": "a candle"}', "refunded a candle")
