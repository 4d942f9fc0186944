from typing import Any

import pytest

from tests.builders import (
    asked,
    assistant,
    called,
    finished,
    own_tool,
    said,
    succeeded,
    thread_of,
    user,
)
from twelvefold.core.budget import Limits
from twelvefold.core.ports import ModelRequest, ReadOnly, ToolSpec
from twelvefold.core.request import NO_PARAMETERS, CompactedRequest, build_request
from twelvefold.core.tools.tool import tool
from twelvefold.core.workflow import Workflow


@tool
async def look(db: ReadOnly) -> str:
    """Look."""
    return ""


@tool(requires="look")
async def enrol(db: ReadOnly) -> str:
    """Enrol."""
    return ""


WORKFLOW = Workflow("academy", "Help people.", (look, enrol))
LIMITS = Limits()


def test_a_request_is_the_instructions_the_conversation_and_the_open_tools() -> None:
    thread = thread_of(asked("hello"), said("hi"), finished(), asked("look"))

    assert build_request(thread, WORKFLOW, LIMITS) == CompactedRequest(
        ModelRequest("Help people.", (user("hello"), assistant("hi"), user("look")), (look.spec,))
    )


def test_a_request_offers_the_tools_that_are_open() -> None:
    thread = thread_of(asked(), called("look"), succeeded("2.0", "look"))

    assert build_request(thread, WORKFLOW, LIMITS).request.tools == (look.spec, enrol.spec)


def test_the_callers_options_are_part_of_the_request() -> None:
    weather = own_tool("get_weather")
    options: dict[str, Any] = {"tools": (weather,), "temperature": 0.5, "hops": 2}
    start = asked("hello", instructions="Be brief.", tool_choice="required", **options)

    request = build_request(thread_of(start), WORKFLOW, LIMITS).request

    assert request == ModelRequest(
        "Help people.\n\nBe brief.",
        (user("hello"),),
        (look.spec, ToolSpec("get_weather", "", NO_PARAMETERS, strict=False)),
        {"temperature": 0.5, "tool_choice": "required"},
        hops=2,
    )


@pytest.mark.parametrize(("ours", "theirs"), [("Help.", ""), ("", "Help.")])
def test_instructions_of_one_side_are_sent_alone(ours: str, theirs: str) -> None:
    thread = thread_of(asked(instructions=theirs))

    assert build_request(thread, Workflow("a", ours, ()), LIMITS).request.instructions == "Help."


def test_a_required_call_applies_to_the_first_reply() -> None:
    thread = thread_of(asked(tool_choice="required"), called("look"), succeeded("2.0", "look"))

    assert build_request(thread, WORKFLOW, LIMITS).request.options == {}
