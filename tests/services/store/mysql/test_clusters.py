"""A cluster with several writers: processes on two nodes hold a run one at a time."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import pytest

from tests.builders import asked, said
from tests.servers import galera, group, switch_group
from tests.services.store.builders import (
    LONG_S,
    append,
    journal,
    leased,
    made,
    on_server,
    queued,
    seats,
)
from twelvefold.core.events import WaitStarted
from twelvefold.core.ids import CallId, RunId
from twelvefold.core.ports import Append, Claim, Lease, SignalKey, Store, WaitCondition
from twelvefold.engine.retry import retry_unavailable
from twelvefold.errors import NotFound, StaleRun, StoreUnavailable
from twelvefold.services.store import open_store
from twelvefold.services.store.migrate import HEAD, migrate

PAID = SignalKey("academy", "ann", "paid")

pytestmark = [pytest.mark.mysql, pytest.mark.slow]


@pytest.fixture(params=["galera", "group with several primaries"])
def urls(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """A new database, by the URL of each node."""
    if request.param == "galera":
        yield from new_database(galera())
        return
    nodes = group()
    switch_group("multi")
    yield from new_database(nodes)
    switch_group("single")


def new_database(nodes: list[str]) -> Iterator[list[str]]:
    name = f"store_{secrets.token_hex(6)}"
    asyncio.run(on_server(nodes[0], f"CREATE DATABASE {name} CHARACTER SET utf8mb4"))
    yield [urlsplit(url)._replace(path=f"/{name}").geturl() for url in nodes]
    asyncio.run(on_server(nodes[0], f"DROP DATABASE {name}"))


@pytest.fixture
async def nodes(urls: list[str]) -> AsyncIterator[list[Store]]:
    await made(urls[0])
    stores = [await open_store(url) for url in urls]
    for store in stores:
        while await version(store) != HEAD:
            await asyncio.sleep(0.05)  # a node of a group applies changes after the commit
    yield stores
    for store in stores:
        await store.close()


async def version(node: Store) -> str | None:
    schema = await node.schema()
    return schema.level if schema else None


async def arrived(node: Store, run: RunId) -> None:
    """Wait until the run can be read on this node."""
    for _ in range(500):
        with suppress(NotFound):
            await node.run(run)
            return
        await asyncio.sleep(0.01)
    await node.run(run)


async def test_of_two_nodes_that_claim_a_run_one_wins(nodes: list[Store]) -> None:
    for _ in range(20):
        run = await queued(nodes[0])
        await arrived(nodes[1], run)

        claims = await asyncio.gather(
            *(node.claim(run, LONG_S) for node in nodes[:2]), return_exceptions=True
        )

        won = [claim[0] for claim in claims if isinstance(claim, tuple)]
        assert len(won) == 1
        assert all(claim is None or isinstance(claim, tuple | StoreUnavailable) for claim in claims)
        winner = nodes[0] if isinstance(claims[0], tuple) else nodes[1]
        await append(winner, won[0], 1, said())
        assert await journal(winner, run.thread) == [asked(), said()]


async def test_a_step_and_a_claim_on_two_nodes_do_not_both_commit(nodes: list[Store]) -> None:
    for number in range(10):
        lease = await leased(nodes[0], lease_s=0.01)
        await arrived(nodes[1], lease.run)
        await asyncio.sleep(0.05)

        with suppress(StaleRun, StoreUnavailable):
            async with nodes[0].append(Append(lease, 1, 1)) as tx:
                await tx.execute("INSERT INTO seats (id, taken) VALUES (:id, 1)", id=number)
                claim = await claimed(nodes[1], lease.run)
                await tx.record([said()])
        await asyncio.sleep(0.1)

        # Both wrote the run's row: only the first commit succeeded.
        has_entry = len(await journal(nodes[0], lease.run.thread)) == 2
        assert has_entry is (number in await seats(nodes[0]))
        assert has_entry is (claim is None)


async def test_an_event_that_is_sent_on_one_node_wakes_a_run_that_begins_to_wait_on_another(
    nodes: list[Store],
) -> None:
    """Both transactions write the event's row, which an earlier run has made: one is repeated."""
    await begins_to_wait(nodes[0])
    lease: Lease | None = None

    async def send() -> None:
        nonlocal lease
        async with nodes[1].write() as tx:
            assert await tx.signal(PAID.workflow, PAID.principal, PAID.key)
            if lease is None:
                lease = await begins_to_wait(nodes[0])
                assert (await nodes[0].wait_state(lease.run, [PAID.id])).signals == {}
                await append(nodes[0], lease, 2, status="waiting", wait=WaitCondition(None, 0))

    await retry_unavailable(send)

    assert lease is not None
    assert (await nodes[0].wait_state(lease.run, [PAID.id])).wakes == 1
    assert (await nodes[0].run(lease.run)).status == "queued"


async def begins_to_wait(node: Store) -> Lease:
    lease = await leased(node)
    change = Append(lease, 1, 1, workflow=PAID.workflow, principal=PAID.principal)

    async def begin() -> None:
        async with node.append(change) as tx:
            await tx.record([WaitStarted(CallId("2.0"), "pay", event=PAID.key)])

    await retry_unavailable(begin)
    return lease


async def claimed(node: Store, run: RunId) -> Claim | None:
    try:
        return await node.claim(run, LONG_S)
    except StoreUnavailable:
        return None


async def test_of_two_nodes_that_migrate_at_once_one_does(urls: list[str]) -> None:
    applied = await asyncio.gather(migrate(urls[0]), migrate(urls[1]))

    assert sorted(map(len, applied)) == [0, 5]
