"""Runs that start runs of other workflows, over HTTP."""

import asyncio
from typing import Any

import pytest

from tests.engine.family.stories import CLERK, buy_all, clerk, last_user_text
from tests.engine.stage import Stage
from tests.web.serving import Json, Serve, Served
from twelvefold.core.ports import ModelRequest
from twelvefold.core.workflow import Workflow
from twelvefold.services.model.scripted import Scripted, ScriptedModel, calls, says
from twelvefold.web.runs.executor import RunSlots, _FamilySlots

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

    async def drive() -> None:
        async with family.slot():
            taken.append(shared.taken)
            await asyncio.sleep(0.01)

    await asyncio.gather(*(drive() for _ in range(3)))

    assert taken == [1, 2, 1]
    assert shared.taken == 1
