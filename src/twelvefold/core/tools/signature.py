"""A tool's signature: which parameters the engine fills, which the model, and the tool's effect."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from twelvefold.core.fan_out import FanOut
from twelvefold.core.ports import (
    CallKey,
    Principal,
    ReadOnly,
    SyncReadOnly,
    SyncTransaction,
    Transaction,
)
from twelvefold.core.waiting import declares_wait
from twelvefold.errors import WorkflowError

Effect = Literal["transactional", "readonly", "idempotent", "pure", "unsafe", "workflow"]
T = TypeVar("T")


class _ResourceMarker:
    """Marks the type of a parameter that gets a resource of the workflow."""


_RESOURCE = _ResourceMarker()
Resource = Annotated[T, _RESOURCE]
Resource.__doc__ = """The type of a tool's parameter that gets a resource, hidden from the model.

`Resource[T]` is `T` for a type checker. The resource is the object of this type that the function
`Workflow(resources=…)` provides. All runs of a process share it, at the same time; a plain function
uses it in another thread.

Example:
    from collections.abc import AsyncIterator
    from contextlib import asynccontextmanager

    from aiohttp import ClientSession

    from twelvefold import Resource, Workflow, tool

    @asynccontextmanager
    async def open_client() -> AsyncIterator[ClientSession]:
        async with ClientSession("https://weather.example") as client:
            yield client

    @tool(effect="pure")
    async def forecast(client: Resource[ClientSession], city: str) -> str:
        \"\"\"Return tomorrow's forecast for a city.\"\"\"
        async with client.get("/forecast", params={"city": city}) as response:
            return await response.text()

    weather = Workflow("weather", "You know the weather.", (forecast,), resources=open_client)
"""

_ASYNC_SQL: Mapping[type, type] = {Transaction: SyncTransaction, ReadOnly: SyncReadOnly}
_SYNC_SQL: Mapping[type, type] = {sync: async_ for async_, sync in _ASYNC_SQL.items()}
_HANDED_IN = (*_ASYNC_SQL, *_SYNC_SQL, Principal, CallKey)
_NO_RESOURCE = (object, UnionType, *_HANDED_IN)
_EFFECT_OF: tuple[tuple[type, Effect], ...] = (
    (Transaction, "transactional"),
    (SyncTransaction, "transactional"),
    (ReadOnly, "readonly"),
    (SyncReadOnly, "readonly"),
    (CallKey, "idempotent"),
)


class Signature(NamedTuple):
    """The parameters of a tool's function, by name.

    The engine fills `handed_in`, and `resources` with resources of these types. The model fills
    `model_parameters`. `may_wait`: the function may return a `Wait` or an `Ask`. `fans_out`: it may
    return a `FanOut`.
    """

    handed_in: dict[str, type]
    resources: dict[str, type]
    model_parameters: dict[str, inspect.Parameter]
    may_wait: bool = False
    fans_out: bool = False


def read_signature(tool: str, function: Callable[..., object]) -> Signature:
    """Return the parameters by the way they are filled.

    Raises WorkflowError, with the file and the line, if a parameter has no type, if a type that the
    engine fills is within another one, or if the function cannot be a tool.
    """
    try:
        return _read_signature(tool, function)
    except WorkflowError as error:
        location = location_of(function)
        raise WorkflowError(f"{error} ({location})" if location else str(error)) from error


def _read_signature(tool: str, function: Callable[..., object]) -> Signature:
    is_async = _check_function(tool, function)
    hints = _read_hints(tool, function)
    returns = hints.get("return")
    signature = Signature({}, {}, {}, declares_wait(returns), may_return(returns, FanOut))
    for parameter in inspect.signature(function).parameters.values():
        hint = _check_parameter(tool, parameter, hints)
        kind, is_resource = _read_type(hint)
        if is_resource:
            signature.resources[parameter.name] = _resource_type(tool, parameter.name, kind)
        elif kind in _HANDED_IN:
            _check_sql(tool, kind, is_async)
            signature.handed_in[parameter.name] = cast("type", kind)
        else:
            _check_no_filled_type(tool, parameter.name, hint)
            signature.model_parameters[parameter.name] = parameter.replace(annotation=hint)
    return signature


def _read_type(hint: Any) -> tuple[Any, bool]:
    """Return the type below aliases, `NewType`, `Annotated` and `| None`; whether it is a resource.

    The type of a resource is returned as it is declared.
    """
    origin = get_origin(hint)
    if origin is Annotated:
        below, *marks = get_args(hint)
        return (below, True) if _RESOURCE in marks else _read_type(below)
    if origin in (Union, UnionType):
        choices = [one for one in get_args(hint) if one is not NoneType]
        return _read_type(choices[0]) if len(choices) == 1 else (hint, False)
    below = _below_name(hint)
    return (hint, False) if below is None else _read_type(below)


def _below_name(hint: Any) -> Any:
    """Return the type that an alias or a `NewType` stands for; None for another type."""
    return getattr(hint, "__value__", None) or getattr(hint, "__supertype__", None)


def _check_no_filled_type(tool: str, name: str, hint: Any) -> None:
    """Raise WorkflowError for a type that the engine fills within one that the model fills."""
    for one in _types_in(hint):
        if one is _RESOURCE:
            found = "Resource"
        elif any(base in _HANDED_IN for base in getattr(one, "__mro__", ())):
            found = one.__name__
        else:
            continue
        raise WorkflowError(
            f"tool {tool}: parameter {name!r} is {hint}, which has a {found} in it; the model "
            "cannot fill one, and the engine fills only a parameter of exactly such a type"
        )


def _types_in(hint: Any) -> Iterator[Any]:
    """Yield the type, each type that it is made of, and what `Annotated` adds to them."""
    waiting, seen = [hint], set[int]()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        bound = getattr(one, "__bound__", None)
        waiting += [*get_args(one), *getattr(one, "__constraints__", ())]
        waiting += [below for below in (bound, _below_name(one)) if below is not None]


def may_return(annotation: Any, kind: type) -> bool:
    """Return whether a return annotation names this type, alone or in a union."""
    return any(one is kind for one in _types_in(annotation))


def _resource_type(tool: str, name: str, kind: Any) -> type:
    """Return the class by which a resource is found. Raises WorkflowError if there is none."""
    found = get_origin(kind) or kind
    is_open_protocol = getattr(found, "_is_protocol", False) and not getattr(
        found, "_is_runtime_protocol", False
    )
    if not isinstance(found, type) or found in _NO_RESOURCE or is_open_protocol:
        raise WorkflowError(
            f"tool {tool}: parameter {name!r} is a Resource of {kind}; it must be one of a class, "
            "or of a protocol with @runtime_checkable"
        )
    return found


def _check_sql(tool: str, kind: type, is_async: bool) -> None:
    """Raise WorkflowError if a function of this kind cannot wait for the statements."""
    other = (_SYNC_SQL if is_async else _ASYNC_SQL).get(kind)
    if other is None:
        return
    if is_async:
        raise WorkflowError(
            f"tool {tool}: an async function takes {other.__name__}, not {kind.__name__}"
        )
    raise WorkflowError(
        f"tool {tool}: takes {kind.__name__}, so it must be an async function; "
        f"a plain one takes {other.__name__}"
    )


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
    reader = next((one for one in (ReadOnly, SyncReadOnly) if one in kinds), None)
    if reader and CallKey in kinds:
        raise WorkflowError(
            f"tool {tool}: takes {reader.__name__} and CallKey; no connection is held while a call "
            "leaves the database, so make it two tools"
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
