"""The caller's `RequestOptions`, as they apply to a run's tools and to its model requests.

`tool_choice` applies to the workflow's tools and to the caller's. A required call applies to the
first reply only: a model that must call a tool in every reply never ends the run, unless one of
those tools is the caller's, whose call ends it (`choice_holds`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from twelvefold.core.events import DEFAULT_OPTIONS, Item, RequestOptions
from twelvefold.core.ports import ToolSpec

NO_PARAMETERS: Mapping[str, Any] = {"type": "object", "properties": {}}
_NONE: frozenset[str] = frozenset()
_PASSED_ON = ("max_output_tokens", "temperature", "top_p", "text", "reasoning")


def read_tool_choice(options: RequestOptions) -> frozenset[str] | None:
    """Return the names of the tools that `tool_choice` allows in the run; None: all."""
    choice = options.tool_choice
    if choice == "none":
        return _NONE
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        return frozenset(str(tool.get("name", "")) for tool in choice.get("tools", ()))
    return None


def client_tools(options: RequestOptions) -> tuple[ToolSpec, ...]:
    """Return the caller's own tools that may be called in the run, in the caller's order."""
    if not options.tools:
        return ()
    names = read_tool_choice(options)
    return tuple(
        _spec(tool) for tool in options.tools if names is None or tool.get("name", "") in names
    )


def client_names(options: RequestOptions) -> frozenset[str]:
    """Return the names of `client_tools`."""
    return frozenset(tool.name for tool in client_tools(options)) if options.tools else _NONE


def _spec(tool: Item) -> ToolSpec:
    return ToolSpec(
        name=str(tool.get("name", "")),
        description=str(tool.get("description") or ""),
        parameters=tool.get("parameters") or NO_PARAMETERS,
        # In strict mode a server refuses a schema that was not written for it.
        strict=tool.get("strict") is True,
    )


def build_options(
    options: RequestOptions, tools: Sequence[ToolSpec], *, first: bool
) -> dict[str, Any]:
    """Return the `options` of a model request; `first`: it asks for the first reply of a run."""
    if options is DEFAULT_OPTIONS:
        return {}
    values = ((name, getattr(options, name)) for name in _PASSED_ON)
    built = {name: value for name, value in values if value is not None}
    if options.stop:
        built["stop"] = list(options.stop)
    if not tools:
        # Servers refuse options about tools in a request without tools.
        return built
    if options.parallel_tool_calls is not None:
        built["parallel_tool_calls"] = options.parallel_tool_calls
    if (first or options.choice_holds) and (
        choice := _build_tool_choice(options.tool_choice, tools)
    ):
        built["tool_choice"] = choice
    return built


def _build_tool_choice(choice: str | Item | None, tools: Sequence[ToolSpec]) -> str | Item | None:
    """Return the `tool_choice` that makes the model call a tool; None if it need not."""
    if choice == "required":
        return choice
    if not isinstance(choice, dict):
        return None
    if choice.get("type") == "allowed_tools":
        return "required" if choice.get("mode") == "required" else None
    name = choice.get("name")
    # A tool whose gate is closed is not in the request, and a server refuses a choice of it.
    if any(tool.name == name for tool in tools):
        return {"type": "function", "name": name}
    return None
