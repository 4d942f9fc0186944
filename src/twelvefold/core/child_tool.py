"""Tools whose call runs another workflow; made by `Workflow.as_tool`."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from twelvefold.core.output import BadOutput, OutputType
from twelvefold.core.tools.declarations import check_name
from twelvefold.core.tools.schema import BadArguments, Parameters
from twelvefold.core.tools.strict_mode import JsonSchema, is_strict
from twelvefold.core.tools.tool import Tool
from twelvefold.errors import WorkflowError

if TYPE_CHECKING:
    from twelvefold.core.workflow import Workflow

INPUT = "input"
"""The argument that is the child's input."""


@dataclass(frozen=True, kw_only=True)
class ChildTool(Tool):
    """A tool whose call starts a run of `child`. `hand_off`: the child's answer ends the run.

    `input` is the type of the child's input; None: a text.
    """

    child: "Workflow[Any]"
    hand_off: bool = False
    input: OutputType | None = None

    @cached_property
    def parameters(self) -> Parameters:
        """The parameters that the model fills: `input`, or the fields of the input's type."""
        if self.input is not None:
            return _TypedInput(self.name, self.input)
        return Parameters(self.name, self.model_parameters)


def make_child_tool(
    child: "Workflow[Any]", description: str, name: str, *, hand_off: bool, input: Any
) -> ChildTool:
    """Return the tool. Raises WorkflowError if its name or the type of its input cannot be used."""
    tool_name = check_name(name or child.name)
    if not isinstance(description, str) or not description.strip():
        raise WorkflowError(f"tool {tool_name}: the model needs a description of it")
    kind = inspect.Parameter.KEYWORD_ONLY
    text = inspect.Parameter(INPUT, kind, annotation=str)
    return ChildTool(
        name=tool_name,
        description=description,
        effect="workflow",
        function=_not_callable,
        handed_in={},
        model_parameters={INPUT: text},
        child=child,
        hand_off=hand_off,
        input=None if input is None else OutputType(child.name, input),
    )


def _not_callable(**_: object) -> NoReturn:
    raise WorkflowError("a workflow as a tool is run by the engine; call it in a run")


class _TypedInput(Parameters):
    """The fields of an input's type. The parsed arguments are the input as JSON text."""

    def __init__(self, tool: str, kind: OutputType) -> None:
        super().__init__(tool, {})
        self._kind = kind

    @cached_property
    def schema(self) -> JsonSchema:
        return self._kind.schema

    @cached_property
    def strict(self) -> bool:
        return is_strict(self.schema)

    def check(self) -> None:
        self._kind.check()

    def prepare(self) -> None:
        self._kind.prepare()

    def parse(self, arguments: str) -> Mapping[str, Any]:  # type: ignore[override]
        try:
            value = self._kind.parse(arguments)
        except BadOutput as error:
            raise BadArguments(*error.problems) from None
        return {INPUT: self._kind.dump(value)}
