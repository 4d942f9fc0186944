"""The arguments that an approval shows: those with which the call will run, or has run."""

from typing import Any

import pytest

from tests.web.runs.test_answers_below import approval, asked, script
from tests.web.serving import Json, Serve, Served
from twelvefold import Workflow, tool
from twelvefold.services.model.scripted import ScriptedModel

MODEL = '{"item":"lamp"}'
SHOWN = '{"item": "lamp", "cents": 1500}'


@tool(effect="pure", approval=True)
async def rebate(item: str, cents: int = 1500) -> str:
    """Pay back a part of the price."""
    return f"{cents} for {item}"


CLERK = Workflow("clerk", "clerk", (rebate,))
SHOP = Workflow[Any]("shop", "boss", (rebate, CLERK.as_tool("Refunds.")))


@pytest.fixture
async def api(serve: Serve) -> Served:
    return await serve(worker=False, model=ScriptedModel(script), workflow=SHOP)


async def journal(api: Served, response: Json, **window: int) -> dict[str, Json]:
    """Return the first entry of each type."""
    path = f"/conversations/conv_{response['id'][5:49]}/journal"
    entries = (await api.get(path, **window)).json()["data"]
    return {entry["type"]: entry for entry in reversed(entries)}


@pytest.mark.parametrize("text", ["rebate lamp", "clerk rebate lamp"])
async def test_a_request_for_approval_shows_the_defaults(api: Served, text: str) -> None:
    first = await api.ask(text)

    [waiting] = (await api.get("/admin/inbox")).json()["data"]
    second = await api.ask(approval(asked(first)), previous_response_id=first["id"])

    assert (asked(first)["arguments"], waiting["arguments"]) == (SHOWN, SHOWN)
    assert "1500 for lamp" in second["output"][-1]["content"][0]["text"]


async def test_the_journal_has_the_arguments_of_the_request_beside_those_of_the_model(
    api: Served,
) -> None:
    first = await api.ask("rebate lamp")
    await api.ask(approval(asked(first)), previous_response_id=first["id"])

    entries = await journal(api, first)

    [call] = entries["ModelReplied"]["calls"]
    assert call["arguments"] == MODEL
    assert entries["ApprovalAsked"]["arguments"] == SHOWN


async def test_the_journal_of_a_request_below_has_the_defaults(api: Served) -> None:
    first = await api.ask("clerk rebate lamp")

    assert (await journal(api, first))["ChildAsked"]["child_arguments"] == SHOWN


async def test_the_journal_has_the_arguments_of_the_person_from_the_answer_on(
    api: Served,
) -> None:
    first = await api.ask("rebate lamp")
    given = '{"item": "lamp", "cents": 650}'
    [answer] = approval(asked(first))
    await api.ask([answer | {"arguments": given}], previous_response_id=first["id"])

    entries = await journal(api, first)
    result = entries["ToolSucceeded"]
    alone = await journal(api, first, after=result["position"] - 1)

    assert (entries["ApprovalAsked"]["arguments"], result["arguments"]) == (SHOWN, given)
    answered = entries["ApprovalAnswered"]
    assert (answered["arguments"], answered["arguments_given"]) == (MODEL, given)
    assert alone["ToolSucceeded"] == result


async def test_a_default_applies_to_the_arguments_of_the_person_and_is_shown(api: Served) -> None:
    first = await api.ask("rebate lamp")
    [answer] = approval(asked(first))
    given = [answer | {"arguments": '{"item": "sofa"}'}]
    second = await api.ask(given, previous_response_id=first["id"])

    entries = await journal(api, first)

    assert entries["ApprovalAnswered"]["arguments_given"] == '{"item": "sofa", "cents": 1500}'
    assert "1500 for sofa" in second["output"][-1]["content"][0]["text"]
