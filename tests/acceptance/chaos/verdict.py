"""Judges a scene by the database, the counter and the mail server."""

import json
import re
from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.acceptance.chaos import plan
from tests.acceptance.chaos.arena import Arena
from tests.acceptance.chaos.counter import LeaseNote, Start
from tests.acceptance.chaos.journal import JournalLine, tickets
from tests.acceptance.chaos.plan import PlannedCall
from tests.smtp_sink import Received
from twelvefold.core.ids import THREAD_ID_LENGTH
from twelvefold.core.ports import OVER

FAULTS = ("lost", "doubled", "stuck", "no_lease", "charged", "wrong")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The figures of one scene; `why` has a sentence for each run that is counted as a fault.

    `unknown` counts the outcomes that a person settled, `mails_again` the mails that came again
    under the same Message-ID with a further attempt, `seen` how often the fault occurred.
    `recovery_s` is the longest time from the end of a fault until all that waited had continued.
    `not_run` says why the scene was not played: then its figures have no meaning.
    """

    scene: str
    runs: int = 0
    completed: int = 0
    failed: int = 0
    unknown: int = 0
    lost: int = 0
    doubled: int = 0
    stuck: int = 0
    no_lease: int = 0
    charged: int = 0
    wrong: int = 0
    mails_again: int = 0
    recovery_s: float | None = None
    seen: int = 0
    took_s: float = 0.0
    not_run: str = ""
    why: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        return self.seen > 0 and not any(getattr(self, fault) for fault in FAULTS)


@dataclass
class Evidence:
    """Everything that was left behind, by thread or by ticket."""

    statuses: Mapping[str, str]
    errors: Mapping[str, str]
    journals: Mapping[str, Sequence[JournalLine]]
    rows: Tally[str]
    letters: Mapping[str, Sequence[Mapping[str, Any]]]
    mails: Mapping[str, Sequence[Received]]
    starts: Mapping[str, Sequence[Start]]
    notes: Mapping[str, Sequence[LeaseNote]]


async def evidence(arena: Arena) -> Evidence:
    runs = await arena.admin.rows("select thread_id, status, error from runs")
    events = await arena.admin.rows(
        "select thread_id, position, type, body, at_us from events order by thread_id, position"
    )
    rows = Tally[str]()
    for table in ("orders", "refunds"):
        rows.update(row["ticket"] for row in await arena.admin.rows(f"select ticket from {table}"))
    outbox = await arena.admin.rows(
        "select id, attempts, sent_at, dead_at, error, json_value(body, '$.subject') as ticket"
        " from outbox"
    )
    return Evidence(
        {row["thread_id"]: row["status"] for row in runs},
        {row["thread_id"]: row["error"] for row in runs},
        _grouped((line.thread, line) for line in map(JournalLine.of, events)),
        rows,
        _grouped((row["ticket"], row) for row in outbox),
        _grouped((str(mail.message["Subject"]), mail) for mail in arena.sink.mails),
        arena.counter.starts_by_ticket(),
        _grouped((note.thread, note) for note in arena.counter.lease_notes()),
    )


def _grouped(pairs: Iterator[tuple[str, Any]]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = defaultdict(list)
    for key, value in pairs:
        found[key].append(value)
    return found


@dataclass
class Judge:
    """Collects what is wrong, each as one of `FAULTS` and a sentence."""

    found: Evidence
    mails_again: int = 0
    counts: Tally[str] = field(default_factory=Tally)
    why: list[str] = field(default_factory=list)

    def charge(self, fault: str, sentence: str) -> None:
        self.counts[fault] += 1
        self.why.append(f"{fault}: {sentence}")

    def run(self, thread: str, calls: Sequence[PlannedCall]) -> None:
        status = self.found.statuses.get(thread, "not written")
        journal = self.found.journals.get(thread, [])
        if status not in OVER:
            last = journal[-1].type if journal else "nothing"
            self.charge("stuck", f"{thread} is {status}; its journal ends with {last}")
        names = tickets(journal)
        said = {one.ticket: _Said.of(journal, names, one.ticket) for one in calls}
        for call in calls:
            self._effect(call, said[call.ticket], status)
            self._charged(call, said[call.ticket], journal)

    def _effect(self, call: PlannedCall, said: "_Said", status: str) -> None:
        count = self._count(call)
        must_be = said.succeeded or status == "completed" or (said.approved and status in OVER)
        if must_be and count < 1:
            self.charge("lost", f"{call.tool} {call.ticket} has no effect; {said.words}, {status}")
        if count > 1:
            self.charge("doubled", f"{call.tool} {call.ticket} has {count} effects; {said.words}")
        if call.tool in plan.MAILS:
            self._mail(call)

    def _count(self, call: PlannedCall) -> int:
        """How many effects a call has had; the counter takes each key once."""
        starts = self.found.starts.get(call.ticket, [])
        if call.tool in plan.MAILS:
            return len(self.found.letters.get(call.ticket, []))
        if call.tool in plan.KEYED:
            return len({start.key for start in starts})
        return len(starts) if call.tool in plan.UNSAFE else self.found.rows[call.ticket]

    def _mail(self, call: PlannedCall) -> None:
        sent = Tally(mail.id for mail in self.found.mails.get(call.ticket, []))
        again = sum(count - 1 for count in sent.values())
        if len(sent) > 1 or again > self._may_come_again(call):
            self.charge("doubled", f"mail {call.ticket} arrived as {dict(sent)}")
        else:
            self.mails_again += again
        for letter in self.found.letters.get(call.ticket, []):
            if letter["sent_at"] is None:
                state = "dead" if letter["dead_at"] else "not sent"
                why = f"{letter['attempts']} attempts, {letter['error'] or 'no error'}"
                self.charge("stuck", f"letter {call.ticket} is {state}: {why}")
            elif not sent:
                self.charge("lost", f"letter {call.ticket} is noted as sent and did not arrive")

    def _may_come_again(self, call: PlannedCall) -> int:
        """How often a mail may have come again: with each attempt after the first.

        There is a second attempt only if the first failed, or its sender could not record in time
        that the mail server had accepted the mail.
        """
        letters = self.found.letters.get(call.ticket, [])
        return sum(max(0, letter["attempts"] - 1) for letter in letters)

    def _charged(self, call: PlannedCall, said: "_Said", journal: Sequence[JournalLine]) -> None:
        """No tool of the plan fails by itself, so no failure may be charged to one."""
        for line in said.lines:
            if line.type == "ToolFailed" and line.body["failure"] == "fault":
                self.charge(
                    "charged", f"{call.tool} {call.ticket} is recorded as a fault of the tool"
                )
            if line.type == "OutcomeUnknown" and self._was_known(call, line, journal):
                self.charge("charged", f"{call.tool} {call.ticket} is unknown, but was never begun")

    def _was_known(
        self, call: PlannedCall, unknown: JournalLine, journal: Sequence[JournalLine]
    ) -> bool:
        """Return whether the process that caused this had proof that the call had not begun.

        A process that takes over a run with an expired lease has no such proof. Its claim may have
        waited for the step that wrote the reply.
        """
        starts = self.found.starts.get(call.ticket, [])
        if any(start.began_us <= unknown.at_us for start in starts):
            return False
        replied_us = max(
            line.at_us
            for line in journal
            if line.type == "ModelReplied" and line.position < unknown.position
        )
        between = [
            note
            for note in self.found.notes.get(unknown.thread, [])
            if replied_us <= max(note.sent_us, note.done_us) and note.sent_us <= unknown.at_us
        ]
        return not between or any(note.what == "in_doubt" for note in between)

    def leases(self) -> None:
        for starts in self.found.starts.values():
            for start in starts:
                if start.without:
                    what = "keyed" if start.key else "unsafe"
                    self.charge(
                        "no_lease", f"{what} call {start.ticket} began though {start.without}"
                    )


@dataclass(frozen=True, slots=True)
class _Said:
    """What the journal says of one call."""

    lines: tuple[JournalLine, ...]

    @classmethod
    def of(cls, journal: Sequence[JournalLine], names: Mapping[str, str], ticket: str) -> "_Said":
        return cls(
            tuple(line for line in journal if names.get(str(line.body.get("call"))) == ticket)
        )

    @property
    def succeeded(self) -> bool:
        return any(line.type == "ToolSucceeded" for line in self.lines)

    @property
    def approved(self) -> bool:
        return any(line.type == "ApprovalAnswered" and line.body["approved"] for line in self.lines)

    @property
    def words(self) -> str:
        words = [f"{line.type}({line.body.get('failure', '')})" for line in self.lines]
        return "the journal says " + (", ".join(words) or "nothing").replace("()", "")


def judged(
    scene: str, arena: Arena, found: Evidence, seen: int, took_s: float, notes: Sequence[str]
) -> Verdict:
    """Compare what was left behind with the plan of every run."""
    judge = Judge(found)
    for sentence in arena.wrong:
        judge.charge("wrong", sentence)
    for thread, variant in arena.runs.items():
        judge.run(thread, plan.calls(thread, variant))
    judge.leases()
    statuses = Tally(found.statuses.values())
    lines = [line for journal in found.journals.values() for line in journal]
    counts: dict[str, Any] = {fault: judge.counts[fault] for fault in FAULTS}
    return Verdict(
        **counts,
        scene=scene,
        runs=len(arena.runs),
        completed=statuses["completed"],
        failed=sum(statuses[status] for status in ("failed", "incomplete", "cancelled")),
        unknown=sum(line.type == "OutcomeUnknown" for line in lines),
        mails_again=judge.mails_again,
        recovery_s=max(arena.recoveries_s, default=None),
        seen=seen,
        took_s=took_s,
        why=tuple(judge.why),
        notes=(*notes, *_errors(found), *_repeated(found)),
    )


def journal_text(found: Evidence, why: Sequence[str]) -> str:
    """The journals of runs that these sentences name or a person was asked about, by lines."""
    named = set(re.findall(rf"[0-9a-f]{{{THREAD_ID_LENGTH}}}", "\n".join(why)))
    for thread, journal in found.journals.items():
        if any(line.type == "OutcomeUnknown" for line in journal):
            named.add(thread)
    lines = [line for thread in sorted(named) for line in found.journals.get(thread, [])]
    return "\n".join(json.dumps(asdict(line)) for line in lines)


def _errors(found: Evidence) -> Iterator[str]:
    """Why runs failed, each reason once."""
    reasons = Tally(
        f"{found.statuses[thread]}: {error or found.journals[thread][-1].body.get('reason', '')}"
        for thread, error in found.errors.items()
        if found.statuses[thread] in OVER and found.statuses[thread] != "completed"
    )
    for reason, count in reasons.items():
        yield f"{count} runs {reason}"


def _repeated(found: Evidence) -> Iterator[str]:
    """How often a keyed call began at most: the key makes it one call, but each start costs."""
    keyed = [len(starts) for starts in found.starts.values() if starts[0].key]
    if max(keyed, default=1) > 1:
        repeated = sum(count > 1 for count in keyed)
        yield f"{repeated} keyed calls began more than once, one of them {max(keyed)} times"
