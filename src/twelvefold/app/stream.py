"""The events of a stream, made from a run's journal and from the pieces of replies.

The same events come from a run that this process drives and from one that another process drives.
After a kill the next process requests the reply again: a `TextRestarted` makes the pieces void.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal

from twelvefold.app.run import Output, Run, ToolCall, as_approved, requested_calls, with_result
from twelvefold.app.texts import item_text
from twelvefold.core import (
    ApprovalAnswered,
    Delta,
    Entry,
    JournalDelta,
    ModelReplied,
    RunId,
    ToolFailed,
    ToolSucceeded,
)


@dataclass(frozen=True, slots=True)
class RunBegan:
    """The first event: the ids with which another process can read or resume the run."""

    id: str
    conversation: str
    kind: Literal["started"] = "started"


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the model's reply."""

    text: str
    kind: Literal["text"] = "text"


@dataclass(frozen=True, slots=True)
class TextRestarted:
    """The pieces of the current reply are void: the reply is requested again."""

    kind: Literal["restarted"] = "restarted"


@dataclass(frozen=True, slots=True)
class ToolCalled:
    """The model has called a tool; the call is in the journal and has not begun or is running."""

    call: str
    tool: str
    arguments: Mapping[str, Any]
    kind: Literal["tool_called"] = "tool_called"


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """A call has a result, which is in the journal."""

    call: ToolCall
    kind: Literal["tool_finished"] = "tool_finished"


@dataclass(frozen=True, slots=True)
class RunWaits(Generic[Output]):
    """The last event of a run that waits: `run.waiting` has the calls."""

    run: Run[Output]
    kind: Literal["waiting"] = "waiting"


@dataclass(frozen=True, slots=True)
class RunStopped(Generic[Output]):
    """The last event if a service failed: `run.error` says which. Any process may continue it."""

    run: Run[Output]
    kind: Literal["stopped"] = "stopped"


@dataclass(frozen=True, slots=True)
class RunEnded(Generic[Output]):
    """The last event of a run that is over."""

    run: Run[Output]
    kind: Literal["finished"] = "finished"


Progress = RunBegan | TextDelta | TextRestarted | ToolCalled | ToolFinished
RunEvent = Progress | RunWaits[Output] | RunStopped[Output] | RunEnded[Output]
"""What `App.stream` yields. `kind` tells the events apart, also for a type checker.

Example:
    import asyncio

    from examples.shopping import workflow
    from twelvefold import App, Settings

    async def main() -> None:
        async with App([workflow], settings=Settings(database_url="sqlite:///shop.db")) as app:
            async for event in app.stream(workflow, "Put milk on the list"):
                if event.kind == "text":
                    print(event.text, end="")

    asyncio.run(main())
"""


def last_event(run: Run[Output]) -> RunWaits[Output] | RunStopped[Output] | RunEnded[Output]:
    """Return the event that ends the stream of a run."""
    if run.is_over:
        return RunEnded(run)
    return RunWaits(run) if run.status == "waiting" else RunStopped(run)


class EventSource:
    """Follows one run and passes its events to `emit`.

    It is a listener of a run that is driven here, and reads the journal of one that is not.
    """

    is_streaming = True

    def __init__(self, run: RunId, position: int, emit: Callable[[Progress], None]) -> None:
        """Begin after the entry at `position`."""
        self.position = position
        self._run = run
        self._emit = emit
        self._delta_number = 0
        self._shown = ""  # the text of the current reply that was emitted
        self._calls: dict[str, ToolCall] = {}

    @property
    def deltas_after(self) -> tuple[int, int]:
        """The position and the number of the last piece that was read."""
        return self.position + 1, self._delta_number

    def text(self, delta: str) -> None:
        """Emit a piece of the current reply."""
        if delta:
            self._shown += delta
            self._emit(TextDelta(delta))

    def restarted(self, why: str) -> None:
        """Emit that the pieces of the current reply are void, if there were any."""
        if self._shown:
            self._shown = ""
            self._emit(TextRestarted())

    def shown(self) -> None:
        """Do nothing: this reader has the pieces already."""

    def moved(self) -> None:
        """Another process drives the run: it requests the current reply again."""
        self.restarted("")
        self._delta_number = 0

    def read(self, delta: JournalDelta) -> None:
        """Emit the new entries and pieces of a run that another process drives."""
        pieces = iter(delta.deltas)
        waiting = next(pieces, None)
        for entry in delta.entries:
            while waiting and waiting.position <= entry.position:
                self._read_piece(waiting)
                waiting = next(pieces, None)
            self.recorded(entry)
        while waiting:
            self._read_piece(waiting)
            waiting = next(pieces, None)

    def _read_piece(self, piece: Delta) -> None:
        if (piece.position, piece.number) <= self.deltas_after:
            return
        if piece.position != self.position + 1:
            return  # its entry is here already, or one before it is not
        self._delta_number = piece.number
        if piece.kind == "restarted":
            self.restarted("")
        else:
            self.text(piece.text)

    def recorded(self, entry: Entry) -> None:
        """Emit what an entry says."""
        if entry.position <= self.position:
            return
        self.position, self._delta_number = entry.position, 0
        if entry.run != self._run.ordinal:
            return
        match entry.event:
            case ModelReplied() as reply:
                self._end_text(reply)
                self._request_calls(entry.position, reply)
            case ApprovalAnswered() as answered if answered.call in self._calls:
                call = as_approved(self._calls[answered.call], answered)
                self._calls[call.id] = call
            case ToolSucceeded() | ToolFailed() as result if result.call in self._calls:
                self._emit(ToolFinished(with_result(self._calls[result.call], result)))
            case _:
                pass

    def _end_text(self, reply: ModelReplied) -> None:
        """Emit the rest of a reply's text, which a reader of the journal may not have seen."""
        messages = (item for item in reply.items if item.get("type", "message") == "message")
        # A text that is no valid output is held back; the model is asked again.
        text = "" if reply.problems else "".join(map(item_text, messages))
        if not text.startswith(self._shown):
            self.restarted("")
        self.text(text[len(self._shown) :])
        self._shown = ""

    def _request_calls(self, position: int, reply: ModelReplied) -> None:
        for call in requested_calls(position, reply):
            self._calls[call.id] = call
            self._emit(ToolCalled(call.id, call.tool, call.arguments))


class NoEvents:
    """Follows a run without events: nothing is read of it while another process drives it."""

    is_streaming = False
    position = 0
    deltas_after = (0, 0)

    def text(self, delta: str) -> None:
        """Do nothing."""

    def restarted(self, why: str) -> None:
        """Do nothing."""

    def recorded(self, entry: Entry) -> None:
        """Do nothing."""

    def shown(self) -> None:
        """Do nothing."""

    def moved(self) -> None:
        """Do nothing."""

    def read(self, delta: JournalDelta) -> None:
        """Do nothing."""
