"""How a workflow and its tools are declared: a function's signature says what it may do.

| takes | effect | after a crash in mid-call |
|---|---|---|
| `Transaction` | transactional | rolled back, run again: exactly once |
| `ReadOnly` | readonly | run again |
| `CallKey` | idempotent | run again with the same key |
| none of them | `effect="pure"` or `"unsafe"` must be said | run again · a person decides |

A tool is an async function, or a plain one, which runs in a thread and takes no connection.
"""

import inspect
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal, cast, get_args, get_origin, get_type_hints, overload

from twelvefold.core.declarations import (
    check_approval,
    check_gates,
    check_limits,
    repeated,
    tool_names,
)
from twelvefold.core.events import Failure
from twelvefold.core.ports import CallKey, Principal, ReadOnly, ToolSpec, Transaction
from twelvefold.core.schema import Parameters
from twelvefold.errors import WorkflowError

Effect = Literal["transactional", "readonly", "idempotent", "pure", "unsafe"]
Approval = bool | Callable[[dict[str, Any]], bool]
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""Source: `tools[].name` of the Responses API."""
HANDED_IN = (Transaction, ReadOnly, Principal, CallKey)
_EFFECT_OF: tuple[tuple[type, Effect], ...] = (
    (Transaction, "transactional"),
    (ReadOnly, "readonly"),
    (CallKey, "idempotent"),
)


@dataclass(frozen=True)
class Tool:
    """A function that the model may call; made by `tool`.

    `handed_in` are the parameters that the engine fills, by name. The gates are described at
    `tool`.
    """

    name: str
    description: str
    effect: Effect
    function: Callable[..., object]
    handed_in: Mapping[str, type]
    model_parameters: Mapping[str, inspect.Parameter]
    requires: tuple[str, ...] = ()
    after_refusal: tuple[str, ...] = ()
    once: bool = False
    max_calls: int | None = None
    approval: Approval = False
    timeout_s: float = 60.0

    @cached_property
    def parameters(self) -> Parameters:
        """What the model fills in; built on first use, since Pydantic is slow to start."""
        return Parameters(self.name, self.model_parameters, _place_of(self.function))

    @cached_property
    def spec(self) -> ToolSpec:
        return ToolSpec(self.name, self.description, self.parameters.schema, self.parameters.strict)

    @property
    def is_async(self) -> bool:
        """Whether the function is awaited; else it is called in a thread."""
        return inspect.iscoroutinefunction(self.function)

    def prepare(self) -> None:
        """Build what is built on first use. Raises WorkflowError."""
        _ = self.spec
        self.parameters.prepare()

    async def __call__(self, *args: Any, **kwargs: Any) -> object:
        """Call the function itself, as a test of it would."""
        returned = self.function(*args, **kwargs)
        return await cast("Awaitable[object]", returned) if self.is_async else returned


@overload
def tool(function: Callable[..., object], /) -> Tool: ...
@overload
def tool(
    *,
    name: str = "",
    effect: Literal["pure", "unsafe"] | None = None,
    requires: str | tuple[str, ...] = (),
    after_refusal: str | tuple[str, ...] = (),
    once: bool = False,
    max_calls: int | None = None,
    approval: Approval = False,
    timeout_s: float = 60.0,
) -> Callable[[Callable[..., object]], Tool]: ...
def tool(
    function: Callable[..., object] | None = None,
    /,
    *,
    name: str = "",
    effect: Literal["pure", "unsafe"] | None = None,
    requires: str | tuple[str, ...] = (),
    after_refusal: str | tuple[str, ...] = (),
    once: bool = False,
    max_calls: int | None = None,
    approval: Approval = False,
    timeout_s: float = 60.0,
) -> Tool | Callable[[Callable[..., object]], Tool]:
    """Declare a function as a tool; its docstring is what the model reads.

    An async function, or one that takes no Transaction and no ReadOnly: that runs in a thread.

    `requires`: offered, and accepted, only after each of these tools succeeded in the thread.
    `after_refusal`: only after one of these refused. `once`: not again after it succeeded in the
    thread. `max_calls`: so often in a run. `approval`: a person must allow the call; a function
    of the arguments says which. Raises WorkflowError if the signature does not say its effect.
    """

    def declared(function: Callable[..., object]) -> Tool:
        tool_name = name or getattr(function, "__name__", "")
        check_limits(tool_name, max_calls, timeout_s)
        if not _TOOL_NAME.fullmatch(tool_name):
            raise WorkflowError(
                f"tool {tool_name!r}: a name has 1 to 64 letters, digits, _ or -; give it by name="
            )
        check_approval(tool_name, approval)
        handed_in, model_parameters = _split_parameters(tool_name, function)
        return Tool(
            name=tool_name,
            description=inspect.getdoc(function) or "",
            effect=_effect_of(tool_name, handed_in, effect),
            function=function,
            handed_in=handed_in,
            model_parameters=model_parameters,
            requires=tool_names(tool_name, "requires", requires),
            after_refusal=tool_names(tool_name, "after_refusal", after_refusal),
            once=once,
            max_calls=max_calls,
            approval=approval,
            timeout_s=timeout_s,
        )

    return declared if function is None else declared(function)


def _split_parameters(
    name: str, function: Callable[..., object]
) -> tuple[dict[str, type], dict[str, inspect.Parameter]]:
    is_async = _is_async(name, function)
    try:
        hints = get_type_hints(function, include_extras=True)
    except (NameError, TypeError, SyntaxError) as error:
        raise WorkflowError(f"tool {name}: its types cannot be read: {error}") from error
    handed_in: dict[str, type] = {}
    model_parameters: dict[str, inspect.Parameter] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
            parameter.POSITIONAL_ONLY,
        ):
            raise WorkflowError(f"tool {name}: {parameter} has no name that the model could use")
        hint = hints.get(parameter.name)
        if hint is None:
            raise WorkflowError(f"tool {name}: parameter {parameter.name!r} needs a type")
        if type(parameter.default).__name__ == "FieldInfo":
            raise WorkflowError(
                f"tool {name}: parameter {parameter.name!r} has a Field as its default; "
                "write Annotated[type, Field(…)]"
            )
        plain = get_args(hint)[0] if get_origin(hint) is Annotated else hint
        if plain in HANDED_IN:
            if plain in (Transaction, ReadOnly) and not is_async:
                raise WorkflowError(
                    f"tool {name}: takes {plain.__name__}, so it must be an async function"
                )
            handed_in[parameter.name] = cast("type", plain)
        else:
            model_parameters[parameter.name] = parameter.replace(annotation=hint)
    return handed_in, model_parameters


def _is_async(name: str, function: Callable[..., object]) -> bool:
    if inspect.iscoroutinefunction(function):
        return True
    if not inspect.isroutine(function):
        raise WorkflowError(f"tool {name}: must be a function")
    inner = inspect.unwrap(function)
    if inspect.iscoroutinefunction(inner):
        raise WorkflowError(
            f"tool {name}: a decorator has made a plain function of an async one; make it async"
        )
    if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
        raise WorkflowError(f"tool {name}: must return its result, not yield it")
    return False


def _place_of(function: Callable[..., object]) -> str:
    """Where the function stands, for the author; "" where that is not known."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}, line {code.co_firstlineno}" if code else ""


def _effect_of(name: str, handed_in: Mapping[str, type], said: Effect | None) -> Effect:
    if {ReadOnly, CallKey} <= set(handed_in.values()):
        raise WorkflowError(
            f"tool {name}: takes ReadOnly and CallKey; no connection is held while a call leaves "
            "the database, so make it two tools"
        )
    for kind, effect in _EFFECT_OF:
        if kind in handed_in.values():
            if said is not None:
                raise WorkflowError(
                    f"tool {name}: takes {kind.__name__}, so its effect is {effect}, not {said}"
                )
            return effect
    if said is None:
        raise WorkflowError(
            f"tool {name}: takes none of Transaction, ReadOnly, CallKey; "
            'say effect="pure" if it changes nothing anywhere, else effect="unsafe"'
        )
    if said not in ("pure", "unsafe"):
        raise WorkflowError(f"tool {name}: effect is pure or unsafe, not {said!r}")
    return said


@dataclass(frozen=True, slots=True)
class RejectedCall:
    """A call that never reached its tool; `arguments` is the text that the model wrote."""

    failure: Failure
    tool: str
    arguments: str
    problems: tuple[str, ...]
    offered: tuple[str, ...] = ()


def explain(bad: RejectedCall) -> str:
    """What the model reads about a call that never reached its tool."""
    return "Error: " + "; ".join(bad.problems)


Seeder = Callable[[Transaction, Iterable[Mapping[str, Any]] | None], Awaitable[int]]


@dataclass(frozen=True)
class Workflow:
    """Instructions plus typed tools.

    `schema` is SQL that makes the workflow's own tables and may be run again (`create table if not
    exists`), statements ended by `;`: `twelvefold migrate` runs it. `seed` fills them, from the
    records of a file or, given None, with the workflow's own. `explain` words what the model
    reads about a call that never reached its tool. Raises WorkflowError if a gate names a tool
    that is not there, or if a parameter of a tool has a type without a JSON Schema.
    """

    name: str
    instructions: str
    tools: tuple[Tool, ...]
    schema: str = ""
    seed: Seeder | None = None
    explain: Callable[[RejectedCall], str] = explain
    by_name: Mapping[str, Tool] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for part in ("name", "instructions", "schema"):
            if not isinstance(given := getattr(self, part), str):
                kind = type(given).__name__
                raise WorkflowError(f"workflow {self.name}: {part} is a string, not a {kind}")
        tools = _tools_of(self.name, self.tools)
        by_name = {one.name: one for one in tools}
        if len(by_name) < len(tools):
            names = ", ".join(repeated(one.name for one in tools))
            raise WorkflowError(f"workflow {self.name}: two tools have the same name: {names}")
        check_gates(self.name, by_name)
        for one in tools:
            one.parameters.check()
        object.__setattr__(self, "tools", tools)
        object.__setattr__(self, "by_name", by_name)


def _tools_of(workflow: str, given: object) -> tuple[Tool, ...]:
    if isinstance(given, Tool):
        raise WorkflowError(
            f"workflow {workflow}: tools is the tool {given.name}, not a tuple; "
            f"write tools=({given.name},)"
        )
    if not isinstance(given, Iterable):
        raise WorkflowError(f"workflow {workflow}: tools is {given!r}, not a tuple of tools")
    tools = tuple(given)
    for one in tools:
        if not isinstance(one, Tool):
            named = getattr(one, "__name__", repr(one))
            raise WorkflowError(f"workflow {workflow}: {named} is no tool; put @tool above it")
    return tools
