"""Background enrolments over two workers, of which one is killed and one is told to end.

    DATABASE_URL=mysql://… python -m tests.acceptance.workers [--runs 200] [--smtp URL MAILDIR]

A third worker is started when the first is killed. What came of it is told from the database and
from the mail that a real server took. Exit 1 unless every run is finished once, every seat is
taken once and every welcome mail is there, none twice: but for those that the killed worker had
handed over and had no time to note, which come again under the same Message-ID.
"""

import argparse
import asyncio
import json
import os
import secrets
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import msgspec

from tests.acceptance.academy import SEATS, Line, Place, academy
from tests.acceptance.crash import ENTRY_POINT, ROOT, Process
from tests.acceptance.crash_model import Client, CrashModel, crash_model, journal_of
from tests.smtp_sink import Sink
from twelvefold.boot import RandomIds
from twelvefold.core.budget import Limits
from twelvefold.core.ports import Principal, Store
from twelvefold.engine.commands import RunRequest, enqueue_run
from twelvefold.engine.services import Services
from twelvefold.services.model.scripted import ScriptedModel, in_turn
from twelvefold.services.store import open_store
from twelvefold.worker.outbox import PARALLEL_SENDS
from twelvefold.workflows.enrolment.workflow import workflow

LEASE_S = 2.0
PACE_MS = 150
"""How long a reply of the model takes."""
GIVE_UP_S = 800.0
DOMAIN = "academy.example"
WHOLE_RUN = journal_of("in_turn")


@dataclass(frozen=True, slots=True)
class Worker:
    """A real `twelvefold worker`, and the file that its standard output goes to."""

    name: str
    process: Process
    log: Path

    def told(self) -> list[dict[str, Any]]:
        """Its log lines. The last one of a worker that was killed may be cut off."""
        whole = (line for line in self.log.read_text().splitlines() if line.endswith("}"))
        return [json.loads(line) for line in whole]

    async def end(self, how: signal.Signals) -> int:
        """Send a signal, and wait until the process has ended; returns its exit status."""
        self.process.send_signal(how)
        return await self.process.wait()


@dataclass(frozen=True, slots=True)
class Report:
    """What came of it. `why` says in words what is wrong; `seen` is what else there is to say."""

    seen: tuple[str, ...]
    why: tuple[str, ...]


@dataclass
class Scene:
    """What the workers stand on."""

    url: str
    store: Store
    model: CrashModel
    smtp_url: str
    maildir: Path
    logs: Path
    max_runs: int
    workers: list[Worker] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def say(self, sentence: str) -> None:
        self.seen.append(f"{time.monotonic() - self.began:6.1f} s  {sentence}")

    async def start(self, name: str) -> Worker:
        log = self.logs / f"{name}.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", ENTRY_POINT, "worker"),
                env=self._environment(name),
                cwd=self.logs,
                stdout=output,
            )
        self.workers.append(worker := Worker(name, process, log))
        return worker

    def _environment(self, name: str) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": os.pathsep.join(path for path in (str(ROOT), *sys.path) if path),
            "DATABASE_URL": self.url,
            "OPENAI_BASE_URL": self.model.base_url(Client(name, pace_ms=PACE_MS)),
            "OPENAI_MODEL": "mock",
            "LEASE_S": f"{LEASE_S:g}",
            "GRACE_S": "10",
            "MAX_RUNS": str(self.max_runs),
            "SMTP_URL": self.smtp_url,
            "MAIL_FROM": f"The Academy <office@{DOMAIN}>",
        }

    async def count(self, statement: str) -> int:
        async with self.store.read() as db:
            row = await db.fetch_one(statement)
        return int(row["n"] or 0) if row else 0

    async def until(self, statement: str, number: int) -> int:
        while (found := await self.count(statement)) < number:
            await asyncio.sleep(0.05)
        return found


FINISHED = "select count(*) as n from runs where status = 'completed'"
SENT = "select count(*) as n from outbox where sent_at is not null"
HELD = "select count(*) as n from runs where lease_until > unix_timestamp(now(6)) * 1000000"


async def enrolments(
    server_url: str, runs: int, *, mail: tuple[str, Path], hurry: bool = False
) -> Report:
    """Play it all. `runs` is a multiple of `SEATS`: each course has as many seats as students.

    `mail` is where mail is sent and the maildir where it arrives. `hurry` lets the letters that
    the killed worker held be due as soon as nothing else is left.
    """
    courses = [Place(number) for number in range(1, runs // SEATS + 1)]
    name = f"workers_{secrets.token_hex(6)}"
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(academy(server_url, name, courses))
        model = await stack.enter_async_context(crash_model())
        store = await open_store(url)
        stack.push_async_callback(store.close)
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="workers-")))
        scene = Scene(url, store, model, *mail, logs, max_runs=max(4, runs // 6))
        stack.push_async_callback(_ended, scene)
        await _enqueue(scene, courses)
        why = await _played(scene, runs, hurry=hurry)
        why += await _wrong_runs(scene, runs)
        why += await _wrong_seats(scene, runs)
        why += await _wrong_mails(scene, runs)
        return Report(tuple(scene.seen), tuple(why))


async def _ended(scene: Scene) -> None:
    for worker in scene.workers:
        if worker.process.returncode is None:
            await worker.end(signal.SIGKILL)


async def _enqueue(scene: Scene, courses: Sequence[Place]) -> None:
    services = Services(
        scene.store,
        ScriptedModel(in_turn()),
        {workflow.name: workflow},
        RandomIds(),
        Limits(),
        "workers",
    )
    for course in courses:
        for seat in range(SEATS):
            said = {"type": "message", "role": "user", "content": course.wish}
            who = Principal(f"student-{course.number}-{seat}")
            await enqueue_run(
                services, RunRequest(workflow=workflow.name, principal=who, items=[said])
            )
    scene.say(f"{len(courses) * SEATS} enrolments are queued")


async def _played(scene: Scene, runs: int, *, hurry: bool) -> list[str]:
    why: list[str] = []
    try:
        async with asyncio.timeout(GIVE_UP_S):
            first, second = await scene.start("first"), await scene.start("second")
            finished = await scene.until(FINISHED, runs // 5)
            await first.end(signal.SIGKILL)
            held = await scene.count(HELD)
            scene.say(f"the first worker is killed: {finished} finished, {held} leases are held")
            third = await scene.start("third")
            finished = await scene.until(FINISHED, runs // 2)
            scene.say(f"the second worker is told to end: {finished} finished")
            why += _wrong_end(second, await second.end(signal.SIGTERM))
            scene.say("the second worker has ended")
            await scene.until(FINISHED, runs)
            scene.say("all runs are finished")
            await _all_sent(scene, runs, hurry=hurry)
            scene.say("all letters are sent")
            why += _wrong_end(third, await third.end(signal.SIGTERM))
    except TimeoutError:
        why.append(f"was not over after {GIVE_UP_S:g} s")
    for worker in scene.workers:
        scene.say(_deeds(worker))
    return why


async def _all_sent(scene: Scene, runs: int, *, hurry: bool) -> None:
    held = "select count(*) as n from outbox where sent_at is null and attempts > 0"
    waiting = "select count(*) as n from outbox where sent_at is null and attempts = 0"
    while await scene.count(waiting):
        await asyncio.sleep(0.05)
    await asyncio.sleep(1)
    if left := await scene.count(held):
        scene.say(f"{left} letters are held by a worker that is gone")
    if hurry:
        async with scene.store.write() as tx:
            await tx.execute("update outbox set due_at = 0 where sent_at is null")
    await scene.until(SENT, runs)


def _wrong_end(worker: Worker, status: int) -> list[str]:
    last = worker.told()[-1]["event"]
    if (status, last) == (0, "worker_stopped"):
        return []
    return [f"the {worker.name} worker ended with {status}, its last words were {last}"]


def _deeds(worker: Worker) -> str:
    told = Counter(one["event"] for one in worker.told())
    taken = [one for one in worker.told() if one["event"] == "run_taken_up"]
    interrupted = sum(bool(one["interrupted"]) for one in taken)
    return (
        f"the {worker.name} worker: {len(taken)} runs taken up, {interrupted} of them a dead "
        f"worker's, {told['run_rested']} driven to their end, {told['mail_sent']} mails sent"
    )


async def _wrong_runs(scene: Scene, runs: int) -> list[str]:
    async with scene.store.read() as db:
        statuses = await db.fetch_all("select status, lease_token from runs")
        rows = await db.fetch_all(
            "select thread_id, position, type, body from events order by thread_id, position"
        )
    counted = Counter(row["status"] for row in statuses)
    why = [] if counted == {"completed": runs} else [f"runs are {dict(counted)}"]
    journals: dict[str, list[tuple[int, Line]]] = {}
    for row in rows:
        line = row["type"], msgspec.json.decode(row["body"]).get("tool", "")
        journals.setdefault(row["thread_id"], []).append((row["position"], line))
    whole = list(enumerate(WHOLE_RUN, start=1))
    why += [f"{id}: the journal is {found}" for id, found in journals.items() if found != whole]
    return why


async def _wrong_seats(scene: Scene, runs: int) -> list[str]:
    async with scene.store.read() as db:
        sections = await db.fetch_all(
            "select s.id, s.capacity, s.seats_left, count(e.student_id) as taken,"
            " count(distinct e.student_id) as students, coalesce(sum(e.welcomed), 0) as welcomed"
            " from sections s left join enrolments e on e.section_id = s.id"
            " group by s.id, s.capacity, s.seats_left"
        )
        students = await db.fetch_one("select count(*) as n, sum(seats_held) as held from students")
    wanted = {"capacity": SEATS, "seats_left": 0, "taken": SEATS}
    wanted |= {"students": SEATS, "welcomed": SEATS}
    why = [
        f"section {row['id']}: {found}"
        for row in sections
        if (found := {key: int(row[key]) for key in wanted}) != wanted
    ]
    taken = sum(int(row["taken"]) for row in sections)
    scene.say(f"{taken} seats are taken in {len(sections)} sections of {SEATS}")
    if students is None or (int(students["n"]), int(students["held"])) != (runs, runs):
        why.append(f"students hold seats: {students}")
    return why


async def _wrong_mails(scene: Scene, runs: int) -> list[str]:
    async with scene.store.read() as db:
        letters = await db.fetch_all("select id, attempts, body from outbox")
    copies = Counter(_message_ids(scene.maildir))
    expected = {f"<twelvefold.{row['id']}@{DOMAIN}>": row for row in letters}
    found = {id: copies[id] for id in expected}
    twice = [id for id, count in found.items() if count > 1]
    again = [row["id"] for row in letters if row["attempts"] > 1]
    scene.say(
        f"{sum(found.values())} mails in the maildir with {sum(map(bool, found.values()))} "
        f"Message-IDs, {len(twice)} of them there twice; {len(again)} letters were tried twice"
    )
    why = [f"{len(letters)} letters, not {runs}"] if len(letters) != runs else []
    to = Counter(msgspec.json.decode(row["body"])["to"] for row in letters)
    why += [f"{count} letters to {name}" for name, count in to.items() if count != 1]
    why += [f"no mail with the id {id}" for id, count in found.items() if not count]
    # One that the killed worker had handed over and not yet noted comes again, under its id.
    why += [f"twice, though tried once: {id}" for id in twice if expected[id]["attempts"] < 2]
    return why + [f"{len(twice)} mails are there twice"] * (len(twice) > PARALLEL_SENDS)


def _message_ids(maildir: Path) -> list[str]:
    return [
        str(message_from_bytes(path.read_bytes(), policy=policy.default)["Message-ID"])
        for path in (maildir / "new").iterdir()
    ]


@asynccontextmanager
async def own_sink() -> AsyncIterator[tuple[str, Path]]:
    """A mail server of this process, and its maildir."""
    with tempfile.TemporaryDirectory(prefix="maildir-") as folder:
        async with Sink(maildir=Path(folder)).serving() as sink:
            yield sink.url(), Path(folder)


async def _main(url: str, runs: int, mail: tuple[str, Path] | None, hurry: bool) -> Report:
    if mail:
        return await enrolments(url, runs, mail=mail, hurry=hurry)
    async with own_sink() as sink:
        return await enrolments(url, runs, mail=sink, hurry=hurry)


def main(environ: Mapping[str, str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--smtp", nargs=2, metavar=("URL", "MAILDIR"), help="default: its own")
    parser.add_argument(
        "--hurry", action="store_true", help="do not wait for letters that the killed one held"
    )
    arguments = parser.parse_args()
    url = environ.get("DATABASE_URL", "")
    if not url.startswith(("mysql", "mariadb")):
        parser.error("DATABASE_URL names no MySQL; python -m tests.servers run -- … starts one")
    mail = (arguments.smtp[0], Path(arguments.smtp[1])) if arguments.smtp else None
    report = asyncio.run(_main(url, arguments.runs, mail, arguments.hurry))
    print("\n".join([*report.seen, *report.why]))
    return 1 if report.why else 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
