"""What a caller asks for beside the input, as it bears on a run's tools and on its model requests.

`tool_choice` binds the server's tools and those of the caller. A required call holds for
the first reply only: a model that has to call a tool every time never ends, unless
one of those tools is the caller's, whose call ends the run (`choice_holds`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from twelvefold.core.events import DEFAULT_OPTIONS, Item, RequestOptions
from twelvefold.core.ports import ToolSpec

NO_PARAMETERS: Mapping[str, Any] = {"type": "object", "properties": {}}
_NONE: frozenset[str] = frozenset()
_PASSED_ON = ("max_output_tokens", "temperature", "top_p", "text", "reasoning")


def chosen(requested: RequestOptions) -> frozenset[str] | None:
    """The names of the tools that may be called in the run; None: all."""
    choice = requested.tool_choice
    if choice == "none":
        return _NONE
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        return frozenset(str(tool.get("name", "")) for tool in choice.get("tools", ()))
    return None


def client_tools(requested: RequestOptions) -> tuple[ToolSpec, ...]:
    """The caller's own tools that may be called in the run, in the caller's order."""
    if not requested.tools:
        return ()
    names = chosen(requested)
    return tuple(
        _spec(tool) for tool in requested.tools if names is None or tool.get("name", "") in names
    )


def client_names(requested: RequestOptions) -> frozenset[str]:
    """The names of those tools."""
    return frozenset(tool.name for tool in client_tools(requested)) if requested.tools else _NONE


def _spec(tool: Item) -> ToolSpec:
    return ToolSpec(
        name=str(tool.get("name", "")),
        description=str(tool.get("description") or ""),
        parameters=tool.get("parameters") or NO_PARAMETERS,
        # A schema that was not written for it is refused by a server that is to be strict.
        strict=tool.get("strict") is True,
    )


def options(requested: RequestOptions, tools: Sequence[ToolSpec], *, first: bool) -> dict[str, Any]:
    """What to ask of the model beside the conversation; `first`: for the first reply of a run."""
    if requested is DEFAULT_OPTIONS:
        return {}
    values = ((name, getattr(requested, name)) for name in _PASSED_ON)
    wanted = {name: value for name, value in values if value is not None}
    if requested.stop:
        wanted["stop"] = list(requested.stop)
    if not tools:
        # Servers refuse what is about tools where there are none.
        return wanted
    if requested.parallel_tool_calls is not None:
        wanted["parallel_tool_calls"] = requested.parallel_tool_calls
    if (first or requested.choice_holds) and (choice := _demanded(requested.tool_choice, tools)):
        wanted["tool_choice"] = choice
    return wanted


def _demanded(choice: str | Item | None, tools: Sequence[ToolSpec]) -> str | Item | None:
    """What the model has to call; None if it may do as it likes."""
    if choice == "required":
        return choice
    if not isinstance(choice, dict):
        return None
    if choice.get("type") == "allowed_tools":
        return "required" if choice.get("mode") == "required" else None
    name = choice.get("name")
    # One that is not open now is not offered, and cannot be demanded.
    if any(tool.name == name for tool in tools):
        return {"type": "function", "name": name}
    return None
