"""Runs that start runs of other workflows, over HTTP."""

import asyncio
from typing import Any

import pytest

from tests.engine.family.stories import CLERK, buy_all, clerk, last_user_text
from tests.engine.stage import Stage
from tests.web.sdk import check_response
from tests.web.serving import Json, Serve, Served
from twelvefold import Ask, Wait, tool
from twelvefold.core.ids import RunId
from twelvefold.core.ports import ModelRequest
from twelvefold.core.workflow import Workflow
from twelvefold.services.model.scripted import Scripted, ScriptedModel, calls, says
from twelvefold.web.http.authentication import LOCAL
from twelvefold.web.ids import ResponseId
from twelvefold.web.runs.executor import RunSlots, _FamilySlots
from twelvefold.web.state import READ_BYTES, turn_memory
from twelvefold.web.streaming.child_items import _Nesting, nest_child_items
from twelvefold.web.streaming.lookup import open_response

SHOP = Workflow[Any](
    "shop",
    "boss",
    (
        CLERK.as_tool("Buys."),
        CLERK.as_tool("Takes over.", name="hand_over", hand_off=True),
        buy_all,
    ),
    children=(CLERK,),
)


def script(request: ModelRequest) -> Scripted:
    if request.instructions == "clerk":
        return clerk(request)
    if any(item.get("type") == "function_call_output" for item in request.items):
        return says("Done.")
    verb, _, rest = last_user_text(request).partition(" ")
    arguments = {"items": rest.split()} if verb == "buy_all" else {"input": rest}
    return calls((verb, arguments))


@pytest.mark.parametrize("worker", [False, True])
@pytest.mark.parametrize(
    ("text", "answer", "bought"),
    [
        ("clerk a lamp", "Done.", ["a lamp"]),
        ("hand_over a lamp", "I bought a lamp.", ["a lamp"]),
        ("buy_all lamp rug vase", "Done.", ["lamp", "rug", "vase"]),
    ],
)
async def test_a_response_ends_with_the_runs_below_it(
    serve: Serve, stage: Stage, text: str, answer: str, bought: list[str], *, worker: bool
) -> None:
    api = await serve(worker=worker, model=ScriptedModel(script), workflow=SHOP, max_runs=3)

    response = await api.ask(text)

    assert response["status"] == "completed"
    assert response["output"][-1]["content"][0]["text"] == answer
    assert await stage.bought() == bought


async def test_a_stream_has_the_answer_of_a_hand_off(serve: Serve) -> None:
    api = await serve(worker=False, model=ScriptedModel(script), workflow=SHOP)

    events = await api.told("hand_over a lamp")

    texts = [event["text"] for event in events if event["type"] == "response.output_text.done"]
    assert texts == ["I bought a lamp."]
    assert events[-1]["type"] == "response.completed"


async def test_a_workflow_that_is_only_a_tool_is_no_model(serve: Serve) -> None:
    api = await serve(worker=False, model=ScriptedModel(script), workflow=SHOP)

    listed = (await api.get("/models")).json()["data"]
    refused = await api.post("/responses", {"model": "clerk", "input": "a lamp"})

    assert [one["id"] for one in listed] == ["shop"]
    assert refused.status_code == 404
    assert (await api.get("/models/clerk")).status_code == 404


async def test_a_child_is_in_no_list_and_deleted_with_its_root(serve: Serve, stage: Stage) -> None:
    api = await serve(worker=False, model=ScriptedModel(script), workflow=SHOP)
    response = await api.ask("clerk a lamp")

    [listed] = (await api.get("/conversations")).json()["data"]

    assert listed["id"][5:] == response["id"][5:49]
    journal = f"/conversations/{child_of(await journal_of(api, listed['id']))}/journal"
    await api.http.delete(f"/v1/conversations/{listed['id']}")
    assert (await api.get(journal)).status_code == 404


async def journal_of(api: Served, conversation: str) -> list[Json]:
    answer = await api.get(f"/conversations/{conversation}/journal")
    assert answer.status_code == 200, answer.text
    return list(answer.json()["data"])


def child_of(entries: list[Json]) -> str:
    """Return the conversation of the only run that a run has started."""
    [run] = [run for entry in entries for run in entry.get("runs", ())]
    return f"conv_{run[5:49]}"


async def test_the_journal_links_to_those_of_the_runs_below_it(serve: Serve) -> None:
    api = await serve(worker=False, model=ScriptedModel(script), workflow=SHOP)
    response = await api.ask("clerk a lamp")

    child = child_of(await journal_of(api, f"conv_{response['id'][5:49]}"))
    entries = await journal_of(api, child)

    assert entries[0]["type"] == "RunStarted"
    assert (await api.get(f"/conversations/{child}")).status_code == 404
    assert (await api.get(f"/conversations/conv_{'0' * 44}/journal")).status_code == 404


async def test_a_family_has_one_slot_of_its_own_and_others_while_they_are_free() -> None:
    shared = RunSlots(3, 2)
    shared.take("ann")  # the slot of the request
    family, taken = _FamilySlots(shared, "ann"), []
    begun, may_end = asyncio.Semaphore(0), asyncio.Event()

    async def drive() -> None:
        async with family.slot():
            taken.append(shared.taken)
            begun.release()
            await may_end.wait()

    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(drive())
        for _ in range(2):
            await begun.acquire()
        assert taken == [1, 2]
        may_end.set()

    assert taken == [1, 2, 1]
    assert shared.taken == 1


@tool(effect="pure", approval=True)
async def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"


@tool(effect="pure")
async def ask_size() -> Ask:
    """Ask for a size."""
    return Ask("Which size?", schema=int)


CASHIER = Workflow("cashier", "cashier", (pay, ask_size))
DESK = Workflow[Any]("shop", "desk", (CASHIER.as_tool("Pays."),))


def desk(request: ModelRequest) -> Scripted:
    results = [item for item in request.items if item.get("type") == "function_call_output"]
    if results:
        return says(str(results[-1]["output"]))
    text = last_user_text(request)
    if request.instructions == "desk":
        return calls(("cashier", {"input": text}))
    return calls((text, {"amount": 5} if text == "pay" else {}))


async def waiting_below(api: Served, text: str) -> tuple[Json, str]:
    """A turn that waits for a person in a run below it, and the place of that call."""
    response = await api.ask(text, background=True)
    conversation = f"conv_{response['id'][5:49]}"
    while True:
        entries = await journal_of(api, conversation)
        if entries[-1]["type"] == "ChildAsked":
            below = await journal_of(api, child_of(entries))
            if below[-1]["type"] in ("ApprovalAsked", "WaitStarted"):
                return response, below[-1]["item"].removeprefix("mcp_")
        await asyncio.sleep(0.05)


def approval_of(place: str, **more: Any) -> list[Json]:
    item = {"type": "mcp_approval_response", "approval_request_id": f"mcpr_{place}"}
    return [item | {"approve": True} | more]


@pytest.mark.parametrize(("more", "paid"), [({}, 5), ({"arguments": '{"amount": 7}'}, 7)])
@pytest.mark.parametrize("names_root", [False, True])
async def test_an_approval_of_a_run_below_is_answered_at_the_root(
    serve: Serve, more: Json, paid: int, *, names_root: bool
) -> None:
    api = await serve(worker=True, model=ScriptedModel(desk), workflow=DESK)
    response, place = await waiting_below(api, "pay")

    body = {"previous_response_id": response["id"]} if names_root else {}
    answered = await api.ask(approval_of(place, **more), **body)

    assert answered["id"] == f"{response['id']}c1"
    assert answered["output"][-1]["content"][0]["text"].endswith(f"paid {paid}")


async def test_a_question_of_a_run_below_is_answered_at_the_root(serve: Serve) -> None:
    api = await serve(worker=True, model=ScriptedModel(desk), workflow=DESK)
    response, place = await waiting_below(api, "ask_size")
    output = {"type": "function_call_output", "call_id": f"ask_{place}", "output": "many"}
    conversation = f"conv_{response['id'][5:49]}"

    body = {"model": "shop", "conversation": conversation, "input": [output]}
    refused = await api.post("/responses", body)
    answered = await api.ask([output | {"output": "4"}], conversation=conversation)

    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_answer")
    assert answered["output"][-1]["content"][0]["text"] == "4"


async def test_a_repeated_answer_to_a_run_below_returns_the_response_of_the_root(
    serve: Serve,
) -> None:
    api = await serve(worker=True, model=ScriptedModel(desk), workflow=DESK)
    response, place = await waiting_below(api, "pay")
    body = {"model": "shop", "input": approval_of(place)}

    answers = [
        await api.post("/responses", body, headers={"idempotency-key": "one"}) for _ in range(2)
    ]
    second = await api.post("/responses", body)

    assert [answer.json()["id"] for answer in answers] == [f"{response['id']}c1"] * 2
    assert second.json()["error"]["code"] == "approval_not_pending"


async def test_a_run_below_is_answered_with_the_workflow_of_its_root(serve: Serve) -> None:
    api = await serve(worker=True, model=ScriptedModel(desk), workflow=DESK)
    response, place = await waiting_below(api, "pay")
    other = await api.ask("pay", background=True)

    refused = await api.post(
        "/responses",
        {
            "model": "shop",
            "input": approval_of(place),
            "conversation": f"conv_{other['id'][5:49]}",
        },
    )

    assert response["status"] in ("queued", "in_progress")
    assert refused.json()["error"]["param"] == "conversation"


# --- CHILD_ITEMS=nested ---------------------------------------------------------------------------

BROKER = Workflow[Any]("broker", "broker", (CLERK.as_tool("Buys."),))
MALL = Workflow[Any](
    "shop",
    "mall",
    (BROKER.as_tool("Finds a clerk."), *SHOP.tools),
    children=(CLERK, BROKER),
)


def mall(request: ModelRequest) -> Scripted:
    if request.instructions == "broker":
        if any(item.get("type") == "function_call_output" for item in request.items):
            return says("A clerk did.")
        return calls(("clerk", {"input": last_user_text(request)}))
    return script(request)


def words_of(item: Json) -> tuple[str, str]:
    """An item in words, and the words of the item that `parent` names."""
    if item["type"] == "message":
        return item["type"], item["content"][0]["text"]
    return item["type"], str(item.get("name", item.get("output")))


def nested_words(output: list[Json]) -> list[tuple[str, str, str]]:
    names = {item["id"]: item.get("name", "") for item in output}
    return [(*words_of(item), names.get(item.get("parent", ""), "")) for item in output]


NESTED: dict[str, list[tuple[str, str, str]]] = {
    "clerk a lamp": [
        ("mcp_call", "clerk", ""),
        ("mcp_call", "buy", "clerk"),
        ("message", "I bought a lamp.", "clerk"),
        ("message", "Done.", ""),
    ],
    "buy_all lamp rug": [
        ("mcp_call", "buy_all", ""),
        ("mcp_call", "buy", "buy_all"),
        ("message", "I bought lamp.", "buy_all"),
        ("mcp_call", "buy", "buy_all"),
        ("message", "I bought rug.", "buy_all"),
        ("message", "Done.", ""),
    ],
    "hand_over a lamp": [
        ("mcp_call", "hand_over", ""),
        ("mcp_call", "buy", "hand_over"),
        ("message", "I bought a lamp.", ""),
    ],
    "broker a lamp": [
        ("mcp_call", "broker", ""),
        ("mcp_call", "clerk", "broker"),
        ("mcp_call", "buy", "clerk"),
        ("message", "I bought a lamp.", "clerk"),
        ("message", "A clerk did.", "broker"),
        ("message", "Done.", ""),
    ],
}


@pytest.mark.parametrize("text", NESTED)
async def test_nested_items_follow_the_call_that_started_their_run(serve: Serve, text: str) -> None:
    api = await serve(
        worker=False, model=ScriptedModel(mall), workflow=MALL, child_items="nested", max_runs=3
    )

    response = await api.ask(text)
    read = await api.sdk.responses.retrieve(response["id"])

    check_response(response)
    assert nested_words(response["output"]) == NESTED[text]
    assert [item.id for item in read.output] == [item["id"] for item in response["output"]]
    assert len({item["id"] for item in response["output"]}) == len(response["output"])


async def test_nested_calls_are_shown_as_those_of_the_response(serve: Serve) -> None:
    api = await serve(
        worker=False, model=ScriptedModel(script), workflow=SHOP, child_items="nested"
    )
    response = await api.ask("clerk a lamp")

    shown = {}
    for kind in ("function", "hidden"):
        headers = {"Twelvefold-Tool-Items": kind}
        answer = await api.http.get(f"/v1/responses/{response['id']}", headers=headers)
        check_response(answer.json())
        shown[kind] = nested_words(answer.json()["output"])

    assert shown["hidden"] == [("message", "Done.", "")]
    assert [words for words in shown["function"] if words[0] != "function_call_output"] == [
        ("function_call", "clerk", ""),
        ("function_call", "buy", "clerk"),
        ("message", "I bought a lamp.", "clerk"),
        ("message", "Done.", ""),
    ]


CALLED = [("mcp_call", "clerk"), ("message", "Done.")]


async def test_nested_items_are_in_the_last_event_of_a_stream(serve: Serve) -> None:
    api = await serve(
        worker=False, model=ScriptedModel(mall), workflow=MALL, child_items="nested", max_runs=3
    )

    told = await api.told("clerk a lamp")
    replayed = await api.replayed(told[-1]["response"]["id"])

    for events in (told, replayed):
        check_response(events[-1]["response"])
        assert nested_words(events[-1]["response"]["output"]) == NESTED["clerk a lamp"]
        added = [one["item"] for one in events if one["type"] == "response.output_item.done"]
        assert [words_of(item) for item in added] == CALLED


async def test_a_stream_has_no_items_of_runs_below_by_default(serve: Serve) -> None:
    api = await serve(worker=False, model=ScriptedModel(script), workflow=SHOP)

    told = (await api.told("clerk a lamp"))[-1]["response"]

    assert [words_of(item) for item in told["output"]] == CALLED


async def test_a_conversation_has_no_items_of_runs_below(serve: Serve) -> None:
    api = await serve(
        worker=False, model=ScriptedModel(script), workflow=SHOP, child_items="nested"
    )

    told = (await api.told("clerk a lamp"))[-1]["response"]
    items = (await api.get(f"/conversations/conv_{told['id'][5:49]}/items")).json()["data"]

    assert [words_of(item) for item in items[::-1][1:]] == CALLED


async def test_hidden_leaves_the_response_as_it_is(serve: Serve) -> None:
    api = await serve(worker=False, model=ScriptedModel(script), workflow=SHOP)
    response = await api.ask("clerk a lamp")
    reader, _ = await open_response(api.web, LOCAL, ResponseId.parse(response["id"]))

    same = await nest_child_items(api.web, reader, response)

    assert same is response
    assert nested_words(response["output"]) == [("mcp_call", "clerk", ""), ("message", "Done.", "")]


async def test_nested_items_may_be_sent_back_as_input(serve: Serve) -> None:
    api = await serve(
        worker=False, model=ScriptedModel(script), workflow=SHOP, child_items="nested"
    )
    output = (await api.ask("clerk a lamp"))["output"]

    again = await api.ask([*output, {"role": "user", "content": "clerk a rug"}])
    given = (await api.get(f"/responses/{again['id']}/input_items", order="asc")).json()["data"]

    assert again["status"] == "completed"
    assert [item["type"] for item in given] == ["mcp_call", "message", "message"]
    assert not any("parent" in item for item in given)


async def test_nested_items_are_not_added_to_a_conversation(serve: Serve) -> None:
    api = await serve(
        worker=False, model=ScriptedModel(script), workflow=SHOP, child_items="nested"
    )
    output = (await api.ask("clerk a lamp"))["output"]

    conversation = (await api.post("/conversations", {"items": output})).json()
    items = (await api.get(f"/conversations/{conversation['id']}/items")).json()["data"]

    assert [item["type"] for item in items] == ["message", "mcp_call"]


async def test_the_response_with_the_result_of_a_call_has_the_items_of_its_run(
    serve: Serve,
) -> None:
    api = await serve(worker=True, model=ScriptedModel(desk), workflow=DESK, child_items="nested")
    response, place = await waiting_below(api, "pay")

    answered = await api.ask(approval_of(place))
    first = (await api.get(f"/responses/{response['id']}")).json()

    check_response(answered)
    assert nested_words(first["output"]) == [
        ("mcp_call", "cashier", ""),
        ("mcp_approval_request", "pay", ""),
    ]
    assert nested_words(answered["output"])[:2] == [
        ("mcp_call", "cashier", ""),
        ("mcp_call", "pay", "cashier"),
    ]
    assert [item["type"] for item in answered["output"]] == ["mcp_call"] * 2 + ["message"] * 2


@tool(effect="pure")
async def doze() -> Wait:
    """Wait for an event that nothing sends."""
    return Wait(event="never")


async def test_a_cancelled_response_has_the_items_of_the_run_that_it_waited_for(
    serve: Serve,
) -> None:
    sleeper = Workflow("sleeper", "sleeper", (doze,))
    inn = Workflow[Any]("shop", "inn", (sleeper.as_tool("Sleeps."),))
    verbs = {"inn": calls(("sleeper", {"input": "now"})), "sleeper": calls(("doze", {}))}
    model = ScriptedModel(lambda request: verbs[request.instructions])
    api = await serve(worker=True, model=model, workflow=inn, child_items="nested")
    response = await api.ask("sleep", background=True)
    shown: list[Json] = []
    while len(shown) < 2:
        await asyncio.sleep(0.05)
        shown = (await api.get(f"/responses/{response['id']}")).json()["output"]

    await api.post(f"/responses/{response['id']}/cancel")
    ended = await api.settled(response["id"])

    assert nested_words(shown) == [("mcp_call", "sleeper", ""), ("mcp_call", "doze", "sleeper")]
    assert ended["status"] == "cancelled"
    assert nested_words(ended["output"]) == nested_words(shown)


async def test_nested_items_are_of_journals_of_limited_size(serve: Serve) -> None:
    api = await serve(worker=False, model=ScriptedModel(script), workflow=SHOP, max_runs=3)
    response = await api.ask("buy_all lamp rug vase")
    id = ResponseId.parse(response["id"])
    reader, _ = await open_response(api.web, LOCAL, id)
    children = reader.projection.children
    run = RunId.parse(next(iter(children.values())).runs[0])
    size = (await api.web.services.store.run(run)).thread_size

    nesting = _Nesting(api.web, LOCAL, "mcp_call", left=(size or 0) + 1)
    items = [item async for item in nesting.items(response["output"], children)]

    assert [words_of(item)[1] for item in items] == ["buy_all", "buy", "I bought lamp.", "Done."]


async def test_a_turn_has_its_answer_if_there_is_no_memory_for_nested_items(serve: Serve) -> None:
    api = await serve(
        worker=False, model=ScriptedModel(script), workflow=SHOP, child_items="nested"
    )

    with turn_memory(api.web.reads, LOCAL, READ_BYTES) as memory:
        await memory.hold()
        response = await api.ask("clerk a lamp")
    read = (await api.get(f"/responses/{response['id']}")).json()

    assert nested_words(response["output"]) == [("mcp_call", "clerk", ""), ("message", "Done.", "")]
    assert nested_words(read["output"]) == NESTED["clerk a lamp"]
