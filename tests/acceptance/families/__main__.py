"""Runs with sub-workflows on real workers, of which one is killed each second.

    DATABASE_URL=mysql://… python -m tests.acceptance.families [--runs 200] [--workers 3]

Exits with 1 unless every run of a family is completed, and each purchase was made once.
"""

import argparse
import asyncio
import multiprocessing
import os
import random
import secrets
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.acceptance.database import private_database
from tests.acceptance.families.worker import run_worker
from tests.acceptance.families.workflow import CLERKS, SCHEMA, boss, clerk
from tests.builders import finished_release
from twelvefold.boot import RandomIds
from twelvefold.core.budget import Limits
from twelvefold.core.ports import Principal, Store
from twelvefold.engine.commands import RunRequest, enqueue_run
from twelvefold.engine.services import Services
from twelvefold.services.model.scripted import ScriptedModel, in_turn
from twelvefold.services.store import open_store
from twelvefold.services.store.migrate import migrate

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerProcess
KILL_EVERY_S = 1.0
NO_PROGRESS_S = 60.0
GIVE_UP_S = 800.0
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.acceptance.families.worker"])
"""The modules are imported once: a process that is killed each second would do little else."""


@dataclass
class Report:
    """What came of it; `problems` is empty if all is well."""

    runs: int
    kills: int
    took_s: float
    completed: int
    lost: int
    doubled: int
    unfinished: int
    orphans: int

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.doubled or self.unfinished or self.orphans)

    def __str__(self) -> str:
        return (
            f"{self.runs} runs with {len(CLERKS)} children each, {self.kills} workers killed, "
            f"{self.took_s:.1f} s: lost {self.lost}, doubled {self.doubled}, "
            f"unfinished {self.unfinished}, children without a parent's entry {self.orphans}"
        )


@dataclass
class Workers:
    """Worker processes on one database, each of which is replaced when it is killed."""

    url: str
    processes: "list[ForkServerProcess]" = field(default_factory=list)
    kills: int = 0

    async def start(self) -> None:
        process = CONTEXT.Process(target=run_worker, args=(self.url,), daemon=True)
        process.start()
        self.processes.append(process)

    async def kill_one(self, chance: random.Random) -> None:
        process = self.processes.pop(chance.randrange(len(self.processes)))
        await kill(process)
        self.kills += 1
        await self.start()

    async def end(self) -> None:
        for process in self.processes:
            await kill(process)


async def kill(process: "ForkServerProcess") -> None:
    process.kill()
    await asyncio.to_thread(process.join)


@asynccontextmanager
async def working(url: str, count: int) -> AsyncIterator[Workers]:
    workers = Workers(url)
    try:
        for _ in range(count):
            await workers.start()
        yield workers
    finally:
        await workers.end()


async def play(
    server: str, runs: int, count: int, seed: int = 1, most_kills: int = 1_000
) -> Report:
    """Enqueue the runs, kill a worker each second until all are over, and judge the database.

    After `most_kills` the workers are left alone.
    """
    async with private_database(server, f"families_{secrets.token_hex(6)}") as url:
        await migrate(url)
        store = await open_store(url, pool_size=4)
        try:
            await store.run_script(SCHEMA)
            await store.add_release(finished_release())
            await _enqueue(store, runs)
            began, chance = time.monotonic(), random.Random(seed)
            async with working(url, count) as workers:
                while await unfinished(store) and time.monotonic() - began < GIVE_UP_S:
                    await progress(store)
                    if workers.kills < most_kills:
                        await workers.kill_one(chance)
            return await _judge(store, runs, workers.kills, time.monotonic() - began)
        finally:
            await store.close()


async def _enqueue(store: Store, runs: int) -> None:
    model = ScriptedModel(in_turn())
    workflows = {boss.name: boss, clerk.name: clerk}
    services = Services(store, model, workflows, RandomIds(), Limits(), "test")
    for number in range(runs):
        text = [{"type": "input_text", "text": f"order {number}"}]
        item = {"type": "message", "role": "user", "content": text}
        request = RunRequest("boss", Principal(f"p{number % 7}"), [item])
        await enqueue_run(services, request)


async def progress(store: Store) -> None:
    """Wait for a second, and until the runs have moved.

    On a busy machine a process needs longer than a second to start: killed earlier, none works.
    """
    entries = "select count(*) as n from events"
    before = await count(store, entries)
    await asyncio.sleep(KILL_EVERY_S)
    began = time.monotonic()
    while await count(store, entries) == before and time.monotonic() - began < NO_PROGRESS_S:
        await asyncio.sleep(0.1)


async def unfinished(store: Store) -> int:
    """Return how many runs are not over."""
    return await count(store, "select count(*) as n from runs where finished_at is null")


async def count(store: Store, statement: str) -> int:
    async with store.read() as db:
        row = await db.fetch_one(statement)
    return int(row["n"]) if row else 0


async def _judge(store: Store, runs: int, kills: int, took_s: float) -> Report:
    async with store.read() as db:
        bought = Counter(row["item"] for row in await db.fetch_all("select item from purchases"))
    wanted = {f"order {number}-{one}" for number in range(runs) for one in CLERKS}
    children = await count(
        store, "select count(*) as n from threads where parent_thread is not null"
    )
    not_completed = "select count(*) as n from runs where status <> 'completed'"
    completed = "select count(*) as n from runs where status = 'completed' and workflow = 'boss'"
    return Report(
        runs,
        kills,
        took_s,
        completed=await count(store, completed),
        lost=len(wanted - bought.keys()),
        doubled=sum(times - 1 for times in bought.values()),
        unfinished=await count(store, not_completed),
        orphans=abs(children - runs * len(CLERKS)),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--workers", type=int, default=3)
    options = parser.parse_args()
    report = asyncio.run(play(os.environ["DATABASE_URL"], options.runs, options.workers))
    print(report)
    return 0 if report.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
