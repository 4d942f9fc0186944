"""A tool's signature: which parameters the engine fills, which the model, and the tool's effect."""

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, cast, get_args, get_origin, get_type_hints

from twelvefold.core.ports import CallKey, Principal, ReadOnly, Transaction
from twelvefold.errors import WorkflowError

Effect = Literal["transactional", "readonly", "idempotent", "pure", "unsafe"]
_HANDED_IN = (Transaction, ReadOnly, Principal, CallKey)
_EFFECT_OF: tuple[tuple[type, Effect], ...] = (
    (Transaction, "transactional"),
    (ReadOnly, "readonly"),
    (CallKey, "idempotent"),
)


def split_parameters(
    tool: str, function: Callable[..., object]
) -> tuple[dict[str, type], dict[str, inspect.Parameter]]:
    """Return the parameters that the engine fills and those that the model fills, by name.

    Raises WorkflowError if a parameter has no type, or the function cannot be a tool.
    """
    is_async = _check_function(tool, function)
    hints = _read_hints(tool, function)
    handed_in: dict[str, type] = {}
    model_parameters: dict[str, inspect.Parameter] = {}
    for parameter in inspect.signature(function).parameters.values():
        hint = _check_parameter(tool, parameter, hints)
        kind = get_args(hint)[0] if get_origin(hint) is Annotated else hint
        if kind in (Transaction, ReadOnly) and not is_async:
            raise WorkflowError(
                f"tool {tool}: takes {kind.__name__}, so it must be an async function"
            )
        if kind in _HANDED_IN:
            handed_in[parameter.name] = cast("type", kind)
        else:
            model_parameters[parameter.name] = parameter.replace(annotation=hint)
    return handed_in, model_parameters


def _check_function(tool: str, function: Callable[..., object]) -> bool:
    """Return whether the function is async. Raises WorkflowError if it cannot be a tool."""
    if inspect.iscoroutinefunction(function):
        return True
    if not inspect.isroutine(function):
        raise WorkflowError(f"tool {tool}: must be a function")
    inner = inspect.unwrap(function)
    if inspect.iscoroutinefunction(inner):
        raise WorkflowError(
            f"tool {tool}: a decorator has made a plain function of an async one; make it async"
        )
    if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
        raise WorkflowError(f"tool {tool}: must return its result, not yield it")
    return False


def _read_hints(tool: str, function: Callable[..., object]) -> Mapping[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except (NameError, TypeError, SyntaxError) as error:
        raise WorkflowError(f"tool {tool}: its types cannot be read: {error}") from error


def _check_parameter(tool: str, parameter: inspect.Parameter, hints: Mapping[str, Any]) -> Any:
    """Return the type of a parameter that can be passed by name."""
    if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
        raise WorkflowError(f"tool {tool}: {parameter} has no name that the model could use")
    if hints.get(parameter.name) is None:
        raise WorkflowError(f"tool {tool}: parameter {parameter.name!r} needs a type")
    if type(parameter.default).__name__ == "FieldInfo":
        raise WorkflowError(
            f"tool {tool}: parameter {parameter.name!r} has a Field as its default; "
            "write Annotated[type, Field(…)]"
        )
    return hints[parameter.name]


def find_effect(tool: str, handed_in: Mapping[str, type], declared: Effect | None) -> Effect:
    """Return the effect that the signature or `effect=` declares.

    Raises WorkflowError if they contradict each other, or if neither declares one.
    """
    kinds = handed_in.values()
    if ReadOnly in kinds and CallKey in kinds:
        raise WorkflowError(
            f"tool {tool}: takes ReadOnly and CallKey; no connection is held while a call leaves "
            "the database, so make it two tools"
        )
    for kind, effect in _EFFECT_OF:
        if kind in kinds:
            if declared is not None:
                raise WorkflowError(
                    f"tool {tool}: takes {kind.__name__}, so its effect is {effect}, not {declared}"
                )
            return effect
    return _check_effect(tool, declared)


def _check_effect(tool: str, declared: Effect | None) -> Effect:
    if declared is None:
        raise WorkflowError(
            f"tool {tool}: takes none of Transaction, ReadOnly, CallKey; "
            'declare effect="pure" if it changes nothing anywhere, else effect="unsafe"'
        )
    if declared not in ("pure", "unsafe"):
        raise WorkflowError(f"tool {tool}: effect is pure or unsafe, not {declared!r}")
    return declared


def location_of(function: Callable[..., object]) -> str:
    """Return the file and line of a function; "" if they are not known."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}, line {code.co_firstlineno}" if code else ""
