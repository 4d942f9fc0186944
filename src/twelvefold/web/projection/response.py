"""Projects the entries and deltas of a journal to a response and its events.

Live, resumed and replayed streams are the same: whenever a reader reads, the events and their
numbers are those that the finished journal gives. No other state is stored.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from msgspec import structs

from twelvefold.core import (
    ApprovalAnswered,
    ApprovalAsked,
    ChildAnswered,
    ChildAsked,
    ChildrenStarted,
    Delta,
    Entry,
    Event,
    ItemRemoved,
    ItemsAdded,
    JournalDelta,
    ModelReplied,
    OutcomeSettled,
    OutcomeUnknown,
    RunFinished,
    RunStarted,
    ThreadId,
    ToolFailed,
    ToolSucceeded,
    WaitEnded,
    WaitStarted,
)
from twelvefold.web.ids import ResponseId, function_call_id, message_id, tool_call_id
from twelvefold.web.projection import objects
from twelvefold.web.projection.objects import ResponseState, ResponseView
from twelvefold.web.projection.output import CallProjection, Output, makes_wait
from twelvefold.web.schemas import Json, ResponseStatus

_INPUT = (RunStarted, ApprovalAnswered, ChildAnswered, OutcomeSettled, WaitEnded)
"""Input from outside: the run may still be queued after it."""
_BEFORE_REPLY = (RunStarted, ToolSucceeded, ToolFailed)
"""After one of these the model may have been called and have sent deltas."""
LAST_EVENTS = {
    "completed": "response.completed",
    "incomplete": "response.incomplete",
    "failed": "response.failed",
    # Neither specification has an event for it; OpenAI's own server sends this one.
    "cancelled": "response.failed",
}
AnyEvent = TypeVar("AnyEvent", bound=Event)


class ResponseProjection:
    """One response, built from the entries and deltas of its thread.

    Entries are applied in order, from the first entry of the run; a later part of the run needs the
    calls of earlier parts. Entries of other runs, repeated ones, and those after a gap are ignored.

    `over`: no more events follow. `position`: the position of the last entry. `behind`: the last
    read lacked deltas that precede its entries, so the journal must be read again at once.
    """

    def __init__(self, id: ResponseId, view: ResponseView) -> None:
        self.over = False
        self.behind = False
        self.position = 0
        self._id = id
        self._view = view
        self._output = Output()
        self._calls = CallProjection(id.run.thread, view, self._output)
        self._state = ResponseState(created_at_us=_created_at_us(id.run.thread))
        self._part = -1
        self._waits = False
        self._number = 0
        self._known_to = 0
        self._previous: Event | None = None

    @property
    def background(self) -> bool:
        """Whether the request had `background` true."""
        return self._view.background

    @property
    def children(self) -> dict[str, ChildrenStarted]:
        """The runs that calls of this run have started, by each id that a call's item may have.

        Without those of calls that the next response of the run completes.
        """
        thread, started = self._id.run.thread, self._calls.children
        return {
            id_of(thread, call): event
            for call, event in started.items()
            for id_of in (tool_call_id, function_call_id)
        }

    @property
    def deltas_after(self) -> tuple[int, int]:
        """The (position, number) after which to read deltas."""
        return self.position + 1, self._number

    def response(self, *, queued: bool = False) -> Json:
        """Return the response as it is now; `queued`: no process has claimed its run yet."""
        state = self._state
        if not self.over:
            has_begun = self._calls.is_shown and state.status == "in_progress"
            waits = queued and self._view.background and not has_begun
            state = replace(state, status="queued" if waits else "in_progress")
        return self._object(state)

    # --- entries and deltas ------------------------------------------------------------------

    def apply(self, delta: JournalDelta) -> list[Json]:
        """Add what `Store.follow(after=position, deltas_after=deltas_after)` found; return events.

        The deltas were read before the entries, and some may be late ones of another process.
        """
        deltas: dict[int, list[Delta]] = {}
        for one in delta.deltas:
            deltas.setdefault(one.position, []).append(one)
        events: list[Json] = []
        self.behind = False
        for entry in delta.entries:
            before = _deltas_before(entry.event, deltas.get(entry.position, ()))
            if self._lacks_deltas(entry, before):
                self.behind = True
                break
            for one in before:
                events += self.feed(one)
            events += self.feed(entry)
        else:
            for one in deltas.get(self.position + 1, ()):
                events += self.feed(one)
            events += self._flush()
        if delta.entries:
            self._known_to = max(self._known_to, delta.entries[-1].position)
        return events

    def _lacks_deltas(self, entry: Entry, before: Sequence[Delta]) -> bool:
        """Return whether deltas before this entry may have been written after deltas were read.

        All are there if the entry was known before the deltas were read.
        """
        streams = self._view.started.options.stream and not self.over
        if not streams or self._part != self._id.part or entry.run != self._id.run.ordinal:
            return False
        if entry.position <= self._known_to:
            return False
        match entry.event:
            case ModelReplied(first_delta=first) if first:
                return max((self._number, *(delta.number for delta in before))) < first - 1
            case ModelReplied():
                return True
            case RunFinished():
                return isinstance(self._previous, _BEFORE_REPLY)
            case _:
                return False

    def _flush(self) -> list[Json]:
        """Return the remaining events; no entry follows a reply, so its first call runs now."""
        if self._state.status == "in_progress":
            self._calls.begin_next()
        return self._output.take()

    def feed(self, row: Entry | Delta) -> list[Json]:
        """Add one entry or delta; return its events."""
        if isinstance(row, Delta):
            self._add_delta(row)
        elif self._follows(row):
            self.position, self._number = row.position, 0
            self._add_entry(row)
        return self._output.take()

    def _follows(self, entry: Entry) -> bool:
        if self._part < 0:
            return entry.position > self.position
        return entry.position == self.position + 1

    def _add_delta(self, delta: Delta) -> None:
        follows = (delta.position, delta.number) == (self.position + 1, self._number + 1)
        if not follows or self.over or self._part != self._id.part:
            return
        self._number = delta.number
        self._begin_work()
        self._calls.begin_next()
        if delta.kind == "restarted":
            self._output.abandon_draft()
        elif delta.text:
            id = message_id(self._id.run.thread, delta.position, first_delta=delta.number)
            draft = self._output.draft or self._output.open_draft(id, delta.number)
            self._output.write(draft, delta.text)

    def _add_entry(self, entry: Entry) -> None:
        event = entry.event
        if entry.run != self._id.run.ordinal or self.over:
            return
        if isinstance(event, ItemsAdded | ItemRemoved) or not self._has_begun(event):
            return
        if self._waits:
            self._part, self._waits = self._part + 1, False
        if isinstance(event, ApprovalAnswered | ChildAnswered) and event.options is not None:
            started = structs.replace(self._view.started, options=event.options)
            self._view = replace(self._view, started=started, background=event.background)
        if self._part == self._id.part and not self._calls.is_shown:
            self._open(entry.at_us)
        if self._calls.is_shown and not isinstance(event, _INPUT):
            self._begin_work()
        self._emit_entry(entry, event)
        self._previous = without_input(event)

    def _has_begun(self, event: Event) -> bool:
        if isinstance(event, RunStarted):
            self._part = 0
        return self._part >= 0

    # --- events ------------------------------------------------------------------------------

    def _open(self, at_us: int) -> None:
        background = self._view.background
        self._calls.is_shown = True
        status: ResponseStatus = "queued" if background else "in_progress"
        self._state = ResponseState(status, created_at_us=at_us)
        self._emit_state("response.created")
        self._emit_state("response.queued" if background else "response.in_progress")

    def _begin_work(self) -> None:
        if self._state.status == "queued":
            self._state = replace(self._state, status="in_progress")
            self._emit_state("response.in_progress")

    def _emit_state(self, type: str) -> None:
        self._output.emit(type, response=self._object(self._state))

    def _object(self, state: ResponseState) -> Json:
        return objects.response_object(self._id, self._view, state, self._output.items())

    def _emit_entry(self, entry: Entry, event: Event) -> None:
        if isinstance(event, ModelReplied):
            self._emit_reply(entry.position, event)
        self._calls.apply(entry.position, event)
        match event:
            case ApprovalAsked() | WaitStarted() if makes_wait(event):
                self._wait(self._state.ended("completed", entry.at_us))
            case ChildAsked(is_unknown=False):
                self._wait(self._state.ended("completed", entry.at_us))
            case OutcomeUnknown(tool=tool, final=False) | ChildAsked(tool=tool):
                error = (
                    f"it is not known whether {tool} was done when its process ended; "
                    "an operator has to find out and settle it"
                )
                self._wait(self._state.ended("failed", entry.at_us, error=error))
            case RunFinished(status=status, reason=reason, error=error):
                ended = self._state.ended(status, entry.at_us, reason=reason, error=error)
                self._end(ended, completed=status == "completed")
            case _:
                pass

    def _wait(self, state: ResponseState) -> None:
        """End the response because its run waits for a person."""
        self._waits = True
        if self._calls.is_shown:
            self._calls.leave_children()
        self._end(state, completed=False)

    def _end(self, state: ResponseState, *, completed: bool) -> None:
        if not self._calls.is_shown:
            return
        self._output.abandon_draft()
        self._calls.close(completed=completed)
        self._state = state
        self.over = True
        self._emit_state(LAST_EVENTS[state.status])

    def _emit_reply(self, position: int, reply: ModelReplied) -> None:
        if not self._calls.is_shown:
            return
        usage = self._state.usage + reply.total_usage
        self._state = replace(self._state, usage=usage)
        messages = objects.messages_of(self._id.run.thread, position, reply)
        if objects.is_streamed(reply):
            self._emit_rest(reply, messages[0])
            return
        self._output.abandon_draft()
        for item in messages:
            self._output.add_message(item)

    def _emit_rest(self, reply: ModelReplied, item: Json) -> None:
        """Emit the rest of a streamed message, cut as its deltas were."""
        [part] = item["content"]
        draft = self._output.draft
        if draft and draft.first != reply.first_delta:
            self._output.abandon_draft()
            draft = None
        draft = draft or self._output.open_draft(item["id"], reply.first_delta)
        for length in (*reply.cuts[len(draft.pieces) :], len(part["text"])):
            if piece := part["text"][draft.length : draft.length + length]:
                self._output.write(draft, piece)
        self._output.close_draft(part, item["status"], item.get("phase"))


def _created_at_us(thread: ThreadId) -> int:
    """Return when the thread's family was created, by its id: a response is no older."""
    return int(thread[:12], 16) * 1000


def _deltas_before(event: Event, deltas: Sequence[Delta]) -> Sequence[Delta]:
    """Return the deltas that stand before an entry; the others were written too late."""
    if isinstance(event, ModelReplied) and event.first_delta:
        # The entry itself has the text from its first delta on.
        return [delta for delta in deltas if delta.number < event.first_delta]
    restarts = [at for at, delta in enumerate(deltas, 1) if delta.kind == "restarted"]
    return deltas[: restarts[-1]] if restarts else ()


def without_input(event: AnyEvent) -> AnyEvent:
    """Return an event without the input of a run, which may be megabytes."""
    return structs.replace(event, items=()) if isinstance(event, RunStarted) else event
