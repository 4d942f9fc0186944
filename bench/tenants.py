"""Two tenants on two workers: one floods the queue, the other one queues a run now and then.

    python -m tests.servers run -- python -m bench.tenants

Prints the second tenant's time from its request to the end of its run, and both throughputs: alone,
beside the flood, with at most `ACTIVE` runs at once of a principal, and with a priority. A run is
one reply of a model, which takes `REPLY_S`. Without DATABASE_URL the database is a file.
"""

import asyncio
import os
import secrets
import statistics
import time
from dataclasses import dataclass, replace

from tests.acceptance.database import private_database
from tests.builders import user
from twelvefold.boot import RandomIds
from twelvefold.core import (
    OVER,
    Limits,
    Listener,
    ModelReply,
    ModelRequest,
    Principal,
    RunId,
    Store,
)
from twelvefold.core.workflow import Workflow
from twelvefold.engine import RunRequest, Services, enqueue_run
from twelvefold.services.model.scripted import ScriptedModel, in_turn, says
from twelvefold.services.store import open_store
from twelvefold.services.store.migrate import migrate
from twelvefold.worker.loop import Worker

FLOOD, ORDINARY, EVERY_S = 1_500, 60, 0.1
REPLY_S = 0.1
WORKERS, SLOTS, ACTIVE = 2, 8, 4
SHOP = Workflow("shop", "Sell.", ())


class SlowModel:
    """Takes a while for each reply."""

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        await asyncio.sleep(REPLY_S)
        return await ScriptedModel(in_turn(says("There you are."))).reply(request, listener)

    async def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True)
class Case:
    name: str
    flood: int = FLOOD
    active: int | None = None
    priority: int = 0


CASES = (
    Case("alone", flood=0),
    Case("beside the flood"),
    Case(f"{ACTIVE} runs at once of a principal", active=ACTIVE),
    Case("beside the flood, with priority 5", priority=5),
)


async def enqueue(services: Services, principal: str, priority: int = 0) -> RunId:
    who = Principal(principal)
    request = RunRequest("shop", who, [user("hi")], priority=priority)
    return (await enqueue_run(services, request))[0]


async def ordinary(services: Services, case: Case) -> list[float]:
    """Return how long each run of the second tenant took, in seconds."""

    async def one() -> float:
        started_at = time.monotonic()
        run = await enqueue(services, "ordinary", case.priority)
        while (await services.store.run(run)).status not in OVER:  # noqa: ASYNC110 - in a database
            await asyncio.sleep(0.01)
        return time.monotonic() - started_at

    tasks = []
    for _ in range(ORDINARY):
        tasks.append(asyncio.create_task(one()))
        await asyncio.sleep(EVERY_S)
    return await asyncio.gather(*tasks)


async def finished(store: Store, principal: str) -> int:
    async with store.read() as db:
        rows = await db.fetch_all(
            "select count(*) as n from runs where principal = :p and status = 'completed'",
            p=principal,
        )
    return int(rows[0]["n"])


async def measure(case: Case, url: str) -> str:
    await migrate(url)
    limits = replace(Limits(), active_runs_per_principal=case.active)
    stores = [await open_store(url) for _ in range(WORKERS)]
    processes = [
        Services(store, SlowModel(), {"shop": SHOP}, RandomIds(), limits, "bench")
        for store in stores
    ]
    for _ in range(case.flood):
        await enqueue(processes[0], "flood")
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for one in processes:
            group.create_task(Worker(one, SLOTS, 0.25).run(stop))
        await asyncio.sleep(1)
        before, started_at = await finished(stores[0], "flood"), time.monotonic()
        took = sorted(await ordinary(processes[0], case))
        elapsed_s = time.monotonic() - started_at
        flood = await finished(stores[0], "flood") - before
        stop.set()
    for store in stores:
        await store.close()
    p50, p99 = statistics.median(took), took[int(0.99 * len(took))]
    rates = f"{flood / elapsed_s:6.1f} {ORDINARY / elapsed_s:8.1f}"
    return f"{case.name:36} {p50 * 1_000:6.0f} {p99 * 1_000:6.0f} {rates}"


async def main() -> None:
    print(f"{'':36} {'p50 ms':>6} {'p99 ms':>6} {'flood/s':>6} {'other/s':>8}")
    for case in CASES:
        server = os.environ.get("DATABASE_URL", "sqlite://")
        async with private_database(server, f"bench_{secrets.token_hex(4)}") as url:
            print(await measure(case, url), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
