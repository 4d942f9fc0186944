"""Runs that wait for answers, events, times and approvals, while processes are killed.

    DATABASE_URL=mysql://… python -m tests.acceptance.waits [--runs 200] [--workers 3]

Each second one worker or the process of the people gets SIGKILL. A third of the payments comes
before its run begins, a third at a random instant, and a third when the run waits; each comes
twice at once. Exits with 1 unless every run is completed, each effect occurred once, each wait
ended once, and no timer ended early.
"""

import argparse
import asyncio
import os
import random
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.acceptance.database import private_database
from tests.acceptance.families.__main__ import CONTEXT, GIVE_UP_S, count, kill, progress, unfinished
from tests.acceptance.waits.processes import PRICE, colour_of, run_payer, run_person, run_worker
from tests.acceptance.waits.workflow import SCHEMA, shop
from tests.builders import finished_release
from twelvefold.boot import RandomIds
from twelvefold.core import Entry, ToolSucceeded, WaitEnded, WaitStarted
from twelvefold.core.budget import Limits
from twelvefold.core.ports import Principal, Store
from twelvefold.engine.commands import RunRequest, enqueue_run
from twelvefold.engine.services import Services
from twelvefold.services.model.scripted import ScriptedModel, in_turn
from twelvefold.services.store import open_store
from twelvefold.services.store.migrate import migrate

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerProcess
PAYMENTS_S = 10.0
"""The time over which payments come at random."""
REASONS = {"ask_colour": "answer", "await_payment": "event", "pause": "time"}
CONTEXT.set_forkserver_preload(
    ["tests.acceptance.waits.processes", "tests.acceptance.families.worker"]
)


@dataclass
class Report:
    """What came of it; `wrong` has a sentence for each wait that ended in another way."""

    runs: int
    kills: int
    took_s: float
    completed: int
    unfinished: int
    lost: int
    doubled: int
    wrong: tuple[str, ...]

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.doubled or self.wrong) and self.completed == self.runs

    def __str__(self) -> str:
        figures = (
            f"{self.runs} runs with four waits each, {self.kills} processes killed, "
            f"{self.took_s:.1f} s: completed {self.completed}, lost {self.lost}, "
            f"doubled {self.doubled}, wrong {len(self.wrong)}"
        )
        return "\n".join([figures, *self.wrong])


async def play(
    server: str, runs: int, workers: int, seed: int = 1, most_kills: int = 1_000
) -> Report:
    """Start the runs, kill a process each second until all are over, and judge the database.

    After `most_kills` the processes are left alone.
    """
    async with private_database(server, f"waits_{secrets.token_hex(6)}") as url:
        await migrate(url)
        store = await open_store(url, pool_size=4)
        try:
            await store.run_script(SCHEMA)
            await store.add_release(finished_release())
            return await _play(url, store, runs, workers, most_kills, random.Random(seed))
        finally:
            await store.close()


async def _play(
    url: str, store: Store, runs: int, workers: int, most_kills: int, chance: random.Random
) -> Report:
    began = time.monotonic()
    early = [(_principal(number), f"payment:{number}", 0.0) for number in range(0, runs, 3)]
    payer = _start(run_payer, url, early)
    await asyncio.to_thread(payer.join)
    await _enqueue(store, runs)
    later = [
        (_principal(number), f"payment:{number}", chance.uniform(0, PAYMENTS_S))
        for number in range(1, runs, 3)
    ]
    payers = [_start(run_payer, url, later) for _ in range(2)]
    kinds = [run_worker] * workers + [run_person]
    processes = [_start(kind, url) for kind in kinds]
    kills = 0
    try:
        while await unfinished(store) and time.monotonic() - began < GIVE_UP_S:
            await progress(store)
            if kills == most_kills:
                continue
            chosen = chance.randrange(len(processes))
            await kill(processes[chosen])
            processes[chosen] = _start(kinds[chosen], url)
            kills += 1
    finally:
        for process in (*processes, *payers):
            await kill(process)
    return await _judge(store, runs, kills, time.monotonic() - began)


def _start(target: Callable[..., None], *arguments: object) -> "ForkServerProcess":
    process = CONTEXT.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def _principal(number: int) -> str:
    return f"p{number % 7}"


async def _enqueue(store: Store, runs: int) -> None:
    model = ScriptedModel(in_turn())
    services = Services(store, model, {shop.name: shop}, RandomIds(), Limits(), "test")
    for number in range(runs):
        text = [{"type": "input_text", "text": str(number)}]
        item = {"type": "message", "role": "user", "content": text}
        request = RunRequest(shop.name, Principal(_principal(number)), [item])
        await enqueue_run(services, request)


async def _judge(store: Store, runs: int, kills: int, took_s: float) -> Report:
    found = Counter[tuple[str, str, int]]()
    async with store.read() as db:
        for row in await db.fetch_all("select number from reservations"):
            found["reservation", row["number"], 0] += 1
        for row in await db.fetch_all("select number, price from sales"):
            found["sale", row["number"], int(row["price"])] += 1
    wanted = Counter[tuple[str, str, int]]()
    for number in range(runs):
        wanted.update([("reservation", str(number), 0), ("sale", str(number), PRICE)])
    wrong: list[str] = []
    for record in await store.runs(limit=runs):
        journal = await store.load(record.run.thread)
        wrong += _wrong_waits(str(record.run), colour_of(record.run), journal.entries)
    return Report(
        runs,
        kills,
        took_s,
        completed=await count(store, "select count(*) as n from runs where status = 'completed'"),
        unfinished=await unfinished(store),
        lost=(wanted - found).total(),
        doubled=(found - wanted).total(),
        wrong=tuple(wrong),
    )


def _wrong_waits(run: str, colour: str, entries: Sequence[Entry]) -> Iterator[str]:
    """Yield what is wrong with the waits of a run."""
    started = [entry.event for entry in entries if isinstance(entry.event, WaitStarted)]
    if [one.tool for one in started] != list(REASONS):
        yield f"{run}: began to wait in {[one.tool for one in started]}"
    for wait in started:
        ends = [
            entry
            for entry in entries
            if isinstance(entry.event, WaitEnded) and entry.event.call == wait.call
        ]
        results = [
            entry.event.result
            for entry in entries
            if isinstance(entry.event, ToolSucceeded) and entry.event.call == wait.call
        ]
        reasons = [entry.event.reason for entry in ends if isinstance(entry.event, WaitEnded)]
        if reasons != [REASONS[wait.tool]] or len(results) != 1:
            yield f"{run}: {wait.tool} ended by {reasons} with {results}"
        elif wait.tool == "ask_colour" and results != [f'"{colour}"']:
            yield f"{run}: the answer is {results[0]}, not {colour}"
        elif wait.tool == "pause" and ends[0].at_us < wait.until_us:
            yield f"{run}: the timer ended {wait.until_us - ends[0].at_us} µs early"


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
