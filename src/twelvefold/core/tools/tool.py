"""Declare tools. The signature of a tool's function declares its effect.

| takes | effect | after a crash during a call |
|---|---|---|
| `Transaction` | transactional | rolled back, run again: exactly once |
| `ReadOnly` | readonly | run again |
| `CallKey` | idempotent | run again with the same key |
| none of them | `effect="pure"` or `"unsafe"` declares it | run again · a person decides |

`SyncTransaction` and `SyncReadOnly` are the same for a plain function. A tool is an async function,
or a plain one, which runs in a thread.
"""

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, Literal, Protocol, cast, overload

from typing_extensions import ParamSpec, TypeVar

from twelvefold.core.ports import ToolSpec
from twelvefold.core.tools.declarations import (
    check_approval,
    check_limits,
    check_name,
    parse_tool_names,
)
from twelvefold.core.tools.schema import Parameters
from twelvefold.core.tools.signature import (
    Effect,
    find_effect,
    location_of,
    read_signature,
)
from twelvefold.errors import WorkflowError

Approval = bool | Callable[[dict[str, Any]], bool]
P = ParamSpec("P", default=...)
R = TypeVar("R", default=Any, covariant=True)


@dataclass(frozen=True)
class Tool(Generic[P, R]):
    """A function that the model may call; made by `tool`.

    P are the parameters of the function and R is its result; a bare `Tool` is any tool. `handed_in`
    are the parameters that the engine fills, by name, and `resources` those that it fills with
    resources of the workflow. `may_wait`: it may return a `Wait` or an `Ask`; `fans_out`: a
    `FanOut`. The gates are described at `tool`. `is_async`: the function is awaited; otherwise it
    is called in a thread.

    Example:
        import asyncio

        from twelvefold import Tool, tool

        @tool(effect="pure")
        async def double(number: int) -> int:
            \"\"\"Double a number.\"\"\"
            return 2 * number

        tools: list[Tool] = [double]
        assert asyncio.run(double(4)) == 8
        assert (double.name, double.effect) == ("double", "pure")
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
    resources: Mapping[str, type] = field(default_factory=dict)
    fans_out: bool = False
    may_wait: bool = False
    approval_timeout_s: float | None = None
    is_async: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_async", inspect.iscoroutinefunction(self.function))

    @cached_property
    def parameters(self) -> Parameters:
        """The parameters that the model fills; built on first use, since Pydantic starts slowly."""
        return Parameters(self.name, self.model_parameters, location_of(self.function))

    @cached_property
    def spec(self) -> ToolSpec:
        """The tool as the model sees it. Raises WorkflowError."""
        return ToolSpec(self.name, self.description, self.parameters.schema, self.parameters.strict)

    def prepare(self) -> None:
        """Build now what the first use would build. Raises WorkflowError."""
        _ = self.spec
        self.parameters.prepare()

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself, for example in a test. A plain one is called in this thread."""
        returned = self.function(*args, **kwargs)
        return cast("R", await cast("Awaitable[R]", returned) if self.is_async else returned)


class ToolDecorator(Protocol):
    """What `tool(…)` returns: it makes a tool of a function, with the function's signature."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Tool[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Tool[P, R]: ...


@overload
def tool(function: Callable[P, Coroutine[Any, Any, R]], /) -> Tool[P, R]: ...
@overload
def tool(function: Callable[P, R], /) -> Tool[P, R]: ...
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
    approval_timeout_s: float | None = None,
    timeout_s: float = 60.0,
) -> ToolDecorator: ...
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
    approval_timeout_s: float | None = None,
    timeout_s: float = 60.0,
) -> Tool | ToolDecorator:
    """Declare a function as a tool; the model reads its docstring as the description.

    A plain function runs in a thread; it may take SyncTransaction or SyncReadOnly. The tool keeps
    the function's signature: `await my_tool(…)` is checked and returns the function's result.

    `requires`: the tool is offered, and calls are accepted, only after each of these tools
    succeeded in the thread. `after_refusal`: only after one of these refused. `once`: not again
    after it succeeded in the thread. `max_calls`: the maximum in one run. `approval`: a person must
    approve the call; a function of the arguments returns whether. Without an answer within
    `approval_timeout_s` the call is denied. `timeout_s` bounds one call. A function whose return
    annotation names `Wait` or `Ask` may let the run wait; one that names `FanOut` may start runs of
    other workflows.
    Raises WorkflowError if the declaration is wrong, for example if it declares no effect.

    Example:
        from twelvefold import Principal, ToolRefused, Transaction, tool

        @tool(once=True, approval=lambda arguments: arguments["seats"] > 3)
        async def reserve(tx: Transaction, who: Principal, course: str, seats: int) -> str:
            \"\"\"Reserve seats in a course for the caller.\"\"\"
            taken = await tx.execute(
                "update courses set free = free - :n where code = :code and free >= :n",
                code=course,
                n=seats,
            )
            if not taken:
                raise ToolRefused(f"{course} has fewer seats; ask for another course")
            return f"reserved for {who.id}"
    """

    def declare(function: Callable[..., object]) -> Tool:
        tool_name = check_name(name or getattr(function, "__name__", ""))
        check_limits(tool_name, max_calls, timeout_s)
        check_approval(tool_name, approval, approval_timeout_s)
        signature = read_signature(tool_name, function)
        found_effect = find_effect(tool_name, signature.handed_in, effect)
        if signature.fans_out and found_effect in ("unsafe", "idempotent"):
            raise WorkflowError(
                f"tool {tool_name}: returns FanOut, so its effect is not {found_effect}; let a "
                "tool with a Transaction or without an effect start the runs"
            )
        return Tool(
            name=tool_name,
            description=inspect.getdoc(function) or "",
            effect=found_effect,
            fans_out=signature.fans_out,
            function=function,
            handed_in=signature.handed_in,
            resources=signature.resources,
            may_wait=signature.may_wait,
            approval_timeout_s=approval_timeout_s,
            model_parameters=signature.model_parameters,
            requires=parse_tool_names(tool_name, "requires", requires),
            after_refusal=parse_tool_names(tool_name, "after_refusal", after_refusal),
            once=once,
            max_calls=max_calls,
            approval=approval,
            timeout_s=timeout_s,
        )

    return cast("ToolDecorator", declare) if function is None else declare(function)
