"""A conversation as lines on a screen, while it happens or from the journal; what it waits for."""

from typing import assert_never

from twelvefold.cli.output import Write, arguments_text, said, shortened
from twelvefold.core.events import (
    ApprovalAnswered,
    ApprovalAsked,
    Entry,
    ItemRemoved,
    ItemsAdded,
    ModelReplied,
    OutcomeSettled,
    OutcomeUnknown,
    RunFinished,
    RunStarted,
    ToolError,
    ToolFailed,
    ToolSucceeded,
)
from twelvefold.core.failures import error_text, failure_sentence, place_text
from twelvefold.core.ids import CallId, RunId, call_id
from twelvefold.core.thread import Call, Thread
from twelvefold.observe.escape import escape

ERROR_CHARS = 500
"""Characters of an error that are shown."""
Called = ToolSucceeded | ToolFailed | ApprovalAsked | OutcomeUnknown


class Transcript:
    """Obeys `twelvefold.core.ports.Listener`; text appears as it comes in."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._arguments: dict[CallId, str] = {}
        self._streamed = False
        self._mid_line = False

    def text(self, delta: str) -> None:
        if not delta:
            return
        self._streamed = True
        self._mid_line = not delta.endswith("\n")
        self._write(delta, "")

    def restarted(self, why: str) -> None:
        self.end_line()
        self._streamed = False
        self._write(f"(the reply is asked for again: {shortened(why)})\n", "dim")

    def shown(self) -> None:
        """What others can read is on this screen already."""

    def end_line(self) -> None:
        """What is shown next is no part of the reply that came in so far."""
        if self._mid_line:
            self._write("\n", "")
            self._mid_line = False

    def recorded(self, entry: Entry) -> None:
        self.end_line()
        event = entry.event
        match event:
            case RunStarted(items=items) | ItemsAdded(items=items):
                self._write(f"\n> {said(items)}\n", "bold")
            case ItemRemoved(item=item):
                self._write(f"({shortened(item)} was taken out)\n", "dim")
            case ModelReplied():
                self._replied(entry.position, event)
            case ToolSucceeded() | ToolFailed() | ApprovalAsked() | OutcomeUnknown():
                self._called(event)
            case ApprovalAnswered(by=by, approved=approved, reason=reason):
                word = "allowed" if approved else "not allowed"
                self._write(f"  {word} by {_because(by, reason)}\n", "good" if approved else "bad")
            case OutcomeSettled(by=by, settled=settled, result=result):
                self._write(f"  {settled}, says {_because(by, result)}\n", "bold")
            case RunFinished(status="failed", reason=reason, error=error):
                self._write(f"({shortened(failure_sentence(reason, error), ERROR_CHARS)})\n", "bad")
            case RunFinished(status=status, reason=reason):
                if status != "completed":
                    self._write(f"({_because(status, reason.removeprefix(status))})\n", "bad")
            case _:
                assert_never(event)

    def _replied(self, position: int, event: ModelReplied) -> None:
        text = said(event.items)
        if text and not self._streamed:
            self._write(f"{text}\n", "")
        self._streamed = False
        calls = [item for item in event.items if item.get("type") == "function_call"]
        for index, item in enumerate(calls):
            self._arguments[call_id(position, index)] = str(item.get("arguments", ""))

    def _called(self, event: Called) -> None:
        """What became of a call; the call itself in front, the first time."""
        arguments = self._arguments.pop(event.call, None)
        if arguments is not None:
            # Of what a person is to judge nothing may be left out.
            judged = isinstance(event, ApprovalAsked | OutcomeUnknown)
            shown = arguments_text(arguments) if judged else shortened(arguments)
            self._write(f"→ {escape(event.tool)} {shown}\n", "tool")
        match event:
            case ToolSucceeded(result=result):
                self._write(f"  {shortened(result)}\n", "dim")
            case ToolFailed(error=ToolError() as error):
                self._write(f"  {fault_text(error)}\n", "bad")
            case ToolFailed(message=message):
                self._write(f"  {shortened(message)}\n", "bad")
            case ApprovalAsked():
                self._write("  waits for somebody to allow it\n", "bold")
            case OutcomeUnknown():
                self._write("  nobody knows whether this has happened\n", "bold")


def fault_text(error: ToolError) -> str:
    """The exception that a tool raised, and where, on one line."""
    place = place_text(error)
    where = f" ({place})" if place else ""
    return shortened(f"{error_text(error)}{where}", ERROR_CHARS)


def _because(what: str, reason: str) -> str:
    return f"{shortened(what)}: {shortened(reason)}" if reason else shortened(what)


def waiting_for(thread: Thread, run: RunId) -> str:
    """What a person has to do before the run can go on."""
    call = thread.pending[0]
    which = f"{run} --call {call.id}"
    if call.state == "unknown":
        return (
            f"nobody knows whether this has happened: {described(call)}; look, and say so with: "
            f"twelvefold runs settle {which} --done | --retry | --failed"
        )
    return (
        f"waits for somebody to allow {described(call)}; "
        f"answer with: twelvefold runs approve {which} [--deny]"
    )


def described(call: Call) -> str:
    """A call that a person has to judge, with nothing left out."""
    return f"{escape(call.tool)} {arguments_text(call.arguments)}"
