"""A tool that blocks its worker's event loop, beside a second worker on the same database."""

import asyncio
import json
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.blocking_worker import model, workflow
from tests.acceptance.database import private_database
from tests.builders import user
from twelvefold.boot import RandomIds, migrate_journal
from twelvefold.config import Settings
from twelvefold.core.budget import Limits
from twelvefold.core.ids import RunId
from twelvefold.core.ports import OVER, Principal, Store
from twelvefold.engine.commands import RunRequest, enqueue_run
from twelvefold.engine.services import Services
from twelvefold.services.store import open_store

pytestmark = [pytest.mark.mysql, pytest.mark.timeout(900)]
URL = os.environ.get("DATABASE_URL", "")
ROOT = Path(__file__).parents[2]
LEASE_S = 6
"""Long enough for its renewals on a busy machine, as two tests wait for it to pass."""


@pytest.fixture(autouse=True)
def _server() -> None:
    if not URL.startswith(("mysql", "mariadb")):
        pytest.fail("DATABASE_URL names no MySQL: python -m tests.servers run -- pytest starts one")


@asynccontextmanager
async def worker(url: str, folder: Path, name: str, timeout_s: float) -> AsyncIterator[Path]:
    """A process that works; yields the file that its log goes to."""
    log = folder / f"{name}.log"
    environ = {"PATH": os.environ["PATH"], "DATABASE_URL": url, "LEASE_S": str(LEASE_S)}
    with log.open("w") as stream:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.acceptance.blocking_worker"),
            *(str(folder), str(timeout_s)),
            cwd=ROOT,
            env=environ,
            stderr=stream,
        )
        try:
            yield log
        finally:
            (folder / "go").touch()
            process.send_signal(signal.SIGTERM)
            await process.wait()


async def until(condition: Callable[[], Any]) -> None:
    while not condition():
        await asyncio.sleep(0.02)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def events(log: Path, name: str) -> list[dict[str, Any]]:
    told = [json.loads(line) for line in lines(log) if line.endswith("}")]
    return [one for one in told if one["event"] == name]


async def lease_until_us(store: Store) -> int:
    async with store.read() as db:
        row = await db.fetch_one("select lease_until from runs")
    assert row is not None
    return int(row["lease_until"])


async def over(store: Store, run: RunId) -> str:
    while (record := await store.run(run)).status not in OVER:
        await asyncio.sleep(0.05)
    return record.status


@asynccontextmanager
async def queued(folder: Path, timeout_s: float) -> AsyncIterator[tuple[str, Store, RunId]]:
    """A database with one run that any worker may take."""
    async with private_database(URL, f"blocked_{secrets.token_hex(6)}") as url:
        await migrate_journal(Settings(database_url=url))
        store = await open_store(url)
        try:
            flow = workflow(folder, timeout_s)
            services = Services(store, model(), {flow.name: flow}, RandomIds(), Limits(), "1.0")
            run, _ = await enqueue_run(
                services,
                RunRequest(workflow=flow.name, principal=Principal("ann"), items=[user("Block.")]),
            )
            yield url, store, run
        finally:
            await store.close()


async def test_a_call_that_blocks_for_longer_than_a_lease_is_started_once(tmp_path: Path) -> None:
    starts = tmp_path / "starts"

    async with queued(tmp_path, 60.0) as (url, store, run):
        async with worker(url, tmp_path, "one", 60.0) as log:
            await until(lambda: lines(starts))
            began_us = await lease_until_us(store)
            async with worker(url, tmp_path, "two", 60.0):
                while await lease_until_us(store) < began_us + 2 * LEASE_S * 1_000_000:
                    await asyncio.sleep(0.05)
                (tmp_path / "go").touch()
                assert await over(store, run) == "completed"
            await until(lambda: len(blocked_by_the_tool(log)) == 2)

        assert len(lines(starts)) == 1
        assert [one["over"] for one in blocked_by_the_tool(log)] == [False, True]


def blocked_by_the_tool(log: Path) -> list[dict[str, Any]]:
    """Log lines about the blocked loop; a busy machine may block it at other places, too."""
    return [one for one in events(log, "event_loop_blocked") if one.get("tool") == "block"]


async def test_a_call_that_blocks_past_its_timeout_is_left_to_another_worker(
    tmp_path: Path,
) -> None:
    starts = tmp_path / "starts"

    async with queued(tmp_path, 1.0) as (url, store, run):
        async with worker(url, tmp_path, "one", 1.0):
            await until(lambda: lines(starts))
            async with worker(url, tmp_path, "two", 1.0):
                await until(lambda: len(lines(starts)) == 2)
                (tmp_path / "go").touch()
                assert await over(store, run) == "completed"

        keys = lines(starts)
        assert len(set(keys)) == 1
