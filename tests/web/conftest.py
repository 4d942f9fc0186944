"""A database that is made once and copied for each test, and the processes that serve it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.builders import finished_release
from tests.engine.stage import SCHEMA, Stage, fast_directory, staged
from tests.web.serving import Serve, Served, served
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
async def serve(stage: Stage) -> AsyncIterator[Serve]:
    """Start one more process on the test's database."""
    async with AsyncExitStack() as stack:

        async def start(**how: object) -> Served:
            return await stack.enter_async_context(served(stage, **how))  # type: ignore[arg-type]

        yield start


@pytest.fixture
async def api(serve: Serve) -> Served:
    """One process that does a worker's work, too."""
    return await serve()
