"""Mistakes in how tools and workflows are declared, found on import."""

import inspect
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Protocol

from twelvefold.errors import WorkflowError


class Gated(Protocol):
    """A tool, as far as its gates go."""

    @property
    def name(self) -> str: ...
    @property
    def requires(self) -> tuple[str, ...]: ...
    @property
    def after_refusal(self) -> tuple[str, ...]: ...


def tool_names(tool: str, option: str, given: object) -> tuple[str, ...]:
    """The names of tools that a gate was given: one, or several. Raises WorkflowError."""
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


def check_limits(tool: str, max_calls: object, timeout_s: object) -> None:
    """Raises WorkflowError unless a call can be counted and timed by them."""
    if max_calls is not None and not (type(max_calls) is int and max_calls >= 1):
        raise WorkflowError(f"tool {tool}: max_calls is at least 1, not {max_calls!r}")
    # NaN is not more than 0, either.
    if isinstance(timeout_s, bool) or not (isinstance(timeout_s, int | float) and timeout_s > 0):
        raise WorkflowError(f"tool {tool}: timeout_s is seconds, more than 0, not {timeout_s!r}")


def repeated(names: Iterable[str]) -> list[str]:
    """The names that are there more than once, each of them once."""
    return [name for name, times in Counter(names).items() if times > 1]


def check_approval(tool: str, approval: object) -> None:
    """Raises WorkflowError unless it is a bool or a function of one argument, the arguments."""
    if isinstance(approval, bool):
        return
    if not callable(approval):
        raise WorkflowError(f"tool {tool}: approval is a bool or a function, not {approval!r}")
    if inspect.iscoroutinefunction(approval):
        raise WorkflowError(f"tool {tool}: approval={_name(approval)} must not be async")
    try:
        inspect.signature(approval).bind({})
    except TypeError:
        raise WorkflowError(
            f"tool {tool}: approval={_name(approval)} must take one argument, the mapping of the "
            "call's arguments"
        ) from None
    except ValueError:  # a builtin without a signature
        return


def _name(function: Any) -> str:
    return str(getattr(function, "__name__", function))


def check_gates(workflow: str, tools: Mapping[str, Gated]) -> None:
    """Raises WorkflowError for a gate that names no tool, or that can never open."""
    for tool in tools.values():
        for option in ("requires", "after_refusal"):
            for needed in getattr(tool, option):
                if needed not in tools:
                    raise WorkflowError(_unknown(workflow, tool.name, option, needed, tools))
    for name in tools:
        if circle := _circle(tools, (name,)):
            raise WorkflowError(
                f"workflow {workflow}: {' requires '.join(circle)}: none of them can ever be called"
            )


def _unknown(workflow: str, tool: str, option: str, needed: str, tools: Mapping[str, Gated]) -> str:
    near = get_close_matches(needed, tools, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"the tools are {', '.join(tools)}"
    return f"workflow {workflow}: {tool} has {option}={needed!r}, which is no tool of it; {hint}"


def _circle(tools: Mapping[str, Gated], path: tuple[str, ...]) -> tuple[str, ...]:
    for needed in tools[path[-1]].requires:
        if needed in path:
            return (*path[path.index(needed) :], needed)
        if circle := _circle(tools, (*path, needed)):
            return circle
    return ()
