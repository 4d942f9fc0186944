"""Deltas of a reply that other processes read while it arrives, on every database."""
# ruff: noqa: PT012 - what has to fail is a whole transaction

import asyncio
from collections.abc import Awaitable

import pytest

from tests.builders import asked, finished, said
from tests.services.store.builders import (
    FAR_US,
    LONG_S,
    append,
    journal,
    leased,
    new_run,
    new_thread,
    rows,
)
from twelvefold.core.ids import ThreadId
from twelvefold.core.ports import Append, Delta, JournalDelta, Store
from twelvefold.errors import (
    DuplicateRow,
    StaleRun,
    StoreRefused,
    StoreUnavailable,
    ToolRefused,
)
from twelvefold.services.store import open_store
from twelvefold.services.store.sql.base import MAX_LIST

NOTHING = JournalDelta((), ())


async def shown(store: Store, thread: ThreadId, position: int, *texts: str) -> list[Delta]:
    """Pieces of a reply, in order."""
    deltas = [Delta(position, number, "text", text) for number, text in enumerate(texts, start=1)]
    for delta in deltas:
        await store.add_delta(thread, delta)
    return deltas


async def deltas(store: Store, thread: ThreadId) -> list[Delta]:
    return list((await store.follow(thread, after=0, deltas_after=(0, 0))).deltas)


async def test_follow_returns_only_what_is_new(store: Store, rival: Store) -> None:
    lease = await leased(store)
    thread = lease.run.thread
    one, two, three = await shown(store, thread, 2, "It ", "is 😀", "")
    first, *_ = (await store.load(thread)).entries

    assert await rival.follow(thread, after=0, deltas_after=(0, 0)) == JournalDelta(
        (one, two, three), (first,)
    )
    assert await rival.follow(thread, after=1, deltas_after=(2, 1)) == JournalDelta(
        (two, three), ()
    )
    assert await rival.follow(thread, after=1, deltas_after=(2, 3)) == NOTHING
    assert await rival.follow(thread, after=1, deltas_after=(3, 0)) == NOTHING


async def test_a_mark_moves_with_each_entry_and_each_delta(store: Store, rival: Store) -> None:
    lease, other = await leased(store), await leased(store)
    thread, still = lease.run.thread, other.run.thread

    marks = [await rival.marks([thread, still, new_thread()])]
    await shown(store, thread, 2, "It ", "is")
    marks.append(await rival.marks([thread, still]))
    await append(store, lease, 1, said())
    marks.append(await rival.marks([thread, still]))

    assert marks == [{thread: mark, still: (1, 0)} for mark in [(1, 0), (1, 2), (2, 0)]]
    assert await rival.marks([]) == {}


async def test_marks_of_more_threads_than_a_statement_lists_are_all_read(store: Store) -> None:
    thread = (await leased(store)).run.thread

    marks = await store.marks([*(new_thread() for _ in range(MAX_LIST)), thread])

    assert marks == {thread: (1, 0)}


async def test_deltas_and_entries_come_in_order(store: Store) -> None:
    lease = await leased(store)
    thread = lease.run.thread
    for delta in (Delta(3, 2, "restarted"), Delta(3, 1, "text", "b"), Delta(2, 10, "text", "a")):
        await store.add_delta(thread, delta)
    await append(store, lease, 1, said(), said())

    followed = await store.follow(thread, after=0, deltas_after=(0, 0))

    assert [(one.position, one.number) for one in followed.deltas] == [(2, 10), (3, 1), (3, 2)]
    assert followed.deltas[-1] == Delta(3, 2, "restarted", "")
    assert followed.entries == (await store.load(thread)).entries


async def test_follow_of_a_fork_returns_its_own_entries(store: Store) -> None:
    lease = await leased(store)
    await append(store, lease, 1, said(), finished(), status="completed")
    fork = new_thread()
    await store.fork(lease.run.thread, 2, fork)
    entry, _ = await store.start(new_run(fork, head=2), asked("here"), LONG_S)

    followed = await store.follow(fork, after=0, deltas_after=(0, 0))

    assert [one.position for one in followed.entries] == [3]
    assert followed.entries == (entry,)


async def test_follow_of_a_missing_thread_returns_nothing(store: Store) -> None:
    assert await store.follow(new_thread(), after=0, deltas_after=(0, 0)) == NOTHING


async def test_an_entry_is_never_read_without_the_deltas_before_it(
    store: Store, rival: Store
) -> None:
    """Both are read from one snapshot."""
    lease = await leased(store)
    thread = lease.run.thread

    async def write() -> None:
        for position in range(2, 22):
            await shown(store, thread, position, "a", "b")
            await append(store, lease, position - 1, said())

    async with asyncio.TaskGroup() as group:
        writing = group.create_task(write())
        while not writing.done():
            followed = await rival.follow(thread, after=0, deltas_after=(0, 0))
            numbers = {(one.position, one.number) for one in followed.deltas}
            for entry in followed.entries[1:]:
                assert {(entry.position, 1), (entry.position, 2)} <= numbers


async def test_a_number_that_is_taken_is_a_duplicate(store: Store, rival: Store) -> None:
    thread = (await leased(store)).run.thread
    await shown(store, thread, 2, "mine")

    with pytest.raises(DuplicateRow):
        await rival.add_delta(thread, Delta(2, 1, "text", "another's"))

    assert await deltas(store, thread) == [Delta(2, 1, "text", "mine")]


async def test_the_last_number_is_that_of_its_position(store: Store) -> None:
    thread, other = (await leased(store)).run.thread, (await leased(store)).run.thread
    await shown(store, thread, 2, "a", "b", "c")
    await shown(store, thread, 3, "d")
    await shown(store, other, 2, "e")

    assert [await store.last_delta(thread, position) for position in (2, 3, 4)] == [3, 1, 0]


async def test_half_a_surrogate_pair_is_refused(store: Store) -> None:
    thread = (await leased(store)).run.thread

    with pytest.raises(StoreRefused, match="half of a surrogate pair"):
        await store.add_delta(thread, Delta(2, 1, "text", "\ud83d"))


async def test_deltas_whose_text_is_in_the_entry_are_deleted_by_its_commit(store: Store) -> None:
    lease = await leased(store)
    thread = lease.run.thread
    before, restart = Delta(2, 1, "text", "void"), Delta(2, 2, "restarted")
    other = Delta(3, 1, "text", "of the next reply")
    for delta in (before, restart, Delta(2, 3, "text", "It "), Delta(2, 4, "text", "is"), other):
        await store.add_delta(thread, delta)

    with pytest.raises(ToolRefused):
        async with store.append(Append(lease, 1, 1, first_delta=3)) as tx:
            await tx.record([said()])
            raise ToolRefused("not yet")
    assert len(await deltas(store, thread)) == 5
    await append(store, lease, 1, said("It is"), first_delta=3)

    assert await deltas(store, thread) == [before, restart, other]


async def test_a_step_without_deltas_leaves_them_unchanged(store: Store) -> None:
    lease = await leased(store)
    there = await shown(store, lease.run.thread, 2, "a")

    await append(store, lease, 1, said())

    assert await deltas(store, lease.run.thread) == there


@pytest.mark.parametrize("texts", [(), ("a",), ("a", "b")])
async def test_an_end_without_a_reply_marks_the_deltas_as_void(
    store: Store, rival: Store, texts: tuple[str, ...]
) -> None:
    lease = await leased(store)
    thread = lease.run.thread
    there = await shown(store, thread, 2, *texts)

    await append(store, lease, 1, finished("cancelled"), status="cancelled", closes_deltas=True)

    closed = Delta(2, len(texts) + 1, "restarted")
    assert await deltas(store, thread) == [*there, closed]
    with pytest.raises(DuplicateRow):
        await rival.add_delta(thread, Delta(2, closed.number, "text", "too late"))
    assert (await store.run(lease.run)).status == "cancelled"


@pytest.mark.mysql
async def test_an_end_that_meets_a_concurrent_delta_can_be_repeated(
    mariadb: Store, mariadb_url: str
) -> None:
    """A process that has lost the run publishes a delta while its successor ends the run."""
    lease = await leased(mariadb)
    thread, end = lease.run.thread, {"status": "failed", "closes_deltas": True}
    zombie = await open_store(mariadb_url)

    async with asyncio.TaskGroup() as group:
        async with zombie.write() as tx:
            await tx.execute(
                "INSERT INTO deltas VALUES (:thread, 2, 1, 'text', 'late', 1)", thread=thread
            )
            ending = group.create_task(
                outcome(append(mariadb, lease, 1, finished("failed"), **end))
            )
            await asyncio.sleep(0.1)
            assert not ending.done()
        assert isinstance(await ending, StoreUnavailable)

    assert await journal(mariadb, thread) == [asked()]
    await append(mariadb, lease, 1, finished("failed"), **end)
    assert await deltas(mariadb, thread) == [Delta(2, 1, "text", "late"), Delta(2, 2, "restarted")]
    await zombie.close()


async def outcome(work: Awaitable[None]) -> Exception | None:
    try:
        await work
    except Exception as error:
        return error
    return None


async def test_an_end_that_does_not_commit_marks_nothing(store: Store) -> None:
    lease = await leased(store)
    there = await shown(store, lease.run.thread, 2, "a")

    with pytest.raises(StaleRun):
        await append(store, lease, 7, finished("failed"), status="failed", closes_deltas=True)

    assert await deltas(store, lease.run.thread) == there


async def test_deltas_are_pruned_with_their_thread(store: Store) -> None:
    lease = await leased(store)
    await shown(store, lease.run.thread, 2, "a")
    await append(store, lease, 1, said(), finished(), status="completed")
    kept = await leased(store)
    await shown(store, kept.run.thread, 2, "b")

    assert await store.prune(before_us=FAR_US) == 1

    assert await rows(store, "SELECT body FROM deltas") == [{"body": "b"}]
    assert await journal(store, kept.run.thread) == [asked()]
