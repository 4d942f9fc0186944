"""Workflows as tools."""

from dataclasses import dataclass
from typing import Any

import pytest

from tests.builders import asked, called, thread_of
from twelvefold.core.budget import Limits
from twelvefold.core.child_tool import ChildTool
from twelvefold.core.decide import RunTools, decide
from twelvefold.core.gates import ValidCall
from twelvefold.core.tools.schema import BadArguments
from twelvefold.core.workflow import RejectedCall, Workflow
from twelvefold.errors import WorkflowError


@dataclass
class Question:
    bill: int
    text: str = "?"


@dataclass
class Answer:
    text: str


BILLING = Workflow[Any]("billing", "You answer.", ())


def test_the_model_writes_the_input_as_text() -> None:
    asks = BILLING.as_tool("Answers questions about bills.")

    assert (asks.name, asks.description, asks.effect) == (
        "billing",
        "Answers questions about bills.",
        "workflow",
    )
    assert asks.spec.parameters["properties"] == {"input": {"type": "string"}}
    assert asks.parameters.parse('{"input": "How much?"}') == {"input": "How much?"}


def test_the_model_fills_the_fields_of_a_type() -> None:
    asks = BILLING.as_tool("Asks.", name="ask", input=Question)
    asks.prepare()
    asks.parameters.check()

    assert asks.name == "ask"
    assert set(asks.spec.parameters["properties"]) == {"bill", "text"}
    assert asks.spec.strict in (True, False)
    assert asks.parameters.parse('{"bill": 7}') == {"input": '{"bill":7,"text":"?"}'}
    with pytest.raises(BadArguments, match="bill"):
        asks.parameters.parse('{"bill": "many"}')


@pytest.mark.parametrize("description", ["", " ", 3])
def test_a_description_is_needed(description: Any) -> None:
    with pytest.raises(WorkflowError, match="needs a description"):
        BILLING.as_tool(description)


def test_a_name_must_be_that_of_a_tool() -> None:
    with pytest.raises(WorkflowError, match="1 to 64 letters"):
        BILLING.as_tool("Asks.", name="a b")


async def test_a_workflow_as_a_tool_runs_in_a_run_only() -> None:
    with pytest.raises(WorkflowError, match="run by the engine"):
        await BILLING.as_tool("Asks.")(input="x")


def test_a_hand_off_has_the_output_of_the_caller() -> None:
    typed = Workflow[Any]("typed", "You answer.", (), output=Answer)
    tools = (typed.as_tool("Answers.", hand_off=True),)

    assert isinstance(tools[0], ChildTool)
    Workflow[Any]("support", "You help.", tools)
    Workflow[Any]("support", "You help.", tools, output=Answer)
    with pytest.raises(WorkflowError, match="whose output has another type"):
        Workflow[Any]("support", "You help.", tools, output=Question)


def test_a_hand_off_is_alone_in_its_reply() -> None:
    tools = (BILLING.as_tool("Answers.", hand_off=True), BILLING.as_tool("Asks.", name="ask"))
    support = Workflow[Any]("support", "You help.", tools)

    def first(*names: str) -> ValidCall | RejectedCall:
        thread = thread_of(asked(), called(*names, input="x"))
        decision = decide(thread, support, Limits())
        assert isinstance(decision, RunTools)
        return decision.calls[0]

    assert isinstance(first("billing"), ValidCall)
    assert isinstance(first("ask", "billing"), ValidCall)
    rejected = first("billing", "ask")
    assert isinstance(rejected, RejectedCall)
    assert rejected.problems == (
        "billing hands the conversation over; call it without other calls",
    )
