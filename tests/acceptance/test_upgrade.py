"""An upgrade from the release before, with runs in flight: both releases on one MariaDB.

Needs the history of the repository, since it runs the code of an earlier commit.
"""

import asyncio
import json
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.database import private_database
from tests.acceptance.upgrade.enqueue import case_of
from tests.acceptance.upgrade.model import TOOLS, model_server
from tests.acceptance.upgrade.releases import ReleaseProcesses, Started, extract_source
from tests.smtp_sink import Sink
from twelvefold.core.ports import Store
from twelvefold.services.store import open_store
from twelvefold.services.store.migrate import HEAD

pytestmark = [pytest.mark.mysql, pytest.mark.slow, pytest.mark.timeout(900)]
HANG_S = 600.0
"""Only a hang takes as long, on any machine."""
URL = os.environ.get("DATABASE_URL", "")
ORDERS = "tests.acceptance.upgrade.workflow:orders"
BOTH = f"{ORDERS},tests.acceptance.upgrade.workflow:reminder"
GATE = (
    "workflow reminder needs a database on which no older release works: when the last process of "
    "the older release has ended, run `twelvefold migrate --finish`"
)
FINISHED = "select count(*) as n from runs where status = 'completed' and workflow = 'orders'"
REMINDED = "select status, attempts from runs where workflow = 'reminder'"


@dataclass
class Stage:
    """A database, the processes of both releases on it, and the file of the payments."""

    store: Store
    old: ReleaseProcesses
    new: ReleaseProcesses
    charges: Path
    stop: Path

    async def rows(self, statement: str) -> list[dict[str, Any]]:
        async with self.store.read() as db:
            return [dict(row) for row in await db.fetch_all(statement)]

    async def count(self, statement: str) -> int:
        return int((await self.rows(statement))[0]["n"])

    async def until(self, statement: str, number: int) -> None:
        """Wait until the statement counts so many."""
        deadline = time.monotonic() + HANG_S
        while (found := await self.count(statement)) < number:
            assert time.monotonic() < deadline, f"{found} of {number}: {statement}"
            await asyncio.sleep(0.05)

    async def enqueue(self, release: ReleaseProcesses, prefix: str) -> list[str]:
        """Start runs with a process of the release until `stop` exists; return their cases."""
        arguments = ("orders", "--until", str(self.stop), prefix)
        told = await release.run_module("enqueue", *arguments, workflows=ORDERS)
        return [case_of(prefix, number) for number in range(int(told.split()[-1]))]

    async def schema(self) -> tuple[str, str]:
        schema = await self.store.schema()
        assert schema is not None
        return schema.level, schema.serves


@asynccontextmanager
async def stage(directory: Path) -> AsyncIterator[Stage]:
    source = str(extract_source(directory))
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(private_database(URL, f"upgrade_{os.getpid()}"))
        model_url = await stack.enter_async_context(model_server())
        sink = await stack.enter_async_context(Sink().serving())
        settings = {
            "DATABASE_URL": url,
            "OPENAI_BASE_URL": model_url,
            "SMTP_URL": sink.url(),
            "MAIL_FROM": "Orders <orders@upgrade.example>",
            "UPGRADE_CHARGES": str(directory / "charges"),
        }
        store = await open_store(url, pool_size=2)
        stack.push_async_callback(store.close)
        old = ReleaseProcesses("before", source, settings, directory)
        new = ReleaseProcesses("after", "", settings, directory)
        stack.push_async_callback(old.close)
        stack.push_async_callback(new.close)
        yield Stage(store, old, new, directory / "charges", directory / "stop")


async def test_both_releases_work_on_runs_in_flight_until_the_upgrade_is_finished(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as here:
        told = await here.old.run("migrate", workflows=ORDERS)
        assert told[0] == 0, told
        assert (await here.schema())[0] == "0005"
        fields = json.loads(await here.old.run_module("fields"))
        workers, cases = await _upgrade_with_runs_in_flight(here)
        await _check_effects(here, cases)
        await _check_journal(here, fields)

        old_web = await here.old.web(ORDERS)
        assert (await old_web.probe())[0] == 200
        await _check_closed_gate(here)
        await _check_journal(here, fields)

        for worker in (*workers, *here.old.started):
            if worker is not old_web:
                assert await worker.end(signal.SIGTERM) in (0, -signal.SIGKILL)
        await _finish(here)
        await _check_older_release_is_refused(here, old_web)


async def _upgrade_with_runs_in_flight(here: Stage) -> tuple[list[Started], list[str]]:
    """Migrate while older workers drive runs, add newer ones, and kill one worker of each.

    Returns the newer workers, and the cases of all runs.
    """
    old_workers = [await here.old.worker(ORDERS) for _ in range(2)]
    async with asyncio.TaskGroup() as group:
        enqueuing = [group.create_task(here.enqueue(here.old, "a"))]
        await here.until(FINISHED, 3)
        status, told = await here.new.run("migrate", workflows=ORDERS)
        assert (status, f"applied {HEAD}" in told) == (0, True), told
        assert await here.schema() == (HEAD, "0003")

        approving = group.create_task(_approve_all(here))
        # The older release also starts runs on the new schema.
        enqueuing.append(group.create_task(here.enqueue(here.new, "b")))
        new_workers = [await here.new.worker(ORDERS) for _ in range(2)]
        for worker in (old_workers[0], new_workers[0]):
            await _until_busy(worker)
            assert await worker.end(signal.SIGKILL) == -signal.SIGKILL
        here.stop.touch()
        cases = [case for one in enqueuing for case in await one]
        await here.until(FINISHED, len(cases))
        approving.cancel()
    assert _taken_over(here), "no run of a killed worker was continued"
    return new_workers, cases


async def _until_busy(worker: Started) -> None:
    """Wait until a worker has driven runs; it still has some."""
    while worker.count("run_finished") < 3:
        await asyncio.sleep(0.05)


def _taken_over(here: Stage) -> int:
    """How many runs were continued whose process had died."""
    logs = [one.log.read_text() for one in (*here.old.started, *here.new.started)]
    return sum(text.count('"interrupted": true') for text in logs)


async def _approve_all(here: Stage) -> None:
    """Approve what runs ask, with the command of the older and of the newer release in turn."""
    releases = [here.old, here.new]
    waiting = (
        "select r.thread_id, r.ordinal, json_value(e.body, '$.call') as id from runs r"
        " join events e on e.thread_id = r.thread_id and e.type = 'ApprovalAsked'"
        " where r.status = 'waiting'"
    )
    while True:
        for row in await here.rows(waiting):
            run = f"resp_{row['thread_id']}{row['ordinal']}"
            typed = ("runs", "approve", run, "--call", row["id"], "--detach")
            status, told = await releases[0].run(*typed, workflows=ORDERS)
            assert status == 0, told
            releases.reverse()
        await asyncio.sleep(0.2)


async def _check_effects(here: Stage, cases: Sequence[str]) -> None:
    """Each call of each run has had its effect once."""
    kinds = dict(case.split("=") for case in cases)
    calls = [
        (tool, f"{case}:{number}")
        for case, kind in kinds.items()
        for number, tool in enumerate(TOOLS[kind])
    ]
    found = Counter[tuple[str, str]]()
    for table, tool in (("orders", "place_order"), ("refunds", "refund")):
        found.update(
            (tool, row["ticket"]) for row in await here.rows(f"select ticket from {table}")
        )
    subject = "select json_value(body, '$.subject') as ticket from outbox"
    found.update(("send_letter", row["ticket"]) for row in await here.rows(subject))
    # A call with a key may be repeated: the payment service takes each key once.
    keys = {tuple(line.split()) for line in here.charges.read_text().splitlines()}
    found.update(("charge", ticket) for ticket, _ in keys)
    assert found == Counter(calls)


async def _check_journal(here: Stage, fields: dict[str, Sequence[str]]) -> None:
    """All kinds of entries, and all their fields, are known to the older release."""
    unknown = Counter[str]()
    for row in await here.rows("select type, body from events"):
        body = json.loads(row["body"])
        known = fields.get(row["type"], ())
        unknown.update([row["type"]] * (row["type"] not in fields))
        unknown.update(f"{row['type']}.{name}" for name in body if name not in known)
        unknown.update(
            f"asked.{name}" for name in body.get("asked", ()) if name not in fields["asked"]
        )
    assert not unknown
    releases = await here.rows(
        "select distinct json_value(body, '$.release') as name from events"
        " where type = 'RunStarted' and json_value(body, '$.workflow') = 'orders'"
    )
    assert {row["name"] for row in releases} == {"before", "after"}


async def _check_closed_gate(here: Stage) -> None:
    """A workflow that waits is not started; a run of it that exists rests, and loses no attempt."""
    status, told = await here.new.run("run", "--workflow", "reminder", "Remind me", workflows=BOTH)
    assert (status != 0, GATE in " ".join(told.split())) == (True, True), told

    await here.old.run_module("enqueue", "reminder", "d0=reminded", workflows=BOTH)
    worker = await here.new.worker(BOTH)
    while worker.count("run_given_back") < 2:
        await asyncio.sleep(0.1)
    assert GATE in worker.log.read_text()
    (row,) = await here.rows(REMINDED)
    assert (row["status"] in ("queued", "running"), row["attempts"] <= 1) == (True, True), row


async def _finish(here: Stage) -> None:
    """`migrate --finish` opens the gate in the workers that run already, and waits work."""
    status, told = await here.new.run("migrate", "--finish", workflows=BOTH)
    assert status == 0, told
    assert await here.schema() == (HEAD, HEAD)
    worker = await here.new.worker(BOTH)
    await here.new.run_module("enqueue", "reminder", "e0=reminded", workflows=BOTH)
    done = "select count(*) as n from runs where workflow = 'reminder' and status = 'completed'"
    await here.until(done, 2)
    kinds = Counter(row["type"] for row in await here.rows("select type from events"))
    assert (kinds["WaitStarted"], kinds["WaitEnded"]) == (2, 2)
    assert await worker.end(signal.SIGTERM) == 0


async def _check_older_release_is_refused(here: Stage, old_web: Started) -> None:
    """The older release does not serve the database any more, and a roll back says why."""
    while (ready := await old_web.probe())[0] == 200:
        await asyncio.sleep(0.2)
    assert ready[0] == 503
    for command in (("worker",), ("migrate",), ("runs", "list")):
        status, told = await here.old.run(*command, workflows=ORDERS)
        assert status not in (0, -signal.SIGKILL), told
        assert HEAD in told, told
        assert "Traceback" not in told, told
    assert await here.schema() == (HEAD, HEAD)
