"""An academy with a course a student, in a database of its own, so that each run is judged alone.

What a run has done is told from the database: the rows of its tools, and its journal.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tests.acceptance.database import private_database
from twelvefold.core.ids import RunId, ThreadId
from twelvefold.core.ports import Store
from twelvefold.services.store import open_store
from twelvefold.services.store.migrate import migrate
from twelvefold.workflows.enrolment.workflow import workflow

SEATS = 5
Line = tuple[str, str]
"""An entry of the journal as its type and its tool."""


@dataclass(frozen=True, slots=True)
class Place:
    """A student and the course that only this student takes."""

    number: int

    @property
    def student(self) -> str:
        return f"student-{self.number}"

    @property
    def course(self) -> str:
        return f"CR-{self.number}"

    @property
    def wish(self) -> str:
        return f"Enrol me in {self.course}, please."

    @property
    def record(self) -> dict[str, Any]:
        """The course as a line of the catalogue."""
        return {
            "clbid": f"{self.course}-A",
            "department": "CR",
            "department_name": "Crashes",
            "number": str(self.number),
            "term": 20262,
            "name": f"Course {self.number}",
            "credits": 1,
            "status": "O",
            "enrolled": 0,
            "max": SEATS,
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one student's wish. `why` says it in words where something is wrong."""

    lost: bool = False
    doubled: bool = False
    finished: bool = True
    why: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Found:
    """What the database says of one student."""

    runs: Sequence[dict[str, Any]]
    events: Sequence[dict[str, Any]]
    counts: dict[str, int] = field(default_factory=dict)


@asynccontextmanager
async def academy(server_url: str, name: str, places: Sequence[Place]) -> AsyncIterator[str]:
    """The URL of a migrated and seeded database beside the given one; dropped at the end."""
    async with private_database(server_url, name) as url:
        await migrate(url)
        store = await open_store(url)
        try:
            await store.run_script(workflow.schema)
            assert workflow.seed is not None
            async with store.write() as tx:
                await workflow.seed(tx, [place.record for place in places])
        finally:
            await store.close()
        yield url


async def run_of(store: Store, place: Place) -> RunId | None:
    """The student's run; None if nothing was written of it."""
    async with store.read() as db:
        row = await db.fetch_one(
            "select r.thread_id, r.ordinal from runs r join threads t on t.id = r.thread_id"
            " where t.principal = :student order by r.created_at desc limit 1",
            student=place.student,
        )
    return RunId(ThreadId(row["thread_id"]), row["ordinal"]) if row else None


async def lease_s(store: Store, run: RunId) -> float:
    """For how long nobody else may take the run up, by the server's clock."""
    async with store.read() as db:
        row = await db.fetch_one(
            "select lease_until - cast(unix_timestamp(now(6)) * 1000000 as signed) as left_us"
            " from runs where thread_id = :thread and ordinal = :ordinal",
            thread=run.thread,
            ordinal=run.ordinal,
        )
    return max(0.0, row["left_us"] / 1_000_000) if row else 0.0


async def judge(
    store: Store, place: Place, expected: Sequence[Line], problems: Sequence[str] = ()
) -> Verdict:
    """Compare all that the database says of a student with what one whole run leaves behind.

    `problems` are those that were seen already: with one, the trial counts as not finished.
    """
    found = await _find(store, place)
    why = [*problems]
    why += [f"{name} is {count}, not 1" for name, count in found.counts.items() if count != 1]
    lines = [_line(event) for event in found.events]
    why += [f"missing in the journal: {line}" for line in _without(expected, lines)]
    why += [f"too much in the journal: {line}" for line in _without(lines, expected)]
    positions = [event["position"] for event in found.events]
    whole = positions == list(range(1, len(positions) + 1))
    if not whole:
        why.append(f"positions in the journal are {positions}")
    statuses = [run["status"] for run in found.runs]
    if statuses != ["completed"]:
        why.append(f"runs are {statuses}")
    return Verdict(
        lost=not whole
        or any(count < 1 for count in found.counts.values())
        or bool(_without(expected, lines)),
        doubled=any(count > 1 for count in found.counts.values())
        or bool(_without(lines, expected)),
        finished=statuses == ["completed"] and lines == list(expected) and not problems,
        why=tuple(f"{place.student}: {one}" for one in why),
    )


async def _find(store: Store, place: Place) -> _Found:
    who = {"student": place.student}
    threads = "select id from threads where principal = :student"
    counts = {
        "enrolments": "select count(*) as n from enrolments where student_id = :student",
        "welcomes": "select sum(welcomed) as n from enrolments where student_id = :student",
        "seats held by the student": "select seats_held as n from students where id = :student",
        "seats taken": "select capacity - seats_left as n from sections where id = :section",
        "mails": f"select count(*) as n from outbox where thread_id in ({threads})",
        "threads": "select count(*) as n from threads where principal = :student",
    }
    async with store.read() as db:
        runs = await db.fetch_all(f"select status from runs where thread_id in ({threads})", **who)
        events = await db.fetch_all(
            f"select position, type, body from events where thread_id in ({threads})"
            " order by thread_id, position",
            **who,
        )
        counted = {}
        for name, statement in counts.items():
            row = await db.fetch_one(statement, **who, section=f"{place.course}-A")
            counted[name] = int(row["n"] or 0) if row else 0
    return _Found(runs, events, counted)


def _line(event: dict[str, Any]) -> Line:
    return event["type"], msgspec.json.decode(event["body"]).get("tool", "")


def _without(lines: Sequence[Line], others: Sequence[Line]) -> list[Line]:
    """Those lines that are left when each of the others has taken one away."""
    left = list(lines)
    for line in others:
        if line in left:
            left.remove(line)
    return left
