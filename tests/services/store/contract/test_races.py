"""Two processes that change the same rows at once."""

import asyncio

import pytest

from tests.builders import asked, finished, said
from tests.services.store.builders import FAR_US, append, journal, leased, new_thread
from twelvefold.core.ports import Store
from twelvefold.errors import StoreUnavailable
from twelvefold.services.store.sql.store import SQLStore


@pytest.mark.parametrize("part", ["fence_thread", "fence_run"])
async def test_a_fence_that_fails_without_a_reason_can_be_repeated(
    store: Store, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """A node of a cluster may apply a change between two statements of the store."""
    assert isinstance(store, SQLStore)
    lease = await leased(store)
    stale = store._sql | {part: store._sql[part].replace("WHERE", "WHERE 1 = 0 AND", 1)}
    monkeypatch.setattr(store, "_sql", stale)

    with pytest.raises(StoreUnavailable, match="has just changed"):
        await append(store, lease, 1, said())

    monkeypatch.undo()
    await append(store, lease, 1, said())
    assert await journal(store, lease.run.thread) == [asked(), said()]


@pytest.mark.parametrize(
    "meanwhile",
    [
        "UPDATE runs SET finished_at = NULL WHERE thread_id = :thread",
        "INSERT INTO threads (id, principal, workflow, head, forked_from, forked_at, created_at)"
        " SELECT :fork, principal, workflow, 1, id, 1, :far FROM threads WHERE id = :thread",
    ],
    ids=["a run", "a fork"],
)
async def test_a_thread_that_gets_a_run_or_a_fork_meanwhile_is_not_pruned(
    store: Store, rival: Store, meanwhile: str
) -> None:
    lease = await leased(store)
    await append(store, lease, 1, finished(), status="completed")
    thread, fork = lease.run.thread, new_thread()

    async with asyncio.TaskGroup() as group:
        async with rival.write() as tx:
            # As a start of a run or a fork does first.
            await tx.execute("UPDATE threads SET head = head WHERE id = :thread", thread=thread)
            pruning = group.create_task(store.prune(before_us=FAR_US - 1))
            await asyncio.sleep(0.1)
            await tx.execute(meanwhile, thread=thread, fork=fork, far=FAR_US)
        pruned = await pruning

    assert await journal(store, thread) == [asked(), finished()]
    if "fork" in meanwhile:
        assert await journal(store, fork) == [asked()]
    assert pruned == 0


async def test_a_run_that_is_claimed_meanwhile_is_not_pruned(store: Store, rival: Store) -> None:
    lease = await leased(store)
    await append(store, lease, 1, said(), status="waiting")
    thread = lease.run.thread

    async with asyncio.TaskGroup() as group:
        async with rival.write() as tx:
            # As a claim does.
            claim = "UPDATE runs SET lease_until = :far WHERE thread_id = :thread"
            await tx.execute(claim, thread=thread, far=FAR_US)
            pruning = group.create_task(store.prune(before_us=FAR_US - 1))
            await asyncio.sleep(0.1)
        pruned = await pruning

    assert pruned == 0
    assert await journal(store, thread) == [asked(), said()]
