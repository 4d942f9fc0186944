"""Journals as readers of the web see them, and every way in which they may have been written.

`events_of` has the events of a finished journal. `histories` makes journals with all that can go
wrong while a reply is streamed, as the sequence of states that readers may read meanwhile.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from tests.builders import HASH, SPENT, assistant, entries, function_call, user
from twelvefold.core.events import (
    ApprovalAnswered,
    ApprovalAsked,
    Entry,
    Event,
    FinalStatus,
    Item,
    ItemsAdded,
    ModelReplied,
    OutcomeSettled,
    OutcomeUnknown,
    RequestOptions,
    RunFinished,
    RunStarted,
    ToolFailed,
    ToolSucceeded,
)
from twelvefold.core.ids import RunId, ThreadId, call_id
from twelvefold.core.ports import Delta, JournalDelta
from twelvefold.web.ids import ResponseId
from twelvefold.web.projection.objects import ResponseView
from twelvefold.web.projection.response import ResponseProjection
from twelvefold.web.schemas.types import Json, ToolItems, ToolOutputs

THREAD = ThreadId("019" + "a" * 41)
RUN = RunId(THREAD, 1)


def started(*items: Item, **asked: Any) -> RunStarted:
    return RunStarted(
        items or (user("enrol me"),), "ann", "academy", "1.0", RequestOptions(**asked)
    )


def view(
    start: RunStarted,
    *,
    tool_items: ToolItems = "mcp_call",
    tool_outputs: ToolOutputs = "full",
    background: bool = False,
) -> ResponseView:
    return ResponseView("academy", tool_items, tool_outputs, background, start)


def projection(
    *events: Event, part: int = 0, deltas: Sequence[Delta] = (), **how: Any
) -> ResponseProjection:
    """A response with all entries of this journal."""
    return _read(ResponseProjection(ResponseId(RUN, part), _view(events, how)), events, deltas)[0]


def events_of(
    *events: Event, part: int = 0, deltas: Sequence[Delta] = (), **how: Any
) -> list[Json]:
    """The events of a response, read from a finished journal."""
    return _read(ResponseProjection(ResponseId(RUN, part), _view(events, how)), events, deltas)[1]


def _view(events: Sequence[Event], how: dict[str, Any]) -> ResponseView:
    start = events[0]
    assert isinstance(start, RunStarted)
    return view(start, **how)


def _read(
    one: ResponseProjection, events: Sequence[Event], deltas: Sequence[Delta]
) -> tuple[ResponseProjection, list[Json]]:
    return one, read_on(one, State(entries(*events), tuple(deltas)))


@dataclass(frozen=True)
class State:
    """What stands in the database at a moment."""

    entries: tuple[Entry, ...] = ()
    deltas: tuple[Delta, ...] = ()


def read_on(one: ResponseProjection, state: State, earlier: State | None = None) -> list[Json]:
    """What a reader hears now; the deltas were read at an earlier moment than the entries."""
    events = one.apply(follow(one, earlier or state, state))
    while one.behind:
        events += one.apply(follow(one, state, state))
    return events


def follow(one: ResponseProjection, then: State, now: State) -> JournalDelta:
    """`Store.follow`, its two reads at two moments."""
    behind = one.deltas_after
    return JournalDelta(
        tuple(delta for delta in then.deltas if (delta.position, delta.number) > behind),
        tuple(entry for entry in now.entries if entry.position > one.position),
    )


def types(events: Iterable[Json]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


# --- every way in which a journal may come about ------------------------------------------------


@st.composite
def histories(draw: st.DrawFn) -> tuple[State, ...]:
    """The states that a run and its conversation go through, one a commit, oldest first."""
    return tuple(_Driver(draw).states())


class _Driver:
    """Writes a run as the engine does: deltas while a reply comes in, a commit a step.

    Its process may be killed at any moment; another one goes on, and the first does not know it
    is dead until the primary key of the deltas tells it.
    """

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.history = [State()]
        self.number = 0
        self.shown: list[str] = []
        self.zombie = 0

    @property
    def state(self) -> State:
        return self.history[-1]

    @property
    def position(self) -> int:
        """The position that the next entry will get."""
        return len(self.state.entries) + 1

    def states(self) -> list[State]:
        self.commit(started(stream=True, tools=(CLIENT_TOOL,)))
        going = True
        while going and len(self.state.entries) < 12:
            going = self.reply()
        if going:
            self.finish("incomplete")
        self.commit(ItemsAdded((user("by the way"),)))
        return self.history

    def chance(self, one_in: int) -> bool:
        return self.draw(st.integers(1, one_in)) == one_in

    def commit(self, *events: Event, drop_from: int = 0, close: bool = False) -> None:
        """Append entries; with the first one the deltas that it holds are dropped."""
        at, deltas = self.position, self.state.deltas
        if drop_from:
            deltas = tuple(d for d in deltas if d.position != at or d.number < drop_from)
        if close:
            deltas += (Delta(at, self.number + 1, "restarted"),)
        new = tuple(
            Entry(at + index, 1, event, 0, at_us=(at + index) * 1_000_000)
            for index, event in enumerate(events)
        )
        self.history.append(State(self.state.entries + new, deltas))
        self.number = 0

    def add(self, kind: Any, text: str = "") -> None:
        self.number += 1
        self.write(Delta(self.position, self.number, kind, text))

    def write(self, delta: Delta) -> None:
        self.history.append(replace(self.state, deltas=(*self.state.deltas, delta)))

    # --- a reply ---------------------------------------------------------------------------

    def reply(self) -> bool:
        """One reply and what follows from it; whether the run goes on."""
        self.shown, self.zombie = [], 0
        first, at = self.number + 1, self.position
        for _ in range(self.draw(st.integers(0, 4))):
            first = self.piece(first)
        if self.chance(12):
            self.finish("cancelled")
        elif self.shown and not self.chance(6):
            self.commit_shown(first)
        else:
            self.commit_whole()
        self.too_late(at)
        return not isinstance(self.state.entries[-1].event, RunFinished)

    def piece(self, first: int) -> int:
        """A piece of text, a restart, or a crash and what its successor writes instead."""
        what = self.draw(st.sampled_from(("text", "text", "text", "restarted", "crash")))
        if what == "text" or not (self.shown or what == "crash"):
            self.shown.append(self.draw(PIECES))
            self.add("text", self.shown[-1])
            return first
        if what == "crash":
            self.take_over()
        else:
            self.add("restarted")
            self.shown = []
        return self.number + 1 if not self.shown else self.number

    def take_over(self) -> None:
        """Another process goes on: it sees to it that a delta of its own stands here."""
        self.zombie = self.number
        if self.number and self.chance(3):
            self.add("text", self.draw(PIECES))
            self.zombie = self.number
        if self.number or self.chance(2):
            self.add("restarted")
            self.shown = []
        else:
            self.shown = [self.draw(PIECES)]
            self.add("text", self.shown[0])

    def commit_shown(self, first: int) -> None:
        """The reply is the one text that was shown, and perhaps calls."""
        text = "".join(self.shown) + self.draw(st.sampled_from(("", "…", " and so on")))
        cuts = tuple(map(len, self.shown))
        self.commit_reply((assistant(text), *self.calls()), first, cuts)

    def commit_whole(self) -> None:
        """The reply is not what was shown: none of its text was, or it is another."""
        if self.shown:
            self.add("restarted")
        texts = self.draw(st.lists(PIECES, max_size=2)) or ["."]
        first = self.number + 1 if self.number and len(texts) == 1 and self.chance(2) else 0
        self.commit_reply((*map(assistant, texts), *self.calls()), first, ())

    def calls(self) -> list[Item]:
        names = self.draw(st.lists(st.sampled_from(("enrol", "look", "theirs")), max_size=3))
        return [function_call(name, f"c{index}") for index, name in enumerate(names)]

    def commit_reply(self, items: tuple[Item, ...], first: int, cuts: tuple[int, ...]) -> None:
        ended = "max_output_tokens" if self.chance(8) else "completed"
        at = self.position
        reply = ModelReplied(items, SPENT, "m-1", HASH, ended, first, cuts)  # type: ignore[arg-type]
        tools = [item["name"] for item in items if item["type"] == "function_call"]
        ours = [(call_id(at, i), tool) for i, tool in enumerate(tools) if tool != "theirs"]
        if ended != "completed":
            self.commit(reply, RunFinished("incomplete", ended), drop_from=first)
        elif not ours:
            self.commit(reply, RunFinished("completed"), drop_from=first)
        else:
            self.answer(reply, first, ours, last=len(ours) < len(tools))

    # --- calls -----------------------------------------------------------------------------

    def answer(
        self, reply: ModelReplied, first: int, calls: list[tuple[Any, str]], *, last: bool
    ) -> None:
        """Answer the calls in turn; the reply is written with the first thing that follows."""
        lead: tuple[Event, ...] = (reply,)
        for index, (id, tool) in enumerate(calls):
            if index == 0 and self.chance(2):
                lead = self.alone(lead, first)
            lead = self.one_call(lead, first, id, tool)
            if isinstance(self.state.entries[-1].event, RunFinished):
                return
        if last:
            self.commit(RunFinished("completed"))

    def alone(self, lead: tuple[Event, ...], first: int) -> tuple[Event, ...]:
        self.commit(*lead, drop_from=first)
        return ()

    def one_call(
        self, lead: tuple[Event, ...], first: int, id: Any, tool: str
    ) -> tuple[Event, ...]:
        way = self.draw(st.sampled_from(("runs", "fails", "asks", "denied", "lost", "cancelled")))
        drop = first if lead else 0
        if way in ("asks", "denied") and (lead or self.state.entries[-1].position > id_at(id)):
            self.commit(*lead, ApprovalAsked(id, tool), drop_from=drop)
            if way == "denied":
                answered = ApprovalAnswered(id, False, "bob")
                self.commit(answered, ToolFailed(id, tool, "denied", "Error: no"))
                return ()
            lead, drop = self.go_on(ApprovalAnswered(id, True, "bob")), 0
        if way in ("lost", "cancelled"):
            lead = self.alone(lead, drop) if lead else ()
            return self.lost(id, tool, cancelled=way == "cancelled")
        result = ToolFailed(id, tool, "refused", "Error: full") if way == "fails" else None
        self.commit(*lead, result or ToolSucceeded(id, tool, "done"), drop_from=drop)
        return ()

    def go_on(self, event: Event) -> tuple[Event, ...]:
        self.commit(event)
        return ()

    def lost(self, id: Any, tool: str, *, cancelled: bool) -> tuple[Event, ...]:
        if cancelled:
            unknown = (OutcomeUnknown(id, tool, final=True),) if self.chance(2) else ()
            self.commit(*unknown, RunFinished("cancelled", "cancelled"))
            return ()
        self.commit(OutcomeUnknown(id, tool))
        if self.chance(3):
            self.commit(RunFinished("cancelled", "cancelled"))
        elif self.chance(2):
            self.commit(OutcomeSettled(id, "retry", "bob"))
            self.commit(ToolSucceeded(id, tool, "done"))
        else:
            self.commit(OutcomeSettled(id, "done", "bob", "ok"), ToolSucceeded(id, tool, "ok"))
        return ()

    # --- the end ---------------------------------------------------------------------------

    def finish(self, status: FinalStatus) -> None:
        """End the run with no reply; its last delta keeps others from writing there."""
        self.commit(RunFinished(status, "deadline"), close=True)

    def too_late(self, at: int) -> None:
        """What a process wants to show that lost the run: the primary key is all that stops it."""
        number = self.zombie + 1
        taken = {(delta.position, delta.number) for delta in self.state.deltas}
        if self.chance(2) and (at, number) not in taken and self.may_be_late(at):
            self.write(Delta(at, number, "text", "too late"))

    def may_be_late(self, at: int) -> bool:
        # Without a take-over there is nobody else; a reply that was not shown as it came has
        # a delta of its writer before it then.
        event = self.state.entries[at - 1].event
        return isinstance(event, ModelReplied) and event.first_delta > 0


def id_at(id: str) -> int:
    return int(id.partition(".")[0])


PIECES = st.text("ab é😀", min_size=1, max_size=3)
CLIENT_TOOL: Item = {"type": "function", "name": "theirs", "parameters": {"type": "object"}}
