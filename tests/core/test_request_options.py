from typing import Any

import pytest

from tests.builders import own_tool
from twelvefold.core.events import RequestOptions
from twelvefold.core.ports import ToolSpec
from twelvefold.core.request import NO_PARAMETERS, build_options, client_tool_specs

WEATHER = own_tool("get_weather")
CLOCK = own_tool("get_time")
LOOK = ToolSpec("look", "Look.", {})
OFFERED = (LOOK, ToolSpec("get_weather", "", {}))


def allowed(*names: str, mode: str = "auto") -> dict[str, object]:
    """Return a `tool_choice` that allows these tools."""
    tools = [{"type": "function", "name": name} for name in names]
    return {"type": "allowed_tools", "mode": mode, "tools": tools}


@pytest.mark.parametrize("choice", [None, "auto", "required", {"type": "function", "name": "look"}])
def test_all_tools_may_be_called_by_default(choice: Any) -> None:
    assert RequestOptions(tool_choice=choice).allowed_tools is None


def test_tool_choice_none_allows_no_tool() -> None:
    assert RequestOptions(tool_choice="none").allowed_tools == frozenset()


def test_allowed_tools_allows_the_tools_it_names() -> None:
    choice = allowed("look") | {"tools": [{"type": "function", "name": "look"}, {"type": "mcp"}]}

    assert RequestOptions(tool_choice=choice).allowed_tools == frozenset({"look", ""})
    assert RequestOptions(tool_choice={"type": "allowed_tools"}).allowed_tools == frozenset()


def test_a_caller_has_no_tools_by_default() -> None:
    assert client_tool_specs(RequestOptions()) == ()
    assert RequestOptions().client_tool_names == frozenset()


def test_a_tool_of_the_caller_is_offered_as_described() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    tool = own_tool("get_weather", description="The weather.", parameters=schema, strict=True)

    assert client_tool_specs(RequestOptions(tools=(tool,))) == (
        ToolSpec("get_weather", "The weather.", schema, strict=True),
    )


@pytest.mark.parametrize("unsaid", [{}, {"description": None, "parameters": None, "strict": None}])
def test_a_tool_of_the_caller_has_permissive_defaults(unsaid: dict[str, None]) -> None:
    assert client_tool_specs(RequestOptions(tools=({**WEATHER, **unsaid},))) == (
        ToolSpec("get_weather", "", NO_PARAMETERS, strict=False),
    )


def test_tool_choice_applies_to_the_callers_tools() -> None:
    tools = (WEATHER, CLOCK)

    assert RequestOptions(tools=tools).client_tool_names == {"get_weather", "get_time"}
    assert RequestOptions(tools=tools, tool_choice=allowed("get_time")).client_tool_names == {
        "get_time"
    }
    assert RequestOptions(tools=tools, tool_choice="none").client_tool_names == frozenset()


def test_a_request_has_no_options_by_default() -> None:
    assert build_options(RequestOptions(), OFFERED, first=True) == {}


def test_choice_holds_applies_the_choice_to_every_reply() -> None:
    options = RequestOptions(tool_choice="required", choice_holds=True)

    for first in (True, False):
        assert build_options(options, OFFERED, first=first) == {"tool_choice": "required"}


def test_stop_sequences_are_part_of_every_request() -> None:
    options = RequestOptions(stop=("a", "b"), tool_items="hidden")

    assert build_options(options, OFFERED, first=True) == {"stop": ["a", "b"]}
    assert build_options(options, (), first=False) == {"stop": ["a", "b"]}


def test_options_about_the_reply_are_part_of_every_request() -> None:
    values: dict[str, Any] = {
        "max_output_tokens": 16,
        "temperature": 0.0,
        "top_p": 0.5,
        "text": {"format": {"type": "json_object"}},
        "reasoning": {"effort": "low"},
    }

    assert build_options(RequestOptions(**values), (), first=False) == values


def test_options_about_tools_are_left_out_of_a_request_without_tools() -> None:
    options = RequestOptions(parallel_tool_calls=False, tool_choice="required")

    assert build_options(options, OFFERED, first=True) == {
        "parallel_tool_calls": False,
        "tool_choice": "required",
    }
    assert build_options(options, (), first=True) == {}


@pytest.mark.parametrize(
    ("choice", "sent"),
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
def test_a_required_call_is_part_of_the_first_request_only(choice: Any, sent: Any) -> None:
    options = RequestOptions(tool_choice=choice)

    assert build_options(options, OFFERED, first=True).get("tool_choice") == sent
    assert build_options(options, OFFERED, first=False) == {}
