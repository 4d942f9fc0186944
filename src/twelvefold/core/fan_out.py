"""Runs of other workflows that a tool starts: the values that its function returns for that."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from msgspec import Struct

from twelvefold.core.events import Join
from twelvefold.errors import WorkflowError


class Task(Struct, frozen=True):
    """One run for a `FanOut`: the name of a workflow, and its input; made by `Workflow.task`.

    Raises WorkflowError if one of them is no text.
    """

    workflow: str
    input: str

    def __post_init__(self) -> None:
        if not isinstance(self.workflow, str) or not isinstance(self.input, str):
            raise WorkflowError(f"{self!r} has a name and a text; make it by workflow.task(…)")


@dataclass(frozen=True, slots=True, init=False)
class FanOut:
    """What a tool returns to start runs of other workflows, which all run at the same time.

    The call's result is a JSON list with the answers in the order of `tasks`. `join` "all" waits
    for all of them; a task that did not complete has an object with its `error` in the list.
    "first" waits for the first answer, and a number for as many answers; the other runs are
    cancelled then, and are null in the list. The tool names FanOut in its return annotation and is
    not called again. Its workflow names the other workflows in `children`.

    Example:
        import asyncio

        from twelvefold import FanOut, Workflow, tool

        lookup = Workflow("lookup", "You look products up.", ())

        from twelvefold import FanOut, Workflow, tool

        lookup = Workflow("lookup", "Look a product up.")

        @tool(effect="pure")
        async def compare(products: list[str]) -> FanOut:
            \"\"\"Look up several products at once.\"\"\"
            return FanOut(lookup.task(product) for product in products)

        workflow = Workflow("shop", "You sell.", (compare,), children=(lookup,))
        assert len(asyncio.run(compare(["a lamp", "a rug"])).tasks) == 2
    """

    tasks: tuple[Task, ...]
    join: Literal["all", "first"] | int

    def __init__(self, tasks: Iterable[Task], join: Literal["all", "first"] | int = "all") -> None:
        """Raises WorkflowError without tasks, or if `join` is more than there are."""
        found = tuple(tasks) if isinstance(tasks, Iterable) else ()
        if not found or not all(isinstance(one, Task) for one in found):
            raise WorkflowError("FanOut takes at least one task, made by workflow.task(…)")
        if join not in ("all", "first") and not _is_quorum(join, len(found)):
            raise WorkflowError(f"FanOut: join is all, first or 1 to {len(found)}, not {join!r}")
        object.__setattr__(self, "tasks", found)
        object.__setattr__(self, "join", join)

    @property
    def join_name(self) -> Join:
        """The join as the journal names it."""
        return self.join if isinstance(self.join, str) else "quorum"

    @property
    def quorum(self) -> int:
        """How many runs must complete; 0 for "all" and "first"."""
        return 0 if isinstance(self.join, str) else self.join


def _is_quorum(join: object, tasks: int) -> bool:
    return isinstance(join, int) and not isinstance(join, bool) and 1 <= join <= tasks
