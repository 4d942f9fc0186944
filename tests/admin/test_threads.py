"""Threads are exported entry by entry, and classified by `migrate` and `prune` in batches."""

from pathlib import Path

import pytest

from tests.services.store.builders import append, leased, new_thread, rows
from twelvefold import Settings, open_services
from twelvefold.admin.migrate import migrate, prepare
from twelvefold.admin.threads import classify_all, prune
from twelvefold.core.events import WaitStarted
from twelvefold.core.ids import CallId
from twelvefold.core.ports import Store
from twelvefold.engine.services import Services


async def store_of_older_release(services: Services, threads: int) -> Store:
    """Store threads that are not classified."""
    store = services.store
    for _ in range(threads):
        await store.new_thread(new_thread(), "ann", "", {})
    async with store.write() as tx:
        await tx.execute("UPDATE threads SET listed = NULL")
    return store


async def count_unclassified(store: Store) -> int:
    async with store.read() as db:
        row = await db.fetch_one("SELECT COUNT(*) AS found FROM threads WHERE listed IS NULL")
    assert row is not None
    return int(row["found"])


@pytest.mark.parametrize("command", ["migrate", "prune"])
async def test_threads_of_an_older_release_are_classified(tmp_path: Path, command: str) -> None:
    settings = Settings(database_url=f"sqlite:///{tmp_path}/a.db")
    async with open_services(settings, with_model=False) as services:
        await prepare(settings, services)
        store = await store_of_older_release(services, 3)

        if command == "migrate":
            await migrate(settings, services)
        else:
            assert await prune(store, 3600) == 0

        assert await count_unclassified(store) == 0


async def test_threads_are_classified_in_batches(tmp_path: Path) -> None:
    settings = Settings(database_url=f"sqlite:///{tmp_path}/a.db")
    async with open_services(settings, with_model=False) as services:
        await prepare(settings, services)
        store = await store_of_older_release(services, 5)

        assert await classify_all(store, batch_size=2) == 5
        assert await classify_all(store, batch_size=2) == 0


async def test_migrate_adds_the_questions_that_an_older_release_has_asked(tmp_path: Path) -> None:
    settings = Settings(database_url=f"sqlite:///{tmp_path}/a.db")
    async with open_services(settings, with_model=False) as services:
        await prepare(settings, services)
        store = services.store
        for _ in range(3):
            asked = WaitStarted(CallId("1.0"), "ask", question="Which colour?", person="bob")
            await append(store, await leased(store), 1, asked, workflow="academy", principal="ann")
        before = await rows(store, "SELECT * FROM open_questions ORDER BY thread_id")
        async with store.write() as tx:
            await tx.execute("DELETE FROM open_questions")

        await migrate(settings, services)

        assert len(before) == 3
        assert await rows(store, "SELECT * FROM open_questions ORDER BY thread_id") == before
