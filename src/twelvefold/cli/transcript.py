"""A conversation as lines on a screen, live or from the journal, and what a run waits for."""

import json
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import assert_never

from twelvefold.app.texts import messages_text
from twelvefold.cli.arguments.common import LOCAL
from twelvefold.cli.output import Style, Write, abbreviate, arguments_text, input_text
from twelvefold.core import (
    ApprovalAnswered,
    ApprovalAsked,
    Call,
    CallId,
    ChildAnswered,
    ChildAsked,
    ChildrenStarted,
    Entry,
    ItemRemoved,
    ItemsAdded,
    ModelReplied,
    OutcomeSettled,
    OutcomeUnknown,
    RunFinished,
    RunId,
    RunStarted,
    Thread,
    ToolError,
    ToolFailed,
    ToolSucceeded,
    WaitEnd,
    WaitEnded,
    WaitStarted,
    call_id,
    error_text,
    failure_sentence,
    is_rejected,
    place_text,
)
from twelvefold.core.answers import question_of
from twelvefold.core.children import awaited_runs
from twelvefold.engine.waiting_calls import WaitingCall
from twelvefold.observe.escape import escape

ERROR_CHARS = 500
"""Characters of an error that are shown."""
CallEvent = (
    ToolSucceeded | ToolFailed | ApprovalAsked | WaitStarted | ChildrenStarted | OutcomeUnknown
)


class Transcript:
    """A `twelvefold.core.ports.Listener` that writes text as it arrives."""

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
        self._write(delta, "prose")

    def restarted(self, why: str) -> None:
        self.end_line()
        self._streamed = False
        self._write(f"(requesting the reply again: {abbreviate(why)})\n", "dim")

    def shown(self) -> None:
        """Do nothing: the text is on this screen already."""

    def end_line(self) -> None:
        """End the line of a reply that has been streamed so far."""
        if self._mid_line:
            self._write("\n", "prose")
            self._mid_line = False

    def recorded(self, entry: Entry) -> None:
        self.end_line()
        event = entry.event
        match event:
            case RunStarted(items=items) | ItemsAdded(items=items):
                self._write(f"\n> {input_text(items)}\n", "bold")
            case ItemRemoved(item=item):
                self._write(f"(removed: {abbreviate(item)})\n", "dim")
            case ModelReplied():
                self._write_reply(entry.position, event)
            case WaitEnded(reason=reason, by=by, key_id=key_id):
                self._write(f"  {_end_of_wait(reason, _with_key(by, key_id))}\n", "dim")
            case ApprovalAnswered():
                style: Style = "good" if event.approved else "bad"
                self._write(f"  {_approval_answer(event)}\n", style)
            case ChildAsked():
                self._write(f"  {_asked_below(event)}\n", "bold")
            case ChildAnswered(by=by, run=run, key_id=key_id):
                self._write(f"  {_with_key(by, key_id)} answered run {run}\n", "dim")
            case OutcomeSettled(by=by, settled=settled, result=result, key_id=key_id):
                by = _with_key(by, key_id)
                self._write(f"  settled as {settled} by {_with_reason(by, result)}\n", "bold")
            case RunFinished():
                self._write_end(event)
            case _:
                self._write_call(event)

    def _write_end(self, event: RunFinished) -> None:
        if event.status == "failed":
            sentence = failure_sentence(event.reason, event.error)
            self._write(f"({abbreviate(sentence, ERROR_CHARS)})\n", "bad")
        elif event.status != "completed":
            text = _with_reason(event.status, event.reason.removeprefix(event.status))
            self._write(f"({text})\n", "bad")

    def _write_reply(self, position: int, event: ModelReplied) -> None:
        text = messages_text(event.items)
        if not self._streamed:
            for attempt in event.attempts:
                error = abbreviate(attempt.error)
                self._write(f"(no reply from {escape(attempt.model)}: {error})\n", "dim")
        if is_rejected(event):
            self._write(f"(no valid output: {abbreviate('; '.join(event.problems))})\n", "dim")
        elif text and not self._streamed and not event.problems:
            self._write(f"{text}\n", "prose")
        self._streamed = False
        calls = [item for item in event.items if item.get("type") == "function_call"]
        for index, item in enumerate(calls):
            self._arguments[call_id(position, index)] = str(item.get("arguments", ""))

    def _write_call(self, event: CallEvent) -> None:
        """Write the state of a call; the call itself first, unless it was written before."""
        arguments = self._arguments.pop(event.call, None)
        if arguments is not None:
            # A person who decides must see all arguments.
            needs_decision = isinstance(event, ApprovalAsked | OutcomeUnknown)
            arguments = (isinstance(event, ApprovalAsked) and event.arguments) or arguments
            text = arguments_text(arguments) if needs_decision else abbreviate(arguments)
            self._write(f"→ {escape(event.tool)} {text}\n", "tool")
        match event:
            case ToolSucceeded(result=result):
                self._write(f"  {abbreviate(result)}\n", "dim")
            case ToolFailed(error=ToolError() as error):
                self._write(f"  {fault_text(error)}\n", "bad")
            case ToolFailed(message=message):
                self._write(f"  {abbreviate(message)}\n", "bad")
            case ApprovalAsked():
                self._write("  waiting for approval\n", "bold")
            case OutcomeUnknown():
                self._write("  the outcome is unknown\n", "bold")
            case WaitStarted():
                self._write(f"  waiting for {abbreviate(wait_text(event))}\n", "bold")
            case ChildrenStarted(runs=runs):
                self._write(f"  waiting for {', '.join(runs)}\n", "bold")


def fault_text(error: ToolError) -> str:
    """Return the exception of a tool and its place, on one line."""
    place = place_text(error)
    suffix = f" ({place})" if place else ""
    return abbreviate(f"{error_text(error)}{suffix}", ERROR_CHARS)


def _with_key(person: str, key_id: str) -> str:
    """Return the person of an answer, with the id of the API key if it came with one."""
    return f"{abbreviate(person)} with {key_id}" if key_id else person


def _with_reason(text: str, reason: str) -> str:
    return f"{abbreviate(text)}: {abbreviate(reason)}" if reason else abbreviate(text)


def _approval_answer(event: ApprovalAnswered) -> str:
    """Say who has answered, and the arguments of that person if there are any."""
    word = "approved" if event.approved else "denied"
    person = _with_reason(_with_key(event.by, event.key_id), event.reason)
    given = f" with {arguments_text(event.arguments)}" if event.arguments else ""
    return f"{word} by {person}{given}"


def wait_text(wait: WaitStarted) -> str:
    """Return what a call waits for, for a person."""
    if wait.question:
        return f"an answer to {wait.question!r}"
    limit = f", until {time_text(wait.until_us)}" if wait.until_us else ""
    return f"the event {wait.event!r}{limit}" if wait.event else time_text(wait.until_us)


def time_text(at_us: int) -> str:
    """Return a time, given in microseconds since 1970, in UTC."""
    at = datetime.fromtimestamp(at_us // 1_000_000, UTC)
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _end_of_wait(reason: WaitEnd, by: str) -> str:
    match reason:
        case "time":
            return "the time has come"
        case "event":
            return f"the event came from {abbreviate(by)}"
        case "answer":
            return f"answered by {abbreviate(by)}"
        case "children":
            return "the runs have ended"
        case "timeout":
            return "the time has run out"
        case _:
            assert_never(reason)


def _asked_below(event: ChildAsked) -> str:
    """Say which call of a run below waits for a person."""
    if event.question:
        return f"run {event.run} asks: {escape(event.question)}"
    what = "its outcome to be settled" if event.is_unknown else "approval"
    return f"{escape(event.tool)} of run {event.run} waits for {what}"


def waiting_text(thread: Thread, run: RunId, below: Sequence[WaitingCall] = ()) -> str:
    """Return what has to happen before the run can continue, first what a person has to do.

    `below` are the calls that wait for a person in the runs below it.
    """
    calls = thread.next_calls if thread.waits else [*filter(question_of, thread.pending)]
    if calls:
        return _call_waiting_text(run, calls[0], thread.principal)
    if below:
        # The runs below a run have its principal.
        return _call_waiting_text(below[0].run, below[0].call, thread.principal)
    waits = [wait_text(one.wait) for one in thread.pending if isinstance(one.wait, WaitStarted)]
    waits += [f"run {child}" for child in awaited_runs(thread.parent_calls)]
    return f"waiting for {' or '.join(waits)}"


def _call_waiting_text(run: RunId, call: Call, principal: str) -> str:
    target = f"{run} --call {call.id}"
    if question := question_of(call):
        person = question.person or principal
        options = f" {as_option(person)}" if person != LOCAL else ""
        command = f"twelvefold runs answer {target}{options} VALUE"
        return f"{question_text(question)}; answer with: {command}"
    if call.state == "unknown":
        return (
            f"outcome of {call_text(call)} is unknown; check whether it happened, then: "
            f"twelvefold runs settle {target} --done | --retry | --failed"
        )
    return (
        f"waiting for approval of {call_text(call)}; "
        f"answer with: twelvefold runs approve {target} [--deny]"
    )


def as_option(person: str) -> str:
    """Return the option, quoted for a shell, by which a command acts for a person."""
    words = [f"--as={person}"] if person.startswith("-") else ["--as", person]
    return escape(shlex.join(words))


def question_text(question: WaitStarted) -> str:
    """Return a question and the type of its answer, for a person."""
    schema = json.dumps(question.schema, ensure_ascii=False)
    person = f" for {escape(question.person)}" if question.person else ""
    return f"question{person}: {escape(question.question)} (the answer: {escape(schema)})"


def call_text(call: Call) -> str:
    """Return a call with all its arguments, for a person to judge."""
    return f"{escape(call.tool)} {arguments_text(call.shown_arguments)}"
