"""Twenty processes spend from one budget, and some of them are killed again and again."""

import asyncio
import os
import random
import secrets
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.acceptance.billing_model import BillingModel
from tests.acceptance.crash import ENTRY_POINT, ROOT
from tests.acceptance.database import private_database
from tests.builders import finished_release, user
from twelvefold.boot import RandomIds
from twelvefold.core.budget import Limits
from twelvefold.core.events import RequestOptions
from twelvefold.core.ports import Principal, Store
from twelvefold.core.ports.budgets import Budget, BudgetScope, Used
from twelvefold.core.workflow import Workflow
from twelvefold.engine.commands import RunRequest, enqueue_run
from twelvefold.engine.services import Services
from twelvefold.services.model.scripted import ScriptedModel, in_turn
from twelvefold.services.store import open_store
from twelvefold.services.store.migrate import migrate

pytestmark = [pytest.mark.mysql, pytest.mark.slow, pytest.mark.timeout(900)]
PROCESSES = 20
KILLS = 25
RUNS = 160
CAP = 100
LIMIT = 20_000
GIVE_UP_S = 600.0
BUDGET = Budget(BudgetScope(principal="ann"), "month", tokens=LIMIT)
ECHO = Workflow("echo", "You answer.")
MODULE = 'from twelvefold import Workflow\nworkflow = Workflow("echo", "You answer.")\n'


@pytest.mark.parametrize("seed", [1])
async def test_the_sum_of_what_a_model_bills_stays_within_the_budget(
    tmp_path: Path, seed: int
) -> None:
    (tmp_path / "echo.py").write_text(MODULE)
    async with _database() as (url, store), BillingModel().serve() as model:
        await store.set_budget(BUDGET)
        await _enqueue(store)
        killed = await _work(url, model, tmp_path, store, random.Random(seed))
        used, statuses = await _used(store), await _statuses(store)

    billed = sum(model.billed)
    print(f"billed {billed}, charged {used}, of {LIMIT}; {statuses}; {killed} kills")
    assert killed == KILLS
    assert model.uncapped == 0
    # Every run has ended: it was answered, or the budget had no room for it.
    assert statuses.keys() == {"completed", "failed insufficient_quota"}
    assert sum(statuses.values()) == RUNS
    assert used.reserved.tokens == 0
    assert billed <= used.spent.tokens <= LIMIT


@asynccontextmanager
async def _database() -> AsyncIterator[tuple[str, Store]]:
    server = os.environ.get("DATABASE_URL", "")
    if not server.startswith(("mysql", "mariadb")):
        pytest.fail("DATABASE_URL names no MySQL: python -m tests.servers run -- pytest starts one")
    async with private_database(server, f"budgets_{secrets.token_hex(6)}") as url:
        await migrate(url)
        store = await open_store(url)
        await store.add_release(finished_release())
        yield url, store
        await store.close()


async def _enqueue(store: Store) -> None:
    model = ScriptedModel(in_turn())
    services = Services(store, model, {"echo": ECHO}, RandomIds(), Limits(), "test")
    options = RequestOptions(max_output_tokens=CAP)
    for number in range(RUNS):
        request = RunRequest("echo", Principal("ann"), [user(f"Say {number}.")], options=options)
        await enqueue_run(services, request)


async def _work(
    url: str, model: BillingModel, here: Path, store: Store, chance: random.Random
) -> int:
    """Run the workers until all runs are over; kill one of them now and then."""
    workers = [await _start(url, model, here) for _ in range(PROCESSES)]
    killed = 0
    try:
        async with asyncio.timeout(GIVE_UP_S):
            while await _is_open(store) or killed < KILLS:
                await asyncio.sleep(chance.uniform(0.05, 0.4))
                if killed < KILLS and model.billed:
                    index = chance.randrange(PROCESSES)
                    workers[index].send_signal(signal.SIGKILL)
                    await workers[index].wait()
                    workers[index] = await _start(url, model, here)
                    killed += 1
    finally:
        for worker in workers:
            if worker.returncode is None:
                worker.kill()
                await worker.wait()
    return killed


async def _start(url: str, model: BillingModel, here: Path) -> asyncio.subprocess.Process:
    environ = {
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONPATH": os.pathsep.join([str(here), str(ROOT), *filter(None, sys.path)]),
        "DATABASE_URL": url,
        "OPENAI_BASE_URL": model.base_url,
        "OPENAI_MODEL": "billing",
        "WORKFLOWS": "echo:workflow",
        "LEASE_S": "2",
        "MAX_RUNS": "3",
        "MAX_ATTEMPTS": "100",
        "LOG_LEVEL": "error",
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", ENTRY_POINT, "worker", env=environ, cwd=here
    )


async def _is_open(store: Store) -> bool:
    async with store.read() as db:
        return bool(await db.fetch_all("select 1 as one from runs where finished_at is null"))


async def _statuses(store: Store) -> dict[str, int]:
    async with store.read() as db:
        rows = await db.fetch_all(
            "select r.status, e.body from runs r join events e on e.thread_id = r.thread_id"
            " and e.type = 'RunFinished'"
        )
    found: dict[str, int] = {}
    for row in rows:
        quota = " insufficient_quota" if "insufficient_quota" in row["body"] else ""
        found[f"{row['status']}{quota}"] = found.get(f"{row['status']}{quota}", 0) + 1
    return found


async def _used(store: Store) -> Used:
    now_us, _ = await store.budgets()
    key = (BUDGET.id, BUDGET.period(now_us).began_us)
    return (await store.used([key]))[key]
