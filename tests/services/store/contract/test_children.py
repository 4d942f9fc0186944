"""Runs that other runs start: their rows, their ends, and what is done to their root."""

from dataclasses import replace

import pytest
from msgspec import structs

from tests.builders import asked, called, finished, user
from tests.services.store.builders import FAR_US, LONG_S, append, leased, new_run, new_thread, rows
from twelvefold.boot import RandomIds
from twelvefold.core.events import Ancestry, ChildrenStarted, RunStarted
from twelvefold.core.ids import CallId, RunId, ThreadId
from twelvefold.core.ports import Append, Lease, NewRun, Store, WaitCondition
from twelvefold.errors import StaleRun, StoreRefused

IDS = RandomIds()


def new_child(parent: RunId) -> tuple[NewRun, RunStarted]:
    """Return a run that another one starts, on a thread of its family."""
    thread = IDS.thread_in_family(parent.thread)
    started = RunStarted(
        asked().items,
        "ann",
        "academy",
        "1.0",
        parent=str(parent),
        parent_call="2.0",
        ancestry=Ancestry(str(parent), 1, "academy"),
    )
    return replace(new_run(thread), background=True), started


async def parent_of(store: Store, children: int = 2) -> tuple[Lease, list[RunId]]:
    """Return a run that has started runs, and waits for them."""
    lease = await leased(store, IDS.thread())
    planned = [new_child(lease.run) for _ in range(children)]
    runs = [new.run for new, _ in planned]
    async with store.append(Append(lease, 1, 2)) as tx:
        for new, started in planned:
            tx.start_child(new, started)
        await tx.record(
            [called("ask"), ChildrenStarted(CallId("2.0"), "ask", tuple(map(str, runs)))]
        )
    await append(store, lease, 3, status="waiting", wait=WaitCondition(None, 0))
    return lease, runs


async def test_a_child_is_queued_with_the_step_that_starts_it(store: Store) -> None:
    lease, [child, other] = await parent_of(store)

    record = await store.run(child)
    assert (record.status, record.principal, record.background) == ("queued", "ann", True)
    assert [entry.position for entry in (await store.load(child.thread)).entries] == [1]
    assert (await store.thread(child.thread)).listed is False
    assert child.thread != other.thread
    work = await store.waiting_work(workflows=["academy"], limit=10_000)
    assert {child, other} <= {one.run for one in work.runs}
    assert await store.count_descendants(lease.run) == 2


async def test_a_step_that_is_not_committed_starts_no_child(store: Store) -> None:
    lease = await leased(store, IDS.thread())
    new, started = new_child(lease.run)

    with pytest.raises(StaleRun):
        await start_at(store, lease, 7, new, started)

    assert await store.count_descendants(lease.run) == 0


async def test_half_a_surrogate_pair_starts_no_child(store: Store) -> None:
    lease = await leased(store, IDS.thread())
    new, started = new_child(lease.run)
    broken = structs.replace(started, items=(user("\ud800"),))

    with pytest.raises(StoreRefused, match="half of a surrogate pair"):
        await start_at(store, lease, 1, new, broken)


async def start_at(store: Store, lease: Lease, head: int, new: NewRun, started: RunStarted) -> None:
    async with store.append(Append(lease, head, 1)) as tx:
        tx.start_child(new, started)
        await tx.record([finished()])


async def test_descendants_are_counted_at_every_depth(store: Store) -> None:
    lease, [child] = await parent_of(store, 1)
    claim = await store.claim(child, LONG_S)
    assert claim is not None
    new, started = new_child(child)
    async with store.append(Append(claim.lease, 1, 1)) as tx:
        tx.start_child(new, started)
        await tx.record([called("ask")])

    assert await store.count_descendants(lease.run) == 2
    assert await store.count_descendants(child) == 1


async def end(store: Store, run: RunId, parent: RunId, head: int = 1) -> None:
    claim = await store.claim(run, LONG_S)
    assert claim is not None
    async with store.append(Append(claim.lease, head, 1, "completed", parent=parent)) as tx:
        await tx.record([finished()])


async def test_the_end_of_a_child_wakes_its_parent(store: Store) -> None:
    lease, [child, other] = await parent_of(store)
    assert (await store.run(lease.run)).status == "waiting"

    await end(store, child, lease.run)

    state = await store.wait_state(lease.run, runs=[child, other])
    assert (state.status, state.wakes) == ("queued", 1)
    assert state.runs == {child: "completed", other: "queued"}


async def test_a_run_that_does_not_exist_counts_as_cancelled(store: Store) -> None:
    lease, _ = await parent_of(store, 1)
    gone = RunId(new_thread(), 1)

    assert (await store.wait_state(lease.run, runs=[gone])).runs == {gone: "cancelled"}


async def test_the_end_of_a_parent_requests_the_cancel_of_its_children(store: Store) -> None:
    lease, runs = await parent_of(store)
    claim = await store.claim(lease.run, LONG_S)
    assert claim is not None

    change = Append(claim.lease, 3, 1, "failed", cancels=tuple(runs))
    async with store.append(change) as tx:
        await tx.record([finished()])

    assert [(await store.run(run)).cancel_asked for run in runs] == [True, True]


async def test_waiting_again_and_again_is_no_failed_attempt(store: Store) -> None:
    lease, _ = await parent_of(store, 1)

    attempts = []
    for _ in range(3):
        claim = await store.claim(lease.run, LONG_S)
        assert claim is not None
        attempts.append(claim.attempts)
        await append(store, claim.lease, 3, status="waiting", wait=WaitCondition(None, 0))

    assert attempts == [1, 1, 1]


async def test_children_are_deleted_with_the_thread_of_their_root(store: Store) -> None:
    lease, runs = await parent_of(store)

    await store.delete_thread(lease.run.thread)

    assert [(await store.run(run)).cancel_asked for run in runs] == [True, True]
    for run in runs:
        assert (await store.load(run.thread)).deleted


async def test_children_are_deleted_with_the_run_of_their_root(store: Store) -> None:
    lease, [child] = await parent_of(store, 1)
    await end(store, child, lease.run)
    await end(store, lease.run, lease.run, head=3)

    await store.delete_run(lease.run)

    assert (await store.load(child.thread)).deleted


async def test_children_stay_as_long_as_their_root(store: Store) -> None:
    lease, [child] = await parent_of(store, 1)
    await end(store, child, lease.run)
    assert await store.claim(lease.run, LONG_S)  # it is in progress

    await store.prune(before_us=FAR_US)

    assert (await store.load(child.thread)).head == 2


async def test_children_are_pruned_with_their_root(store: Store) -> None:
    lease, [child] = await parent_of(store, 1)
    await end(store, child, lease.run)
    await end(store, lease.run, lease.run, head=3)

    assert await store.prune(before_us=FAR_US) >= 2

    left = "SELECT id FROM threads WHERE id IN (:one, :two)"
    assert await rows(store, left, one=lease.run.thread, two=child.thread) == []


async def test_a_fork_of_the_root_has_no_children(store: Store) -> None:
    lease, _ = await parent_of(store, 1)
    fork = ThreadId(IDS.thread_in_family(lease.run.thread))

    await store.fork(lease.run.thread, 3, fork)

    assert await store.count_descendants(RunId(fork, 1)) == 0
