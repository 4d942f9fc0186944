from typing import Any

import pytest

from tests.builders import own_tool
from twelvefold.core.events import RequestOptions
from twelvefold.core.ports import ToolSpec
from twelvefold.core.request_options import (
    NO_PARAMETERS,
    build_options,
    client_names,
    client_tools,
    read_tool_choice,
)

WEATHER = own_tool("get_weather")
CLOCK = own_tool("get_time")
LOOK = ToolSpec("look", "Look.", {})
OFFERED = (LOOK, ToolSpec("get_weather", "", {}))


def allowed(*names: str, mode: str = "auto") -> dict[str, object]:
    """A choice of these tools."""
    tools = [{"type": "function", "name": name} for name in names]
    return {"type": "allowed_tools", "mode": mode, "tools": tools}


@pytest.mark.parametrize("choice", [None, "auto", "required", {"type": "function", "name": "look"}])
def test_unless_it_is_said_otherwise_all_tools_may_be_called(choice: Any) -> None:
    assert read_tool_choice(RequestOptions(tool_choice=choice)) is None


def test_a_caller_may_want_no_tool_at_all() -> None:
    assert read_tool_choice(RequestOptions(tool_choice="none")) == frozenset()


def test_a_caller_may_want_some_tools_only() -> None:
    choice = allowed("look") | {"tools": [{"type": "function", "name": "look"}, {"type": "mcp"}]}

    assert read_tool_choice(RequestOptions(tool_choice=choice)) == frozenset({"look", ""})
    assert read_tool_choice(RequestOptions(tool_choice={"type": "allowed_tools"})) == frozenset()


def test_a_caller_has_no_tools_of_its_own_unless_it_brings_them() -> None:
    assert client_tools(RequestOptions()) == ()
    assert client_names(RequestOptions()) == frozenset()


def test_a_callers_tool_is_offered_as_it_was_described() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    tool = own_tool("get_weather", description="The weather.", parameters=schema, strict=True)

    assert client_tools(RequestOptions(tools=(tool,))) == (
        ToolSpec("get_weather", "The weather.", schema, strict=True),
    )


@pytest.mark.parametrize("unsaid", [{}, {"description": None, "parameters": None, "strict": None}])
def test_what_a_callers_tool_does_not_say_binds_the_model_least(unsaid: dict[str, None]) -> None:
    assert client_tools(RequestOptions(tools=({**WEATHER, **unsaid},))) == (
        ToolSpec("get_weather", "", NO_PARAMETERS, strict=False),
    )


def test_a_callers_choice_binds_its_own_tools_too() -> None:
    tools = (WEATHER, CLOCK)

    assert client_names(RequestOptions(tools=tools)) == {"get_weather", "get_time"}
    assert client_names(RequestOptions(tools=tools, tool_choice=allowed("get_time"))) == {
        "get_time"
    }
    assert client_names(RequestOptions(tools=tools, tool_choice="none")) == frozenset()


def test_nothing_is_asked_of_the_model_that_was_not_asked_for() -> None:
    assert build_options(RequestOptions(), OFFERED, first=True) == {}


def test_a_choice_that_holds_is_asked_for_with_every_reply() -> None:
    asked = RequestOptions(tool_choice="required", choice_holds=True)

    for first in (True, False):
        assert build_options(asked, OFFERED, first=first) == {"tool_choice": "required"}


def test_stop_sequences_are_asked_for_with_every_reply() -> None:
    asked = RequestOptions(stop=("a", "b"), tool_items="hidden")

    assert build_options(asked, OFFERED, first=True) == {"stop": ["a", "b"]}
    assert build_options(asked, (), first=False) == {"stop": ["a", "b"]}


def test_what_is_about_the_reply_is_passed_on_with_every_request() -> None:
    wishes: dict[str, Any] = {
        "max_output_tokens": 16,
        "temperature": 0.0,
        "top_p": 0.5,
        "text": {"format": {"type": "json_object"}},
        "reasoning": {"effort": "low"},
    }

    assert build_options(RequestOptions(**wishes), (), first=False) == wishes


def test_what_is_about_tools_is_passed_on_only_where_there_are_some() -> None:
    asked = RequestOptions(parallel_tool_calls=False, tool_choice="required")

    assert build_options(asked, OFFERED, first=True) == {
        "parallel_tool_calls": False,
        "tool_choice": "required",
    }
    assert build_options(asked, (), first=True) == {}


@pytest.mark.parametrize(
    ("choice", "demanded"),
    [
        ("required", "required"),
        ("auto", None),
        ({"type": "function", "name": "look"}, {"type": "function", "name": "look"}),
        ({"type": "mcp", "name": "look"}, {"type": "function", "name": "look"}),
        ({"type": "function", "name": "not_open"}, None),
        (allowed("look", mode="required"), "required"),
        (allowed("look"), None),
    ],
)
def test_a_call_is_demanded_for_the_first_reply_only(choice: Any, demanded: Any) -> None:
    asked = RequestOptions(tool_choice=choice)

    assert build_options(asked, OFFERED, first=True).get("tool_choice") == demanded
    assert build_options(asked, OFFERED, first=False) == {}
