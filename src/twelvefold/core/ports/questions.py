"""The port of questions: those of tools that wait for the answer of a person."""

from typing import NamedTuple, Protocol

from twelvefold.core.events import WaitStarted
from twelvefold.core.ids import CallId, RunId, ThreadId


class OpenQuestion(NamedTuple):
    """A question that waits for the answer of `person`; `wait` has its text and its schema.

    `call` of `run` asks it, of the workflow `workflow`, since `asked_us`, in microseconds since
    1970.
    """

    run: RunId
    call: CallId
    person: str
    workflow: str
    asked_us: int
    wait: WaitStarted


class QuestionStore(Protocol):
    """Open questions. Every method may raise StoreUnavailable (repeat it) or StoreRefused.

    A step that asks a question adds it, and one that ends its wait or its run removes it, in the
    step's transaction.
    """

    async def questions(
        self,
        person: str,
        *,
        limit: int,
        after: tuple[ThreadId, CallId] | None = None,
        newest_first: bool = True,
    ) -> list[OpenQuestion]:
        """Return questions that wait for a person, those after a question that the person had.

        That one may have been answered since. Raises NotFound if the person never had it. Leaves
        out questions whose time is over, and those of runs with a cancel request.
        """
        ...

    async def add_missing_questions(self, *, limit: int) -> int:
        """Add at most `limit` questions that an older release has asked; return their number."""
        ...
