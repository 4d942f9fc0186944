"""The figures of the database, which are read when the metrics are requested."""

import asyncio
from collections.abc import Collection

from prometheus_client import CollectorRegistry

from twelvefold.core.ports import OutboxCount, PoolCount, RunCount
from twelvefold.errors import StoreUnavailable
from twelvefold.observe.metrics.database import CACHE_TTL_S, DatabaseCollector


class FakeStore:
    def __init__(self, error: Exception | None = None) -> None:
        self.reads = 0
        self._error = error

    def pool_counts(self) -> list[PoolCount]:
        return [PoolCount("steps", in_use=3, idle=2, limit=12)]

    async def run_counts(self, *, workflows: Collection[str], limit: int) -> list[RunCount]:
        self.reads += 1
        if self._error:
            raise self._error
        return [RunCount(name, "queued", 4, 12.5) for name in workflows] + [
            RunCount(name, "waiting", 7) for name in workflows
        ]

    async def outbox_counts(self, *, limit: int) -> list[OutboxCount]:
        return [OutboxCount("due", 2, 3.5), OutboxCount("deferred", 1), OutboxCount("dead", 0)]


class Scraped:
    """A registry with the collector of a store; `now` is the time of its clock."""

    def __init__(self, store: FakeStore, loop: asyncio.AbstractEventLoop) -> None:
        self.now = 100.0
        self.registry = CollectorRegistry()
        self.registry.register(DatabaseCollector(store, ["shop"], loop, lambda: self.now))

    async def value(self, name: str, **labels: str) -> float | None:
        return await asyncio.to_thread(self.registry.get_sample_value, name, labels)


async def test_the_figures_are_read_in_the_event_loop() -> None:
    scraped = Scraped(FakeStore(), asyncio.get_running_loop())

    assert await scraped.value("twelvefold_database_up") == 1
    assert await scraped.value("twelvefold_runs", workflow="shop", status="queued") == 4
    assert await scraped.value("twelvefold_runs", workflow="shop", status="waiting") == 7
    assert await scraped.value("twelvefold_queue_age_seconds", workflow="shop") == 12.5
    assert await scraped.value("twelvefold_outbox_messages", state="deferred") == 1
    assert await scraped.value("twelvefold_outbox_age_seconds", state="due") == 3.5
    connections = "twelvefold_database_connections"
    assert await scraped.value(connections, pool="steps", state="in_use") == 3
    assert await scraped.value(connections, pool="steps", state="idle") == 2
    assert await scraped.value(connections, pool="steps", state="limit") == 12


async def test_the_figures_are_read_again_after_some_seconds() -> None:
    store = FakeStore()
    scraped = Scraped(store, asyncio.get_running_loop())

    await scraped.value("twelvefold_database_up")
    scraped.now += CACHE_TTL_S / 2
    await scraped.value("twelvefold_database_up")
    assert store.reads == 1
    scraped.now += CACHE_TTL_S
    await scraped.value("twelvefold_database_up")

    assert store.reads == 2


async def test_without_an_answer_there_are_no_figures() -> None:
    store = FakeStore(StoreUnavailable("no answer").loggable())
    scraped = Scraped(store, asyncio.get_running_loop())

    assert await scraped.value("twelvefold_database_up") == 0
    assert await scraped.value("twelvefold_runs", workflow="shop", status="queued") is None


async def test_a_closed_event_loop_is_no_answer() -> None:
    loop = asyncio.new_event_loop()
    loop.close()

    assert await Scraped(FakeStore(), loop).value("twelvefold_database_up") == 0
