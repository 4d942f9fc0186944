"""A database that is created once and copied for each test, and timings that keep tests short."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from tests.builders import finished_release
from tests.engine.stage import LIMITS, SCHEMA, Stage, fast_directory, staged
from tests.loop_clock import LoopClock
from twelvefold.services.store.migrate import migrate
from twelvefold.services.store.sqlite.store import SQLiteStore


@pytest.fixture(scope="session")
def template() -> Iterator[Path]:
    with fast_directory() as directory:
        path = directory / "shop.db"
        asyncio.run(_made(path))
        yield path


async def _made(path: Path) -> None:
    await migrate(f"sqlite:///{path}")
    store = SQLiteStore(str(path))
    await store.add_release(finished_release())
    await store.run_script(SCHEMA)
    await store.close()


@pytest.fixture
async def stage(template: Path) -> AsyncIterator[Stage]:
    async with staged(template) as stage:
        yield stage


@pytest.fixture
async def loop_clock() -> LoopClock:
    return LoopClock()


@pytest.fixture
def frequent_renewals(stage: Stage) -> None:
    """Renew every fiftieth of a second, with leases that a slow machine does not lose."""
    stage.timings = replace(stage.timings, renewals_per_lease=50 * LIMITS.lease_s)


@pytest.fixture
def short_retries(stage: Stage) -> None:
    """Stop retrying soon, for tests in which the database stays unavailable."""
    retry = structs.replace(stage.timings.retry, timeout_s=0.05)
    stage.timings = replace(stage.timings, retry=retry, release_s=0.25)


@pytest.fixture
def frequent_deltas(stage: Stage) -> None:
    """Write deltas at once, for tests of replies that are read while they arrive."""
    stage.timings = replace(stage.timings, delta_s=0.001, delta_retry_s=0.001)
