"""A response as it is told: the journal's entries, and deltas before them, as the API's events.

Live, resumed and replayed are one thing: whatever a reader happened to see when, the events and
their numbers are those that the finished journal gives. Nothing is kept elsewhere.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from msgspec import structs

from twelvefold.core.events import (
    ApprovalAnswered,
    ApprovalAsked,
    Entry,
    Event,
    ItemRemoved,
    ItemsAdded,
    ModelReplied,
    OutcomeSettled,
    OutcomeUnknown,
    RunFinished,
    RunStarted,
    ToolFailed,
    ToolSucceeded,
)
from twelvefold.core.ids import ThreadId
from twelvefold.core.ports import Delta, JournalDelta
from twelvefold.web.ids import ResponseId, message_id
from twelvefold.web.projection import objects as shapes
from twelvefold.web.projection.calls import Calls
from twelvefold.web.projection.output import Output
from twelvefold.web.projection.response_object import Standing, Status, describe
from twelvefold.web.projection.view import View
from twelvefold.web.schemas.types import Json, ToolItems, ToolOutputs

__all__ = ["Json", "ResponseProjection", "ToolItems", "ToolOutputs", "View", "parts"]

_OPENING = (RunStarted, ApprovalAnswered, OutcomeSettled)
"""What somebody said; nobody need be at work yet."""
_BEFORE_A_REPLY = (RunStarted, ToolSucceeded, ToolFailed)
"""Behind one of these the model may have been asked, and have said something."""
_LAST = {
    "completed": "response.completed",
    "incomplete": "response.incomplete",
    "failed": "response.failed",
    # Neither specification has an event for it; OpenAI's own server does this.
    "cancelled": "response.failed",
}


Said = TypeVar("Said", bound=Event)


class ResponseProjection:
    """One response, out of the entries and deltas of its thread as they come.

    It takes them in order from the first entry of its run, also where it is a later part: what the
    calls are that a later part is about stands in an earlier one. What is not its own, what it had
    before and what cannot follow yet is left aside.

    `over`: nothing more follows for this response. `position`: the last entry that was taken.
    `behind`: of what was heard something has to wait for what comes before it, so read again at
    once.
    """

    def __init__(self, id: ResponseId, view: View) -> None:
        self.over = False
        self.behind = False
        self.position = 0
        self._id = id
        self._view = view
        self._output = Output()
        self._calls = Calls(id.run.thread, view, self._output)
        self._standing = Standing(created_at_us=_made_at_us(id.run.thread))
        self._part = -1
        self._rests = False
        self._number = 0
        self._heard_of = 0
        self._previous: Event | None = None

    @property
    def background(self) -> bool:
        """Whether the response was asked for as one in the background."""
        return self._view.background

    @property
    def deltas_after(self) -> tuple[int, int]:
        """(position, number) behind which deltas are still to be read."""
        return self.position + 1, self._number

    def response(self, *, queued: bool = False) -> Json:
        """The response as of now; `queued`: nobody has claimed its run yet."""
        standing = self._standing
        if not self.over:
            worked_on = self._calls.shown and standing.status == "in_progress"
            waits = queued and self._view.background and not worked_on
            standing = replace(standing, status="queued" if waits else "in_progress")
        return describe(self._id, self._view, standing, self._output.items())

    # --- reading -----------------------------------------------------------------------------

    def apply(self, heard: JournalDelta) -> list[Json]:
        """The events of what `Store.follow(after=position, deltas_after=deltas_after)` gave.

        This is what a reader calls: deltas were read before the entries, and some of them are
        another process's that came too late.
        """
        deltas: dict[int, list[Delta]] = {}
        for delta in heard.deltas:
            deltas.setdefault(delta.position, []).append(delta)
        events: list[Json] = []
        self.behind = False
        for entry in heard.entries:
            before = list(_counted(deltas.get(entry.position, ()), entry.event))
            if self._lacks(entry, before):
                self.behind = True
                break
            for delta in before:
                events += self.feed(delta)
            events += self.feed(entry)
        else:
            for delta in deltas.get(self.position + 1, ()):
                events += self.feed(delta)
            events += self._pause()
        if heard.entries:
            self._heard_of = max(self._heard_of, heard.entries[-1].position)
        return events

    def _lacks(self, entry: Entry, before: Sequence[Delta]) -> bool:
        """Whether deltas may stand before this entry that had not been written when we read them.

        Once an entry was known of before the deltas were read, they are all there.
        """
        told = self._part == self._id.part and not self.over and self._view.started.options.stream
        if not told or entry.run != self._id.run.ordinal or entry.position <= self._heard_of:
            return False
        match entry.event:
            case ModelReplied(first_delta=first) if first:
                return max((self._number, *(delta.number for delta in before))) < first - 1
            case ModelReplied():
                return True
            case RunFinished():
                return isinstance(self._previous, _BEFORE_A_REPLY)
            case _:
                return False

    def _pause(self) -> list[Json]:
        """Everything there is has been told: so the first call of a reply is under way."""
        if self._standing.status == "in_progress":
            self._calls.begin_next()
        return self._output.take()

    def feed(self, heard: Entry | Delta) -> list[Json]:
        """The events of one entry or delta, in order."""
        if isinstance(heard, Delta):
            self._feed_delta(heard)
        elif self._follows(heard):
            self.position, self._number = heard.position, 0
            self._feed_entry(heard)
        return self._output.take()

    def _follows(self, entry: Entry) -> bool:
        if self._part < 0:
            return entry.position > self.position
        return entry.position == self.position + 1

    def _feed_delta(self, delta: Delta) -> None:
        follows = (delta.position, delta.number) == (self.position + 1, self._number + 1)
        if not follows or self.over or self._part != self._id.part:
            return
        self._number = delta.number
        self._work()
        self._calls.begin_next()
        if delta.kind == "restarted":
            self._output.give_up_draft()
        elif delta.text:
            id = message_id(self._id.run.thread, delta.position, first_delta=delta.number)
            draft = self._output.draft or self._output.open_draft(id, delta.number)
            self._output.write(draft, delta.text)

    def _feed_entry(self, entry: Entry) -> None:
        event = entry.event
        if entry.run != self._id.run.ordinal or self.over:
            return
        if isinstance(event, ItemsAdded | ItemRemoved) or not self._has_begun(event):
            return
        if self._rests:
            self._part, self._rests = self._part + 1, False
        if isinstance(event, ApprovalAnswered) and event.options is not None:
            started = structs.replace(self._view.started, options=event.options)
            self._view = replace(self._view, started=started, background=event.background)
        if self._part == self._id.part and not self._calls.shown:
            self._open(entry.at_us)
        if self._calls.shown and not isinstance(event, _OPENING):
            self._work()
        self._tell(entry, event)
        self._previous = without_input(event)

    def _has_begun(self, event: Event) -> bool:
        if isinstance(event, RunStarted):
            self._part = 0
        return self._part >= 0

    # --- telling -----------------------------------------------------------------------------

    def _open(self, at_us: int) -> None:
        background = self._view.background
        self._calls.shown = True
        status: Status = "queued" if background else "in_progress"
        self._standing = Standing(status, created_at_us=at_us)
        self._tell_standing("response.created")
        self._tell_standing("response.queued" if background else "response.in_progress")

    def _work(self) -> None:
        if self._standing.status == "queued":
            self._standing = replace(self._standing, status="in_progress")
            self._tell_standing("response.in_progress")

    def _tell_standing(self, type: str) -> None:
        items = self._output.items()
        self._output.tell(type, response=describe(self._id, self._view, self._standing, items))

    def _tell(self, entry: Entry, event: Event) -> None:
        if isinstance(event, ModelReplied):
            self._tell_reply(entry.position, event)
        self._calls.apply(entry.position, event)
        match event:
            case ApprovalAsked():
                self._rest(self._standing.ended("completed", entry.at_us))
            case OutcomeUnknown(tool=tool, final=False):
                error = (
                    f"it is not known whether {tool} was done when its process ended; "
                    "an operator has to find out and settle it"
                )
                self._rest(self._standing.ended("failed", entry.at_us, error=error))
            case RunFinished(status=status, reason=reason, error=error):
                ended = self._standing.ended(status, entry.at_us, reason=reason, error=error)
                self._end(ended, completed=status == "completed")
            case _:
                pass

    def _rest(self, standing: Standing) -> None:
        """End the response because its run waits for a person."""
        self._rests = True
        self._end(standing, completed=False)

    def _end(self, standing: Standing, *, completed: bool) -> None:
        if not self._calls.shown:
            return
        self._output.give_up_draft()
        self._calls.close(completed=completed)
        self._standing = standing
        self.over = True
        self._tell_standing(_LAST[standing.status])

    def _tell_reply(self, position: int, reply: ModelReplied) -> None:
        if not self._calls.shown:
            return
        usage = self._standing.usage + reply.usage
        self._standing = replace(self._standing, usage=usage)
        messages = shapes.messages_of(self._id.run.thread, position, reply)
        if shapes.shown_as_it_came(reply):
            self._tell_rest(reply, messages[0])
            return
        self._output.give_up_draft()
        for item in messages:
            self._output.whole_message(item)

    def _tell_rest(self, reply: ModelReplied, item: Json) -> None:
        """Tell what is left of a message that others may have read up to any of its cuts."""
        [part] = item["content"]
        draft = self._output.draft
        if draft and draft.first != reply.first_delta:
            self._output.give_up_draft()
            draft = None
        draft = draft or self._output.open_draft(item["id"], reply.first_delta)
        for length in (*reply.cuts[len(draft.pieces) :], len(part["text"])):
            if piece := part["text"][draft.length : draft.length + length]:
                self._output.write(draft, piece)
        self._output.close_draft(part, item["status"], item.get("phase"))


def _made_at_us(thread: ThreadId) -> int:
    """When the thread was made, which its id says: a response is no older."""
    return int(thread[:12], 16) * 1000


def _counted(deltas: Iterable[Delta], event: Event) -> Iterable[Delta]:
    """The deltas that stand before an entry; what is left of them came too late to be shown."""
    rows = list(deltas)
    if isinstance(event, ModelReplied) and event.first_delta:
        # From there on the entry itself says what was shown.
        return [delta for delta in rows if delta.number < event.first_delta]
    closed = [at for at, delta in enumerate(rows, 1) if delta.kind == "restarted"]
    return rows[: closed[-1]] if closed else []


def parts(entries: Sequence[Entry]) -> list[list[Entry]]:
    """A run's entries, split into those of its responses: after each entry that makes it wait."""
    split: list[list[Entry]] = []
    rests = True
    for entry in entries:
        if isinstance(entry.event, ItemsAdded | ItemRemoved):
            continue
        if rests:
            split.append([])
        split[-1].append(entry)
        rests = makes_wait(entry.event)
    return split


def without_input(event: Said) -> Said:
    """An event without what the caller said at the start of a run: that may be megabytes."""
    return structs.replace(event, items=()) if isinstance(event, RunStarted) else event


def makes_wait(event: Event) -> bool:
    """Whether a run waits for a person behind this event."""
    lost = isinstance(event, OutcomeUnknown) and not event.final
    return lost or isinstance(event, ApprovalAsked)
