"""The invariants, checked on the database and on the effects outside it."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from tests.engine.reading import Reader
from tests.simulation.faults import LEASE_S
from tests.simulation.loop import run_now
from tests.simulation.server import EPOCH_US, SimulatedServer
from tests.simulation.services import INPUT_TOKENS
from tests.simulation.store import DirectStore
from tests.simulation.workload import Outside, PlannedCall, Start, Turn
from twelvefold.core.budget import Limits
from twelvefold.core.events import (
    Entry,
    Event,
    ModelReplied,
    OutcomeUnknown,
    RunFinished,
    RunStarted,
    ToolFailed,
    ToolSucceeded,
)
from twelvefold.core.ids import RunId, ThreadId, call_id

FAULTS_IN_A_ROW = Limits().faults_in_a_row
MOST_PAID = 15
"""The most requests for one reply."""
MARGIN_S = 60.0
"""A fault so long before a mail was sent may be why the outcome is not recorded."""
TRANSACTIONAL = ("order", "post", "refund")
OUTSIDE = ("ship", "label", "recall", "pay")


class Journal:
    """The state after a simulation, in the database and outside."""

    def __init__(
        self, server: SimulatedServer, runs: Mapping[RunId, Turn], outside: Outside
    ) -> None:
        self.server = server
        self.runs = runs
        self.outside = outside
        self.store = DirectStore(server)
        self.entries: dict[RunId, list[Entry]] = defaultdict(list)
        for thread in sorted({run.thread for run in runs}):
            for entry in run_now(self.store.load(thread)).entries:
                self.entries[RunId(thread, entry.run)].append(entry)
        self.answers = self._answers()
        self.cancelled_s = {
            run: (finished - EPOCH_US) / 1_000_000
            for run in runs
            for (finished,) in server.look(
                "SELECT finished_at FROM runs WHERE thread_id = ? AND ordinal = ?"
                " AND status = 'cancelled'",
                run.thread,
                run.ordinal,
            )
        }

    def _answers(self) -> dict[str, list[Event]]:
        """Return the outcomes of each call in the journal, by item."""
        found: dict[str, list[Event]] = defaultdict(list)
        for run, entries in self.entries.items():
            items: dict[str, str] = {}
            for entry in entries:
                match entry.event:
                    case ModelReplied(items=replied):
                        calls = [one for one in replied if one["type"] == "function_call"]
                        for index, one in enumerate(calls):
                            item = str(one["call_id"]).removeprefix("call_")
                            items[call_id(entry.position, index)] = item
                    case (
                        ToolSucceeded(call=call) | ToolFailed(call=call) | OutcomeUnknown(call=call)
                    ):
                        found[items.get(call, f"? {run} {call}")].append(entry.event)
        return found

    def events(self, run: RunId) -> list[Event]:
        return [entry.event for entry in self.entries[run]]


def violations(journal: Journal, excuse: "Excuses") -> list[str]:
    """Yield every violation at the end."""
    found = [*_gaps(journal), *_mails(journal, excuse)]
    for run, turn in journal.runs.items():
        found += [f"{turn.name}: {problem}" for problem in _of_run(journal, run, turn)]
    return found


class Excuses:
    """Return the times of the faults."""

    def __init__(self, times: Sequence[float]) -> None:
        self._times = sorted(times)

    def between(self, first_s: float, last_s: float) -> bool:
        return any(first_s <= at_s <= last_s for at_s in self._times)


def _gaps(journal: Journal) -> Iterator[str]:
    rows = journal.server.look("SELECT id, head, forked_at FROM threads")
    for thread, head, forked_at in rows:
        found = journal.server.look(
            "SELECT position FROM events WHERE thread_id = ? ORDER BY position", thread
        )
        if [position for (position,) in found] != list(range((forked_at or 0) + 1, head + 1)):
            yield f"thread {thread} at {head} has entries {found}"


def _of_run(journal: Journal, run: RunId, turn: Turn) -> Iterator[str]:
    events = journal.events(run)
    if not isinstance(events[0], RunStarted):
        yield "the first entry is no RunStarted"
    ends = [index for index, event in enumerate(events) if isinstance(event, RunFinished)]
    if ends and ends != [len(events) - 1]:
        yield f"entries behind the end: {[type(event).__name__ for event in events]}"
    yield from _status(journal, run, turn, events)
    for index in range(len(turn.replies) + 1):
        if (paid := journal.outside.paid[f"{turn.name}.{index}"]) > MOST_PAID:
            yield f"reply {index} was paid for {paid} times"
    for call in turn.calls:
        yield from _of_call(journal, call)


def _status(journal: Journal, run: RunId, turn: Turn, events: Sequence[Event]) -> Iterator[str]:
    [(status, token, reason, usage)] = journal.server.look(
        "SELECT status, lease_token, error, usage FROM runs WHERE thread_id = ? AND ordinal = ?",
        run.thread,
        run.ordinal,
    )
    replies = sum(isinstance(event, ModelReplied) for event in events)
    counted = json.loads(usage or "{}").get("input_tokens", 0)
    if counted < INPUT_TOKENS * replies:
        yield f"{counted} tokens are counted, for {replies} replies"
    last = events[-1]
    if not isinstance(last, RunFinished):
        yield f"not over: {status}, token {token!r}, last entry {type(last).__name__}"
        return
    if last.status != status:
        yield f"the journal says {last.status}, the run {status}"
    expected = {"completed"} | ({"cancelled"} if turn.cancel_after_s is not None else set())
    if sum(call.item in journal.outside.raised for call in turn.calls) >= FAULTS_IN_A_ROW:
        expected.add("failed")
    if status not in expected:
        yield f"ended {status} ({last.reason}): {reason}"
    if token:
        yield f"over, with lease token {token!r}"


def _of_call(journal: Journal, call: PlannedCall) -> Iterator[str]:
    outside = journal.outside
    answers = journal.answers[call.item]
    succeeded = [event for event in answers if isinstance(event, ToolSucceeded)]
    failed = [event for event in answers if isinstance(event, ToolFailed)]
    if len(succeeded) + len(failed) > 1:
        yield f"{call.tool} {call.item} was answered {len(succeeded) + len(failed)} times"
    for failure in failed:
        if failure.failure == "fault" and call.item not in outside.raised:
            yield f"{call.tool} {call.item} is charged with a fault that it did not raise"
        if failure.failure == "refused" and call.how != "refuse":
            yield f"{call.tool} {call.item} is charged with a refusal that it did not raise"
    if call.tool in TRANSACTIONAL:
        rows = journal.server.look("SELECT count(*) FROM orders WHERE call_id = ?", call.item)
        if rows[0][0] != len(succeeded):
            yield f"{call.tool} {call.item} has {rows[0][0]} rows and {len(succeeded)} successes"
    if call.tool in OUTSIDE:
        yield from _of_outside(journal, call, succeeded)


def _of_outside(
    journal: Journal, call: PlannedCall, succeeded: Sequence[ToolSucceeded]
) -> Iterator[str]:
    outside = journal.outside
    starts = outside.starts[call.item]
    for start in starts:
        if start.lease != "live" and not _is_cut_short(journal, start):
            yield (
                f"{call.tool} {call.item} was begun by {start.process} at {start.at_s:.2f} "
                f"with a lease that was {start.lease}"
            )
    if call.tool == "pay":
        if len(outside.keys[call.item]) > 1:
            yield f"pay {call.item} had keys {sorted(outside.keys[call.item])}"
    elif len(starts) > 1 + outside.retried[call.item]:
        yield f"{call.tool} {call.item} was begun {len(starts)} times: {starts}"
    if succeeded and not starts:
        yield f"{call.tool} {call.item} has a success and was never begun"


def _is_cut_short(journal: Journal, start: Start) -> bool:
    """Return whether the run was cancelled just before, and its outcome is recorded as unknown.

    A cancel takes a run from its holder, who learns of it with its next renewal.
    """
    last = [one for one in journal.answers[start.item] if isinstance(one, OutcomeUnknown)]
    ended_s = journal.cancelled_s.get(start.run, -LEASE_S)
    return bool(last) and last[-1].final and 0 <= start.at_s - ended_s <= LEASE_S


def _mails(journal: Journal, excuse: Excuses) -> Iterator[str]:
    """Each mail is sent at least once, and twice only if there was a fault in between."""
    rows = journal.server.look("SELECT id, sent_at, dead_at FROM outbox")
    for mail, sent_at, dead_at in rows:
        times = journal.outside.mails[mail]
        if sent_at is None and dead_at is None:
            yield f"mail {mail} was not sent"
        if sent_at is not None and not times:
            yield f"mail {mail} is noted as sent, and was not"
        for first_s, next_s in pairwise(times):
            if not excuse.between(first_s - MARGIN_S, next_s):
                yield f"mail {mail} was sent at {first_s:.2f} and again at {next_s:.2f}"
    known = {row[0] for row in rows}
    yield from (
        f"mail {mail} is not in the outbox" for mail in journal.outside.mails if mail not in known
    )


class LiveReader:
    """Reads a thread after every commit, and compares it with a replay at the end."""

    def __init__(self, server: SimulatedServer, thread: ThreadId) -> None:
        self._store = DirectStore(server)
        self._thread = thread
        self._live = Reader(self._store, thread)

    def look(self) -> None:
        run_now(self._live.look())

    def violations(self) -> Iterator[str]:
        replay = Reader(self._store, self._thread)
        try:
            run_now(replay.look())
        except AssertionError as error:
            yield f"thread {self._thread} cannot be replayed: {error!r}"
        if self._live.events != replay.events:
            yield f"thread {self._thread}: live {self._live.events}, replayed {replay.events}"
