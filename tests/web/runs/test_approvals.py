"""Calls of the client's own tools, and calls that wait for approval."""

import asyncio

import pytest

from tests.engine.stage import Stage
from tests.web.asking import WEATHER, answer_to, approval, error, said
from tests.web.serving import Json, Serve, Served
from twelvefold.core.events import ToolSucceeded
from twelvefold.core.ids import RunId
from twelvefold.core.ports import ApiKey
from twelvefold.web.http.authentication import hash_of
from twelvefold.web.schemas.items import RESULT
from twelvefold.web.state import Waits

APPROVES = "tw_" + "a" * 43

# --- tools of the caller's ------------------------------------------------------------------------


async def test_a_clients_tool_is_called_by_the_client(api: Served) -> None:
    first = await api.ask("call get_weather", tools=[WEATHER], tool_choice="required")
    [call] = first["output"]
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}

    second = await api.ask([result], previous_response_id=first["id"], tools=[WEATHER])

    assert (first["status"], call["type"], call["name"]) == (
        *("completed", "function_call", "get_weather"),
    )
    assert said(second) == "The tool says: sunny"


@pytest.mark.parametrize("previous", [True, False])
async def test_a_result_without_a_call_is_rejected(api: Served, previous: bool) -> None:
    first = await api.ask("call get_weather", tools=[WEATHER])
    orphan = {"type": "function_call_output", "call_id": "call_9", "output": "sunny"}
    behind = {"previous_response_id": first["id"]} if previous else {}

    refused = await api.post("/responses", {"model": "shop", "input": [orphan], **behind})

    assert error(refused) == (400, "invalid_call_id", "input[0].call_id")


async def test_a_repeated_result_is_dropped(api: Served) -> None:
    conversation = (await api.post("/conversations")).json()["id"]
    first = await api.ask("call get_weather", tools=[WEATHER], conversation=conversation)
    result = output(first["output"][0], "sunny")

    answers = [await api.ask([result], conversation=conversation) for _ in range(2)]

    assert said(answers[0]) == "The tool says: sunny"
    assert answers[1]["status"] == "completed"
    assert await results_in(api, conversation) == ["sunny"]


async def test_a_result_that_is_sent_concurrently_counts_once(api: Served) -> None:
    conversation = (await api.post("/conversations")).json()["id"]
    first = await api.ask("call get_weather", tools=[WEATHER], conversation=conversation)
    result = output(first["output"][0], "sunny")

    answers = await asyncio.gather(
        *(api.ask([result], conversation=conversation) for _ in range(3))
    )

    assert [one["status"] for one in answers] == ["completed"] * 3
    assert await results_in(api, conversation) == ["sunny"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_may_send_every_earlier_result_again(api: Served, stream: bool) -> None:
    first = await api.ask("call get_weather", tools=[WEATHER])
    one = output(first["output"][0], "sunny")
    second = await api.ask([one], previous_response_id=first["id"], tools=[WEATHER])
    third = await api.ask(
        [one, user("call get_weather")], previous_response_id=second["id"], tools=[WEATHER]
    )
    two = output(third["output"][0], "rainy")

    how = {"previous_response_id": third["id"], "tools": [WEATHER]}
    if stream:
        last = (await api.told([one, two], **how))[-1]["response"]
    else:
        last = await api.ask([one, two], **how)

    assert said(last) == "The tool says: rainy"
    listed = (await api.get(f"/responses/{last['id']}/input_items")).json()["data"]
    assert [item["output"] for item in listed] == ["rainy"]
    sent = [item for item in api.model.requests[-1].items if item["type"] == RESULT]
    assert [item["output"] for item in sent] == ["sunny", "rainy"]


async def test_a_call_that_is_sent_again_with_its_result_is_no_second_call(api: Served) -> None:
    first = await api.ask("call get_weather", tools=[WEATHER])
    [call] = first["output"]

    second = await api.ask(
        [call, output(call, "sunny")], previous_response_id=first["id"], tools=[WEATHER]
    )
    third = await api.ask(
        [call, output(call, "sunny"), user("thanks")], previous_response_id=second["id"]
    )

    assert said(third) == "You said: thanks"
    sent = [item["type"] for item in api.model.requests[-1].items]
    assert (sent.count("function_call"), sent.count(RESULT)) == (1, 1)


async def test_the_result_of_a_servers_tool_may_be_sent_again(serve: Serve) -> None:
    api = await serve(tool_items="function")
    first = await api.ask("buy a lamp")
    call, result, _ = first["output"]

    second = await api.ask([call, result, user("and now?")], previous_response_id=first["id"])
    third = await api.ask([result, user("and then?")], previous_response_id=second["id"])

    assert said(third) == "You said: and then?"
    assert [item["type"] for item in api.model.requests[-1].items].count(RESULT) == 1


async def test_items_that_are_added_twice_are_listed_once(api: Served) -> None:
    conversation = (await api.post("/conversations")).json()["id"]
    first = await api.ask("call get_weather", tools=[WEATHER], conversation=conversation)
    body = {"items": [output(first["output"][0], "sunny")]}

    answers = [await api.post(f"/conversations/{conversation}/items", body) for _ in range(2)]

    assert [len(one.json()["data"]) for one in answers] == [1, 0]
    assert await results_in(api, conversation) == ["sunny"]


def output(call: Json, text: str) -> Json:
    return {"type": RESULT, "call_id": call["call_id"], "output": text}


def user(text: str) -> Json:
    return {"role": "user", "content": text}


async def results_in(api: Served, conversation: str) -> list[str]:
    listed = (await api.get(f"/conversations/{conversation}/items")).json()["data"]
    return [item["output"] for item in listed if item["type"] == RESULT]


# --- approval -------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("previous", [False, True])
async def test_an_approved_call_runs(
    api: Served, stage: Stage, previous: bool, stream: bool
) -> None:
    await api.ask("buy a lamp")
    first, request = await approval(api)
    behind = {"previous_response_id": first["id"]} if previous else {}

    second = (
        (await api.told(answer_to(request, True), **behind))[-1]["response"]
        if stream
        else await api.ask(answer_to(request, True), **behind)
    )

    call, message = second["output"]
    assert (second["id"], second["status"]) == (f"{first['id']}c1", "completed")
    assert (call["approval_request_id"], call["output"]) == (request["id"], "refunded a lamp")
    assert message["type"] == "message"
    assert await stage.bought() == []
    assert await api.settled(second["id"]) == second
    assert await api.settled(first["id"]) == first
    listed = (await api.get(f"/responses/{second['id']}/input_items")).json()["data"]
    assert [item["type"] for item in listed] == ["mcp_approval_response"]


async def test_a_denied_call_does_not_run(api: Served, stage: Stage) -> None:
    await api.ask("buy a lamp")
    _, request = await approval(api)

    second = await api.ask([answer_to(request, False)[0] | {"reason": "too dear"}])

    assert [item["type"] for item in second["output"]] == ["message"]
    assert "too dear" in said(second)
    assert await stage.bought() == ["a lamp"]


async def test_an_answer_counts_once_however_often_it_is_sent(api: Served, stage: Stage) -> None:
    _, request = await approval(api)
    body = {"model": "shop", "input": answer_to(request, True)}

    answers = await asyncio.gather(*(api.post("/responses", body) for _ in range(4)))
    late = await api.post("/responses", body)

    codes = sorted(one.status_code for one in answers)
    assert codes == [200, 400, 400, 400]
    expected = (400, "approval_not_pending", "input[0].approval_request_id")
    assert all(error(one) == expected for one in (*answers, late) if one.status_code == 400)
    [given] = [one.json() for one in answers if one.status_code == 200]
    journal = await stage.journal(RunId.parse(given["id"].removesuffix("c1")))
    assert sum(isinstance(event, ToolSucceeded) for event in journal) == 1


@pytest.mark.parametrize("key", [{}, {"Idempotency-Key": "one"}])
async def test_a_second_answer_is_refused_while_the_run_continues(
    serve: Serve, key: dict[str, str]
) -> None:
    api = await serve(waits=Waits(take_s=0.1))
    _, request = await approval(api)
    body = {"model": "shop", "input": answer_to(request, True)}
    api.model.gate.clear()

    asked = [asyncio.create_task(api.post("/responses", body, headers=key)) for _ in range(4)]
    if not key:  # with a key, all of them wait for the same run
        while sum(one.done() for one in asked) < 3:
            await asyncio.sleep(0.01)
    api.model.gate.set()
    answers = await asyncio.gather(*asked)

    codes = sorted(one.status_code for one in answers)
    assert codes == ([200] * 4 if key else [200, 400, 400, 400])


async def test_a_key_that_may_only_approve_changes_nothing_else_of_the_run(serve: Serve) -> None:
    approver = ApiKey("key_a", "boss", "local", ("approve",), hash_of(APPROVES), 1)
    api = await serve()
    _, request = await approval(api)
    await api.web.services.store.add_key(approver)
    by = {"headers": {"authorization": f"Bearer {APPROVES}"}}
    body = {"model": "shop", "input": answer_to(request, True)}

    steered = await api.post("/responses", {**body, "instructions": "Ship it to Bob."}, **by)
    approved = await api.post("/responses", {**body, "stream": True}, **by)

    assert error(steered) == (403, "missing_scope", None)
    assert approved.status_code == 200


async def test_an_approved_call_runs_whatever_tools_are_chosen_then(api: Served) -> None:
    _, request = await approval(api)

    second = await api.ask(answer_to(request, True), tool_choice="none")

    assert second["output"][0]["output"] == "refunded a lamp"


async def test_an_answer_without_a_request_for_approval_is_rejected(api: Served) -> None:
    done = await api.ask("buy a lamp")
    made_up = done["output"][0]["id"].replace("mcp_", "mcpr_")
    for id in (made_up, "mcpr_1", "mcpr_" + "0" * 44 + "2.0"):
        answer = {"type": "mcp_approval_response", "approval_request_id": id, "approve": True}
        refused = await api.post("/responses", {"model": "shop", "input": [answer]})

        expected = (400, "approval_not_pending", "input[0].approval_request_id")
        assert error(refused) == expected


async def test_a_client_that_sends_the_whole_conversation_may_answer_in_it(api: Served) -> None:
    first, request = await approval(api)
    _, older = first, {**request, "id": "mcpr_" + "0" * 44 + "2.0"}
    story = [
        {"role": "user", "content": "refund a lamp"},
        {"type": "mcp_approval_request", **older},
        *answer_to(older, True),
        {"type": "mcp_approval_request", **request},
        *answer_to(request, True),
    ]

    second = await api.ask(story)

    assert [item["type"] for item in second["output"]] == ["mcp_call", "message"]


async def test_a_run_in_the_middle_of_a_call_takes_no_other_message(api: Served) -> None:
    _, request = await approval(api)
    items = [*answer_to(request, True), {"role": "user", "content": "and a bag"}]

    refused = await api.post("/responses", {"model": "shop", "input": items})

    assert error(refused) == (400, "invalid_value", "input[1]")


async def test_the_options_of_an_answer_are_valid_from_there_on(api: Served) -> None:
    first, request = await approval(api, instructions="Be kind.", metadata={"turn": "1"})

    second = await api.ask(
        answer_to(request, True),
        instructions="Be brief.",
        metadata={"turn": "2"},
        tools=[WEATHER],
        temperature=0.5,
    )

    wanted = ("instructions", "metadata", "temperature")
    assert [second[name] for name in wanted] == ["Be brief.", {"turn": "2"}, 0.5]
    assert [tool["name"] for tool in second["tools"]] == ["get_weather"]
    assert await api.settled(second["id"]) == second
    assert await api.settled(first["id"]) == first
    request_sent = api.model.requests[-1]
    assert request_sent.instructions.endswith("Be brief.")
    assert "get_weather" in {tool.name for tool in request_sent.tools}


async def test_an_answer_in_the_background_is_continued_by_a_worker(serve: Serve) -> None:
    api = await serve(worker=False)
    _, request = await approval(api)

    queued = await api.ask(answer_to(request, True), background=True)
    still = await api.get(f"/responses/{queued['id']}")
    cancelled = await api.post(f"/responses/{queued['id']}/cancel")

    assert (queued["status"], queued["background"]) == ("queued", True)
    assert still.json() == queued
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")


async def test_an_answer_is_streamed_whatever_the_turn_before_was(
    api: Served,
) -> None:
    _, request = await approval(api)

    events = await api.told(answer_to(request, True))

    assert len([one for one in events if one["type"] == "response.output_text.delta"]) > 1
    assert await api.replayed(events[0]["response"]["id"]) == events


async def test_an_answer_with_a_key_is_written_once(api: Served, stage: Stage) -> None:
    _, request = await approval(api)
    body = {"model": "shop", "input": answer_to(request, True)}
    key = {"headers": {"Idempotency-Key": "one"}}

    answers = await asyncio.gather(*(api.post("/responses", body, **key) for _ in range(4)))
    late = await api.post("/responses", body, **key)
    other = await api.post("/responses", {**body, "input": answer_to(request, False)}, **key)
    elsewhere = await api.post("/responses", {"model": "shop", "input": "hi"}, **key)

    assert [one.status_code for one in (*answers, late)] == [200] * 5
    assert {one.json()["id"] for one in answers} == {late.json()["id"]}
    assert late.json()["status"] == "completed"
    assert error(other) == error(elsewhere) == (422, "idempotency_key_reused", "Idempotency-Key")
    journal = await stage.journal(RunId.parse(late.json()["id"].removesuffix("c1")))
    assert sum(isinstance(event, ToolSucceeded) for event in journal) == 1


@pytest.mark.parametrize("where", ["previous_response_id", "conversation"])
async def test_an_answer_that_names_another_target_is_rejected(api: Served, where: str) -> None:
    _, request = await approval(api)
    other = await api.ask("hi")
    conversation = (await api.post("/conversations")).json()
    place = {"previous_response_id": other, "conversation": conversation}[where]["id"]

    refused = await api.post(
        "/responses", {"model": "shop", "input": answer_to(request, True), where: place}
    )

    assert error(refused) == (400, "invalid_value", where)
    assert (await api.ask(answer_to(request, True)))["status"] == "completed"


async def test_an_answer_is_stored_as_its_turn_is(api: Served) -> None:
    _, request = await approval(api)
    refused = await api.post(
        "/responses", {"model": "shop", "input": answer_to(request, True), "store": False}
    )
    _, unkept = await approval(api, store=False)

    answered = await api.ask(answer_to(unkept, True))

    assert error(refused) == (400, "unsupported_value", "store")
    assert (answered["status"], answered["store"]) == ("completed", False)
    assert (await api.get(f"/responses/{answered['id']}")).status_code == 404


async def test_a_turn_after_an_unanswered_approval_forks_the_conversation(api: Served) -> None:
    first, _ = await approval(api)

    second = await api.ask("never mind", previous_response_id=first["id"])

    assert said(second) == "You said: never mind"
    assert RunId.parse(second["id"]).thread != RunId.parse(first["id"]).thread
