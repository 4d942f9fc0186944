"""Background runs on 1, 2 and 4 workers, and how long a run pauses after a fault.

    DATABASE_URL=mysql://… [BROKER_URL=…] python -m bench.workers [--runs 400] [--model-ms 300]

Real `twelvefold worker` processes drive enrolments (four replies of the model, three tools, five
commits) with the mock model. The first table has runs a second and the CPU of the workers and of
the database. The second has the time from a fault until the next entry of the run: a worker that
is killed, and one that is terminated, while another is idle.
"""

import argparse
import asyncio
import os
import secrets
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

from bench.asking import course, wish
from bench.cold_start import ENTRY_POINT
from bench.database import private_database
from bench.processes import ROOT, mock_model
from bench.system import cpu_s, server_pid
from bench.table import markdown
from twelvefold.boot import RandomIds
from twelvefold.core.budget import Limits
from twelvefold.core.ports import Principal, Store
from twelvefold.engine.commands import RunRequest, enqueue_run
from twelvefold.engine.services import Services
from twelvefold.services.model.scripted import ScriptedModel, says
from twelvefold.services.store import open_store
from twelvefold.workflows.enrolment.workflow import workflow

REPLIES = 4
LEASE_S = 10
POLL_S = 0.005
START_S = 5.0
"""The time in which every worker has finished its imports and waits for work."""


@dataclass(frozen=True, slots=True)
class Figures:
    """`workers` processes have driven all runs."""

    workers: int
    runs_s: float
    worker_cpu_ms: float
    database_cpu_ms: float
    run_ms: float
    """Median from the creation of a run to its end."""


@dataclass(frozen=True, slots=True)
class Bench:
    """One database, its store, and the environment of its workers."""

    store: Store
    environment: Mapping[str, str]
    database_pid: int

    @contextmanager
    def worker(self) -> "Iterator[subprocess.Popen[bytes]]":
        process = subprocess.Popen(
            [sys.executable, "-c", ENTRY_POINT, "worker"],
            stdout=subprocess.DEVNULL,
            cwd=ROOT,
            env=dict(self.environment),
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait()

    async def enqueue(self, numbers: Sequence[int]) -> None:
        limits, workflows = Limits(), {workflow.name: workflow}
        model = ScriptedModel(lambda _: says(""))
        services = Services(self.store, model, workflows, RandomIds(), limits, "bench")
        for number in numbers:
            said = {"type": "message", "role": "user", "content": wish(course(number))}
            who = Principal(f"student-{number}")
            await enqueue_run(
                services, RunRequest(workflow=workflow.name, principal=who, items=[said])
            )

    async def number(self, statement: str) -> int:
        async with self.store.read() as db:
            row = await db.fetch_one(statement)
        return int(row["n"] or 0) if row else 0

    async def until(self, statement: str, at_least: int) -> None:
        found = await self.number(statement)
        while found < at_least:
            await asyncio.sleep(POLL_S)
            found = await self.number(statement)


COMPLETED = "SELECT COUNT(*) AS n FROM runs WHERE status = 'completed'"
ENTRIES = "SELECT COUNT(*) AS n FROM events"


@asynccontextmanager
async def opened(server_url: str, base_url: str, model_ms: int) -> AsyncIterator[Bench]:
    async with private_database(server_url, f"bench_{secrets.token_hex(6)}") as url:
        store = await open_store(url)
        try:
            environment = {
                "PATH": os.defpath,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                "DATABASE_URL": url,
                "OPENAI_BASE_URL": base_url,
                "OPENAI_MODEL": f"delay-{model_ms}",
                "LEASE_S": str(LEASE_S),
                "MAX_RUNS_PER_PRINCIPAL": "256",
            }
            if broker := os.environ.get("BROKER_URL"):
                environment["BROKER_URL"] = broker
            pid = await server_pid(url)
            assert pid is not None, "MariaDB must run on this machine"
            yield Bench(store, environment, pid)
        finally:
            await store.close()


async def measured(bench: Bench, workers: int, runs: int) -> Figures:
    """Enqueue all runs while the workers are idle, and wait until all are completed."""
    done = await bench.number(COMPLETED)
    with ExitStack() as stack:
        processes = [stack.enter_context(bench.worker()) for _ in range(workers)]
        await asyncio.sleep(START_S)
        before = sum(cpu_s(one.pid) for one in processes)
        database_before, began = cpu_s(bench.database_pid), time.monotonic()
        await bench.enqueue(range(done, done + runs))
        await bench.until(COMPLETED, done + runs)
        took_s = time.monotonic() - began
        workers_s = sum(cpu_s(one.pid) for one in processes) - before
        database_s = cpu_s(bench.database_pid) - database_before
    async with bench.store.read() as db:
        rows = await db.fetch_all(
            "SELECT finished_at - created_at AS us FROM runs ORDER BY created_at DESC LIMIT :runs",
            runs=runs,
        )
    run_ms = statistics.median(int(row["us"]) for row in rows) / 1000
    return Figures(
        workers, runs / took_s, workers_s * 1000 / runs, database_s * 1000 / runs, run_ms
    )


async def standstill(bench: Bench, how: signal.Signals) -> float:
    """Seconds from the end of a run's worker until another has added the run's next entry."""
    with bench.worker() as first:
        await asyncio.sleep(START_S)
        entries = await bench.number(ENTRIES)
        await bench.enqueue([await bench.number("SELECT COUNT(*) AS n FROM runs")])
        await bench.until(ENTRIES, entries + 2)  # its start, and the first reply
        with bench.worker():
            await asyncio.sleep(START_S / 2)
            entries = await bench.number(ENTRIES)
            first.send_signal(how)
            began = time.monotonic()
            await bench.until(ENTRIES, entries + 1)
            return time.monotonic() - began


def tables(figures: Sequence[Figures], still: Mapping[str, float], model_ms: int) -> str:
    model = REPLIES * model_ms
    rows = [
        [
            str(one.workers),
            f"{one.runs_s:.0f}",
            f"{one.worker_cpu_ms:.1f}",
            f"{one.database_cpu_ms:.1f}",
            f"{one.run_ms:.0f}",
            f"{model / one.run_ms:.0%}",
        ]
        for one in figures
    ]
    heads = ["workers", "runs/s", "CPU ms a run, workers", "… database", "a run takes, ms"]
    faults = [[name, f"{seconds:.2f}"] for name, seconds in still.items()]
    return "\n\n".join(
        [
            markdown([*heads, "of it the model"], rows),
            markdown(["fault", "s until the run's next entry"], faults),
        ]
    )


async def main_async(server_url: str, runs: int, model_ms: int, workers: Sequence[int]) -> str:
    with mock_model() as base_url:
        async with opened(server_url, base_url, model_ms) as bench:
            figures = [await measured(bench, number, runs) for number in workers]
        async with opened(server_url, base_url, 4_000) as bench:
            still = {
                "SIGTERM to the worker": await standstill(bench, signal.SIGTERM),
                f"SIGKILL to the worker, LEASE_S={LEASE_S}": await standstill(
                    bench, signal.SIGKILL
                ),
            }
    return tables(figures, still, model_ms)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--model-ms", type=int, default=300)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    arguments = parser.parse_args()
    url = os.environ.get("DATABASE_URL", "")
    if not url.startswith(("mysql", "mariadb")):
        parser.error("DATABASE_URL names no MySQL; `python -m tests.servers run --` starts one")
    print(asyncio.run(main_async(url, arguments.runs, arguments.model_ms, arguments.workers)))


if __name__ == "__main__":
    main()
