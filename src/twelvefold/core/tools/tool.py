"""Declare tools. The signature of a tool's function declares its effect.

| takes | effect | after a crash during a call |
|---|---|---|
| `Transaction` | transactional | rolled back, run again: exactly once |
| `ReadOnly` | readonly | run again |
| `CallKey` | idempotent | run again with the same key |
| none of them | `effect="pure"` or `"unsafe"` declares it | run again · a person decides |

A tool is an async function, or a plain one, which runs in a thread and takes no connection.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, cast, overload

from twelvefold.core.ports import ToolSpec
from twelvefold.core.tools.declarations import (
    check_approval,
    check_limits,
    check_name,
    parse_tool_names,
)
from twelvefold.core.tools.schema import Parameters
from twelvefold.core.tools.signature import Effect, find_effect, location_of, split_parameters

Approval = bool | Callable[[dict[str, Any]], bool]


@dataclass(frozen=True)
class Tool:
    """A function that the model may call; made by `tool`.

    `handed_in` are the parameters that the engine fills, by name. The gates are described at
    `tool`. `is_async`: the function is awaited; otherwise it is called in a thread.
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

    async def __call__(self, *args: Any, **kwargs: Any) -> object:
        """Call the function itself, for example in a test."""
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
    """Declare a function as a tool; the model reads its docstring as the description.

    The function is async, or takes no Transaction and no ReadOnly and runs in a thread.

    `requires`: the tool is offered, and calls are accepted, only after each of these tools
    succeeded in the thread. `after_refusal`: only after one of these refused. `once`: not again
    after it succeeded in the thread. `max_calls`: the maximum in one run. `approval`: a person must
    approve the call; a function of the arguments returns whether. `timeout_s` bounds one call.
    Raises WorkflowError if the declaration is wrong, for example if it declares no effect.
    """

    def declare(function: Callable[..., object]) -> Tool:
        tool_name = check_name(name or getattr(function, "__name__", ""))
        check_limits(tool_name, max_calls, timeout_s)
        check_approval(tool_name, approval)
        handed_in, model_parameters = split_parameters(tool_name, function)
        return Tool(
            name=tool_name,
            description=inspect.getdoc(function) or "",
            effect=find_effect(tool_name, handed_in, effect),
            function=function,
            handed_in=handed_in,
            model_parameters=model_parameters,
            requires=parse_tool_names(tool_name, "requires", requires),
            after_refusal=parse_tool_names(tool_name, "after_refusal", after_refusal),
            once=once,
            max_calls=max_calls,
            approval=approval,
            timeout_s=timeout_s,
        )

    return declare if function is None else declare(function)
