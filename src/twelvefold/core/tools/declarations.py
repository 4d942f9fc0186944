"""Check how tools and workflows are declared, on import."""

import inspect
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from difflib import get_close_matches
from typing import Any, Protocol, TypeVar

from twelvefold.core.names import NAME_RULE, abbreviate, is_name
from twelvefold.errors import WorkflowError

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""Source: `tools[].name` of the Responses API."""


class Gated(Protocol):
    """A tool's name and its gates."""

    @property
    def name(self) -> str: ...
    @property
    def requires(self) -> tuple[str, ...]: ...
    @property
    def after_refusal(self) -> tuple[str, ...]: ...


GatedTool = TypeVar("GatedTool", bound=Gated)


def check_name(tool: str) -> str:
    """Return the name. Raises WorkflowError if the Responses API would refuse it."""
    if not _NAME.fullmatch(tool):
        raise WorkflowError(
            f"tool {tool!r}: a name has 1 to 64 letters, digits, _ or -; give it by name="
        )
    return tool


def check_limits(tool: str, max_calls: object, timeout_s: object) -> None:
    """Raise WorkflowError unless both are positive; `max_calls` may be None."""
    if max_calls is not None and not (type(max_calls) is int and max_calls >= 1):
        raise WorkflowError(f"tool {tool}: max_calls is at least 1, not {max_calls!r}")
    # Written so that NaN is refused: it is not greater than 0.
    if isinstance(timeout_s, bool) or not (isinstance(timeout_s, int | float) and timeout_s > 0):
        raise WorkflowError(f"tool {tool}: timeout_s is seconds, more than 0, not {timeout_s!r}")


def check_approval(tool: str, approval: object, timeout_s: object = None) -> None:
    """Raise WorkflowError unless it is a bool or a function of one argument, the arguments.

    `timeout_s` is None, or positive if there is an approval.
    """
    if timeout_s is not None:
        _check_approval_timeout(tool, approval, timeout_s)
    if isinstance(approval, bool):
        return
    if not callable(approval):
        raise WorkflowError(f"tool {tool}: approval is a bool or a function, not {approval!r}")
    if inspect.iscoroutinefunction(approval):
        raise WorkflowError(f"tool {tool}: approval={_name_of(approval)} must not be async")
    try:
        inspect.signature(approval).bind({})
    except TypeError:
        raise WorkflowError(
            f"tool {tool}: approval={_name_of(approval)} must take one argument, the mapping of "
            "the call's arguments"
        ) from None
    except ValueError:  # a builtin without a signature
        return


def _check_approval_timeout(tool: str, approval: object, timeout_s: object) -> None:
    if not approval:
        raise WorkflowError(f"tool {tool}: approval_timeout_s needs approval=")
    if isinstance(timeout_s, bool) or not (
        isinstance(timeout_s, int | float) and 0 < timeout_s < math.inf
    ):
        raise WorkflowError(
            f"tool {tool}: approval_timeout_s is seconds, more than 0, not {timeout_s!r}"
        )


def _name_of(function: Any) -> str:
    return str(getattr(function, "__name__", function))


def parse_tool_names(tool: str, option: str, given: object) -> tuple[str, ...]:
    """Return the tools that a gate names: one name, or several. Raises WorkflowError."""
    if isinstance(given, str):
        return (given,)
    names = tuple(given) if isinstance(given, Sequence) else ()
    if not isinstance(given, Sequence) or not all(isinstance(one, str) for one in names):
        if isinstance(name := getattr(given, "name", None), str):
            raise WorkflowError(
                f'tool {tool}: {option} takes a tool\'s name, not the tool; write {option}="{name}"'
            )
        raise WorkflowError(
            f"tool {tool}: {option}={given!r} is no name of a tool; "
            f'write {option}="name" or {option}=("name", "other")'
        )
    return names


def check_tools(workflow: str, given: object, kind: type[GatedTool]) -> tuple[GatedTool, ...]:
    """Return a workflow's tools. Raises WorkflowError unless they are tools of distinct names."""
    if isinstance(given, kind):
        raise WorkflowError(
            f"workflow {workflow}: tools is the tool {given.name}, not a tuple; "
            f"write tools=({given.name},)"
        )
    if not isinstance(given, Iterable):
        raise WorkflowError(f"workflow {workflow}: tools is {given!r}, not a tuple of tools")
    tools = tuple(given)
    for one in tools:
        if not isinstance(one, kind):
            name = getattr(one, "__name__", repr(one))
            raise WorkflowError(f"workflow {workflow}: {name} is no tool; put @tool above it")
    if duplicates := find_duplicates(one.name for one in tools):
        names = ", ".join(duplicates)
        raise WorkflowError(f"workflow {workflow}: two tools have the same name: {names}")
    return tools


def find_duplicates(names: Iterable[str]) -> list[str]:
    """Return the names that occur more than once, each of them once."""
    return [name for name, times in Counter(names).items() if times > 1]


def check_gates(workflow: str, tools: Mapping[str, Gated]) -> None:
    """Raise WorkflowError for a gate that names no tool, or that can never open."""
    for tool in tools.values():
        for option in ("requires", "after_refusal"):
            for needed in getattr(tool, option):
                if needed not in tools:
                    raise WorkflowError(_unknown_tool(workflow, tool.name, option, needed, tools))
    for name in tools:
        if cycle := _find_cycle(tools, (name,)):
            raise WorkflowError(
                f"workflow {workflow}: {' requires '.join(cycle)}: none of them can ever be called"
            )


def _unknown_tool(
    workflow: str, tool: str, option: str, needed: str, tools: Mapping[str, Gated]
) -> str:
    near = get_close_matches(needed, tools, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"the tools are {', '.join(tools)}"
    return f"workflow {workflow}: {tool} has {option}={needed!r}, which is no tool of it; {hint}"


def _find_cycle(tools: Mapping[str, Gated], path: tuple[str, ...]) -> tuple[str, ...]:
    for needed in tools[path[-1]].requires:
        if needed in path:
            return (*path[path.index(needed) :], needed)
        if cycle := _find_cycle(tools, (*path, needed)):
            return cycle
    return ()


def check_workflow_name(name: object) -> None:
    """Raise WorkflowError unless it is a name, without the `/` of a caller's choice of a model."""
    if not is_name(name) or "/" in str(name):
        raise WorkflowError(
            f"workflow {abbreviate(name)}: its name must have {NAME_RULE} and without /"
        )


def check_schema(workflow: str, schema: object) -> None:
    """Raise WorkflowError unless it is a text."""
    if not isinstance(schema, str):
        kind = type(schema).__name__
        raise WorkflowError(f"workflow {workflow}: schema is a string, not a {kind}")


def check_function(workflow: str, option: str, given: object) -> None:
    """Raise WorkflowError unless it is None or can be called."""
    if given is not None and not callable(given):
        kind = type(given).__name__
        raise WorkflowError(f"workflow {workflow}: {option} is a function, not a {kind}")


def check_children(workflow: str, children: object, kind: type[object]) -> None:
    """Raise WorkflowError unless these are a tuple or a list of workflows."""
    if not isinstance(children, tuple | list):
        name = getattr(children, "name", None) or abbreviate(children)
        raise WorkflowError(
            f"workflow {workflow}: children is {name}, not a tuple of workflows; "
            "write children=(…,)"
        )
    for child in children:
        if not isinstance(child, kind):
            raise WorkflowError(f"workflow {workflow}: children has {child!r}, no workflow")


def check_examples(workflow: str, examples: object) -> None:
    """Raise WorkflowError unless these are a tuple or a list of texts that are not empty."""
    if not isinstance(examples, tuple | list):
        raise WorkflowError(f"workflow {workflow}: examples is a tuple of texts, not {examples!r}")
    for one in examples:
        if not isinstance(one, str) or not one.strip():
            raise WorkflowError(f"workflow {workflow}: an example is a text, not {one!r}")


def check_opener(workflow: str, opener: object) -> None:
    """Raise WorkflowError unless it is None or a function that may return a context manager."""
    if opener is None:
        return
    if isinstance(opener, AbstractAsyncContextManager) or not callable(opener):
        raise WorkflowError(
            f"workflow {workflow}: resources is a function that returns an async context manager, "
            f"not a {type(opener).__name__}"
        )
    if inspect.isasyncgenfunction(opener) or inspect.iscoroutinefunction(opener):
        raise WorkflowError(
            f"workflow {workflow}: resources={_name_of(opener)} must return an async context "
            "manager; write @asynccontextmanager above it"
        )
