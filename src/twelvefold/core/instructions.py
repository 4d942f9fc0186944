"""Instructions that are a function of the caller, and how such a function is declared."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, get_type_hints

from msgspec import Struct

from twelvefold.core.ports import Principal, ReadOnly
from twelvefold.errors import WorkflowError

Instructions = (
    str
    | Callable[[Principal], str]
    | Callable[[Principal], Awaitable[str]]
    | Callable[[Principal, ReadOnly], Awaitable[str]]
)
"""A text, or a function of the caller, which may also read the database."""
TIMEOUT_S = 60.0
_TAKES = "the caller (Principal), and the database (ReadOnly) if it reads any"


class InstructionsFunction(Struct, frozen=True):
    """A function that returns the instructions; `timeout_s` bounds one call.

    `takes_database`: its second argument is a ReadOnly. `is_async`: it is awaited; otherwise it is
    called in a thread.
    """

    function: Callable[..., object]
    takes_database: bool
    is_async: bool
    timeout_s: float = TIMEOUT_S


def parse_instructions(workflow: str, given: object) -> InstructionsFunction | None:
    """Return the function that the instructions are; None if they are a text.

    Raises WorkflowError if they are neither, or the function has other parameters.
    """
    if isinstance(given, str):
        return None
    at = f"workflow {workflow}: instructions"
    if not inspect.isroutine(given):
        raise WorkflowError(f"{at} is a string or a function, not a {type(given).__name__}")
    at = f"{at}={given.__name__}"
    takes_database = _check_parameters(at, given)
    is_async = inspect.iscoroutinefunction(given)
    if takes_database and not is_async:
        raise WorkflowError(f"{at}: takes ReadOnly, so it must be async")
    return InstructionsFunction(given, takes_database, is_async)


def _check_parameters(at: str, function: Callable[..., object]) -> bool:
    """Return whether the function takes a ReadOnly. Raises WorkflowError for other parameters."""
    parameters = list(inspect.signature(function).parameters.values())
    if len(parameters) not in (1, 2) or any(_must_be_named(one) for one in parameters):
        raise WorkflowError(f"{at} must take {_TAKES}")
    hints = _read_hints(at, function)
    for parameter, kind in zip(parameters, (Principal, ReadOnly), strict=False):
        if hints.get(parameter.name, kind) is not kind:
            raise WorkflowError(
                f"{at}: {parameter.name!r} must be a {kind.__name__}; it must take {_TAKES}"
            )
    return len(parameters) > 1


def _must_be_named(parameter: inspect.Parameter) -> bool:
    return parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)


def _read_hints(at: str, function: Callable[..., object]) -> Mapping[str, Any]:
    try:
        return get_type_hints(function)
    except (NameError, TypeError, SyntaxError) as error:
        raise WorkflowError(f"{at}: its types cannot be read: {error}") from error
