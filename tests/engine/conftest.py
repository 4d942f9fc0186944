"""A database that is made once and copied for each test, and waits that a test can sit out."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.engine.stage import LIMITS, SCHEMA, Stage, fast_directory, staged
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
    await store.run_script(SCHEMA)
    await store.close()


@pytest.fixture
async def stage(template: Path) -> AsyncIterator[Stage]:
    async with staged(template) as stage:
        yield stage


@pytest.fixture
def frequent_renewals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every fiftieth of a second, of leases that a slow machine does not lose."""
    monkeypatch.setattr("twelvefold.engine.lease.RENEWALS", 50 * LIMITS.lease_s)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twelvefold.engine.retry.FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr("twelvefold.engine.retry.LONGEST_PAUSE_S", 0.002)


@pytest.fixture
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """For stories in which the database stays away."""
    monkeypatch.setattr("twelvefold.engine.retry.RETRY_TIMEOUT_S", 0.05)
    monkeypatch.setattr("twelvefold.engine.drive.RELEASE_S", 0.05)


@pytest.fixture
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """For stories of replies that are read while they come in."""
    monkeypatch.setattr("twelvefold.engine.delta_writer.PIECE_S", 0.001)
    monkeypatch.setattr("twelvefold.engine.delta_writer.AGAIN_S", 0.001)
