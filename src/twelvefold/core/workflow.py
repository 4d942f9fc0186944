"""Declare workflows: instructions and typed tools."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import cached_property
from types import UnionType
from typing import TYPE_CHECKING, Any, Generic

from twelvefold.core.child_tool import ChildTool, make_child_tool
from twelvefold.core.events import Failure
from twelvefold.core.fan_out import Task
from twelvefold.core.instructions import Instructions, InstructionsFunction, parse_instructions
from twelvefold.core.models import Fallback, check_models
from twelvefold.core.output import OutputType
from twelvefold.core.ports import Transaction
from twelvefold.core.tools.declarations import (
    check_children,
    check_examples,
    check_function,
    check_gates,
    check_opener,
    check_schema,
    check_tools,
    check_workflow_name,
)
from twelvefold.core.tools.rendering import render_result
from twelvefold.core.tools.tool import Tool
from twelvefold.errors import WorkflowError

if TYPE_CHECKING:
    # Only type checkers need the default, and the import takes time.
    from typing_extensions import TypeVar

    Output = TypeVar("Output", default=None)
else:
    from typing import TypeVar

    Output = TypeVar("Output")


@dataclass(frozen=True, slots=True)
class RejectedCall:
    """A call that did not reach its tool; `arguments` is the text that the model wrote.

    `problems` are the reasons. `offered` are the tools that the model could have called.

    Example:
        from twelvefold import RejectedCall, Workflow

        def explain(call: RejectedCall) -> str:
            return f"Error: {call.tool}: {'; '.join(call.problems)}; try {call.offered}"

        workflow = Workflow("desk", "You answer questions.", (), explain=explain)
    """

    failure: Failure
    tool: str
    arguments: str
    problems: tuple[str, ...]
    offered: tuple[str, ...] = ()


def explain(call: RejectedCall) -> str:
    """Return what the model reads about a call that did not reach its tool."""
    return "Error: " + "; ".join(call.problems)


Seeder = Callable[[Transaction, Iterable[Mapping[str, Any]] | None], Awaitable[int]]
"""Writes a workflow's rows, from the records given or its own, and returns how many."""

OpenResources = Callable[[], AbstractAsyncContextManager[object]]
"""Opens a workflow's resources: an async context manager that yields one object, or a tuple."""


@dataclass(frozen=True)
class Workflow(Generic[Output]):
    """Instructions and typed tools.

    `instructions` are a text, or a function of the caller, which is called for each request to the
    model and may also read the database. `output` is the type of the answer that ends a run: a
    Pydantic model, a dataclass, a TypedDict, or another type that has a JSON Schema. An answer that
    does not fit goes back to the model `output_corrections` times at most; then the run fails.

    `model` is the name of the model that replies, or a fallback chain of names; "" is the default
    model, which the variables OPENAI_* describe. `models` are the names of the models that a caller
    may choose as well.

    `schema` is SQL that makes the workflow's own tables and may be run again (`create table if not
    exists`), statements ended by `;`: `twelvefold migrate` runs it. `seed` fills them, from the
    records of a file or, given None, with the workflow's own. `explain` returns what the model
    reads about a call that did not reach its tool. `resources` opens what tools take as `Resource`:
    it is entered once in a process, before the first call that needs it, and left at shutdown.
    `children` are the workflows whose runs its tools start with `FanOut`. `examples` are messages
    that the page offers in an empty conversation.
    Raises WorkflowError if a gate names a tool that does not exist, or if a parameter of a tool has
    a type without a JSON Schema.

    Example:
        from twelvefold import RejectedCall, Workflow

        def explain(call: RejectedCall) -> str:
            return f"Error: {call.tool}: {'; '.join(call.problems)}; try {call.offered}"

        workflow = Workflow("desk", "You answer questions.", (), explain=explain)
    """

    name: str
    instructions: Instructions
    tools: tuple[Tool, ...] = ()
    model: str | Fallback = ""
    models: tuple[str, ...] = ()
    schema: str = ""
    seed: Seeder | None = None
    explain: Callable[[RejectedCall], str] = explain
    resources: OpenResources | None = None
    output: type[Output] | UnionType | None = None
    output_corrections: int = 2
    children: tuple["Workflow[Any]", ...] = ()
    examples: tuple[str, ...] = ()
    by_name: Mapping[str, Tool] = field(init=False, repr=False, compare=False)
    instructions_function: InstructionsFunction | None = field(
        init=False, repr=False, compare=False
    )
    output_type: OutputType | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_workflow_name(self.name)
        check_schema(self.name, self.schema)
        check_function(self.name, "seed", self.seed)
        check_function(self.name, "explain", self.explain)
        check_models(self.name, self.model, self.models)
        check_opener(self.name, self.resources)
        check_examples(self.name, self.examples)
        tools = check_tools(self.name, self.tools, Tool)
        by_name = {one.name: one for one in tools}
        check_gates(self.name, by_name)
        for one in tools:
            one.parameters.check()
        object.__setattr__(self, "tools", tools)
        object.__setattr__(self, "by_name", by_name)
        function = parse_instructions(self.name, self.instructions)
        object.__setattr__(self, "instructions_function", function)
        object.__setattr__(self, "output_type", self._check_output())
        self._check_children()

    def _check_output(self) -> OutputType | None:
        most = self.output_corrections
        if isinstance(most, bool) or not isinstance(most, int) or most < 0:
            raise WorkflowError(
                f"workflow {self.name}: output_corrections is an integer from 0, not {most!r}"
            )
        if self.output is None:
            return None
        if isinstance(self.output, str):
            raise WorkflowError(f"workflow {self.name}: output is a type, not its name")
        output = OutputType(self.name, self.output)
        output.check()
        return output

    def _check_children(self) -> None:
        check_children(self.name, self.children, Workflow)
        for one in self.tools:
            if not isinstance(one, ChildTool) or not one.hand_off:
                continue
            if self.output not in (None, one.child.output):
                raise WorkflowError(
                    f"workflow {self.name}: {one.name} hands off to {one.child.name}, whose output "
                    "has another type"
                )

    @cached_property
    def needs_gate(self) -> bool:
        """Whether its runs write entries that an older release does not know."""
        may_wait = any(one.may_wait or one.approval_timeout_s for one in self.tools)
        return self.output is not None or may_wait or self.starts_runs

    @cached_property
    def starts_runs(self) -> bool:
        """Whether its tools may start runs of other workflows."""
        return any(isinstance(one, ChildTool) or one.fans_out for one in self.tools)

    @property
    def started_workflows(self) -> tuple["Workflow[Any]", ...]:
        """The workflows whose runs its tools may start, each of them once."""
        tools = (one.child for one in self.tools if isinstance(one, ChildTool))
        return tuple({id(one): one for one in (*tools, *self.children)}.values())

    def as_tool(
        self,
        description: str,
        *,
        name: str = "",
        hand_off: bool = False,
        input: Any = None,
    ) -> Tool:
        """Return a tool for another workflow: its call runs this workflow, as a run of its own.

        The model writes the input as a text, or the fields of `input`: a Pydantic model, a
        dataclass or a TypedDict, which this workflow gets as JSON. The call's result is the answer
        of that run. `hand_off`: its answer is also the answer of the calling run, which ends
        with it. `name`: the name of the tool, by default that of this workflow. Raises
        WorkflowError.

        Example:
            from twelvefold import Workflow

            billing = Workflow("billing", "You answer questions about bills.", ())
            support = Workflow("support", "You help.", (billing.as_tool("Asks about bills."),))
        """
        return make_child_tool(self, description, name, hand_off=hand_off, input=input)

    def task(self, input: object) -> Task:
        """Return a run of this workflow for a `FanOut`; an input that is no text becomes JSON."""
        return Task(self.name, render_result(input))
