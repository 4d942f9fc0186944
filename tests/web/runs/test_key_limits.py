"""What a key with allowed workflows and tools may do, and the key that the journal names."""

from typing import Any

import pytest

from tests.engine.stage import refund
from tests.web.asking import answer_to, approval, error, said
from tests.web.doubles import OTHER, TOKEN, api_key
from tests.web.serving import Json, Rules, Serve, Served
from twelvefold import Ask, Workflow, tool
from twelvefold.core.events import ApprovalAnswered, ChildAnswered, RunStarted, WaitEnded
from twelvefold.core.ids import RunId
from twelvefold.core.ports import ApiKey, ModelRequest
from twelvefold.services.model.scripted import Scripted, ScriptedModel, calls, says

NOT_ALLOWED = (403, "workflow_not_allowed", None)
SIGNAL: Json = {"workflow": "shop", "key": "paid", "payload": 1}


@tool(effect="pure")
async def ask_caller(city: str) -> Ask:
    """Ask the caller."""
    return Ask(f"Is {city} nice?", schema=int)


@tool(effect="pure")
async def weather(city: str) -> str:
    """Tell the weather."""
    return f"rain in {city}"


SHOP = Workflow[Any]("shop", "Sell.", (ask_caller, weather, refund))
CLERK = Workflow[Any]("clerk", "clerk", (refund, weather))
FAMILY = Workflow[Any]("shop", "boss", (CLERK.as_tool("Asks."),))


def limited(**limits: Any) -> ApiKey:
    key = api_key(OTHER, id="key-2")
    return ApiKey(key.id, "limited", "ann", key.scopes, key.sha256, 1, **limits)


async def two_keys(serve: Serve, **how: Any) -> tuple[Served, Served]:
    """Ann with all that she may do, and with a key that is limited."""
    limits = how.pop("limits_of_key")
    how = {"workflow": SHOP} | how
    ann, bot = [
        await serve(**how, headers={"authorization": f"Bearer {token}"}) for token in (TOKEN, OTHER)
    ]
    store = ann.web.services.store
    await store.add_key(api_key())
    await store.add_key(limited(**limits))
    return ann, bot


async def test_other_workflows_do_not_exist_for_a_key(serve: Serve) -> None:
    ann, bot = await two_keys(serve, limits_of_key={"workflows": ("desk",)})
    chat = {"model": "shop", "messages": [{"role": "user", "content": "hi"}]}

    answers = [
        await bot.post("/responses", {"model": "shop", "input": "hi"}),
        await bot.post("/chat/completions", chat),
        await bot.get("/models/shop"),
    ]

    assert [error(one) for one in answers] == [(404, "model_not_found", "model")] * 3
    assert (await bot.get("/models")).json()["data"] == []
    assert "shop" not in answers[0].json()["error"]["message"].partition("there are")[2]
    assert [one["id"] for one in (await ann.get("/models")).json()["data"]] == ["shop"]
    unknown = await bot.post("/signals", SIGNAL)
    assert error(unknown) == (400, "invalid_value", "workflow")


async def test_a_key_reads_runs_of_other_workflows_and_changes_none(serve: Serve) -> None:
    ann, bot = await two_keys(serve, limits_of_key={"workflows": ("desk",)})
    first = await ann.ask("call ask_caller")
    response = f"/responses/{first['id']}"
    conversation = f"/conversations/conv_{first['id'][5:-1]}"

    reads = [await bot.get(path) for path in (response, conversation, f"{conversation}/items")]
    changes = [
        await bot.post(f"{response}/cancel?force=true"),
        await bot.http.delete(f"/v1{response}"),
        await bot.http.delete(f"/v1{conversation}"),
        await bot.post(conversation, {"metadata": {}}),
        await bot.post(f"{conversation}/cancel"),
        await bot.post(f"{conversation}/fork", {"position": 1}),
        await bot.post(f"{conversation}/items", {"items": [{"role": "user", "content": "x"}]}),
        await bot.post("/answers", {"call_id": first["output"][-1]["call_id"], "output": 7}),
    ]

    assert [one.status_code for one in reads] == [200] * 3
    assert [error(one) for one in changes] == [NOT_ALLOWED] * len(changes)


async def test_the_model_is_offered_only_the_tools_of_the_key(serve: Serve) -> None:
    _, bot = await two_keys(serve, limits_of_key={"tools": ("weather",)})

    allowed, refused = await bot.ask("call weather"), await bot.ask("refund a lamp")

    assert said(allowed) == "The tool says: rain in Rome"
    assert "does not allow" in said(refused)
    assert [[one.name for one in request.tools] for request in bot.model.requests] == [
        ["weather"]
    ] * 4


async def test_the_tools_of_the_key_hold_in_a_run_that_a_worker_drives(serve: Serve) -> None:
    _, bot = await two_keys(serve, limits_of_key={"tools": ("weather",)})

    queued = await bot.ask("refund a lamp", background=True)

    assert "does not allow" in said(await bot.settled(queued["id"]))


async def test_another_key_answers_and_the_limits_of_the_run_stay(serve: Serve) -> None:
    ann, bot = await two_keys(serve, limits_of_key={"tools": ("refund",)})
    _, request = await approval(bot)

    body = {"model": "shop", "input": answer_to(request, True)}
    second = await ann.post("/responses", body)

    assert second.status_code == 200
    assert {one.name for asked in ann.model.requests for one in asked.tools} == {"refund"}


async def test_a_key_answers_only_calls_of_its_tools(serve: Serve) -> None:
    ann, bot = await two_keys(serve, limits_of_key={"tools": ("weather",)})
    _, request = await approval(ann)
    question = (await ann.ask("call ask_caller"))["output"][-1]["call_id"]

    approved = await bot.post("/responses", {"model": "shop", "input": answer_to(request, True)})
    answered = await bot.post("/answers", {"call_id": question, "output": 7})

    assert [error(one) for one in (approved, answered)] == [(403, "tool_not_allowed", None)] * 2


async def journal_of(api: Served, response: str) -> list[object]:
    run = RunId.parse(response)
    return [one.event for one in (await api.web.services.store.load(run.thread)).entries]


async def test_the_journal_names_the_key_of_an_approval(serve: Serve) -> None:
    ann, bot = await two_keys(serve, limits_of_key={})
    first, request = await approval(ann)

    await bot.ask(answer_to(request, True))

    answered = [
        one for one in await journal_of(ann, first["id"]) if isinstance(one, ApprovalAnswered)
    ]
    assert [(one.by, one.key_id) for one in answered] == [("ann", "key-2")]
    page = (await ann.get(f"/conversations/conv_{first['id'][5:-1]}/journal")).json()
    assert [one["key_id"] for one in page["data"] if "approved" in one] == ["key-2"]


@pytest.mark.parametrize("way", ["input", "answers"])
async def test_the_journal_names_the_key_of_an_answer(serve: Serve, way: str) -> None:
    ann, bot = await two_keys(serve, limits_of_key={})
    first = await ann.ask("call ask_caller")
    call = first["output"][-1]["call_id"]

    if way == "answers":
        assert (await bot.post("/answers", {"call_id": call, "output": 7})).status_code == 200
    else:
        await bot.ask([{"type": "function_call_output", "call_id": call, "output": "7"}])

    ended = [one for one in await journal_of(ann, first["id"]) if isinstance(one, WaitEnded)]
    assert [(one.by, one.key_id) for one in ended] == [("ann", "key-2")]


def script(request: ModelRequest) -> Scripted:
    results = [item for item in request.items if item.get("type") == "function_call_output"]
    if results:
        return says(f"{request.instructions}: {results[-1]['output']}")
    if request.instructions == "boss":
        return calls(("clerk", {"input": "refund"}))
    return calls(("refund", {"item": "a lamp"}))


async def test_the_tools_of_the_key_hold_in_children(serve: Serve) -> None:
    how = {"workflow": FAMILY, "model": ScriptedModel(script)}
    _, bot = await two_keys(serve, limits_of_key={"tools": ("clerk",)}, **how)

    assert "does not allow" in said(await bot.ask("go"))


async def test_the_key_of_an_answer_is_in_the_run_of_the_child_and_of_the_caller(
    serve: Serve,
) -> None:
    how = {"workflow": FAMILY, "model": ScriptedModel(script)}
    ann, bot = await two_keys(serve, limits_of_key={"tools": ("clerk", "refund")}, **how)
    first = await bot.ask("go")
    request = first["output"][-1]

    await ann.ask(answer_to(request, True))

    events = await journal_of(ann, first["id"])
    started, answered = events[0], next(one for one in events if isinstance(one, ChildAnswered))
    assert isinstance(started, RunStarted)
    assert (started.allowed_tools, answered.key_id) == (("clerk", "refund"), "key-1")
    child = await journal_of(ann, answered.run)
    assert [one.key_id for one in child if isinstance(one, ApprovalAnswered)] == ["key-1"]


async def test_without_a_key_the_journal_names_none(serve: Serve) -> None:
    api = await serve(workflow=SHOP, model=Rules())
    first, request = await approval(api)

    await api.ask(answer_to(request, True))

    [answered] = [
        one for one in await journal_of(api, first["id"]) if isinstance(one, ApprovalAnswered)
    ]
    assert answered.key_id == ""
