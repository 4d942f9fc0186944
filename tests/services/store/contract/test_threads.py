"""Threads, forks and their removal, on every database."""

import time
from collections.abc import AsyncIterator
from typing import Any

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
from tests.services.store.mysql.many_runs import add_runs, thread_of
from tests.services.store.mysql.server_reads import Reads
from twelvefold.core.ids import ThreadId
from twelvefold.core.ports import Append, Store, ThreadRecord
from twelvefold.errors import NotFound, TwelvefoldError
from twelvefold.services.store.sql.base import MAX_LIST
from twelvefold.services.store.sql.store import SQLStore


async def ended(store: Store) -> ThreadId:
    """A thread of three entries, whose only run is over."""
    lease = await leased(store)
    await append(store, lease, 1, said(), finished(), status="completed")
    return lease.run.thread


async def forked(store: Store, thread: ThreadId, position: int) -> ThreadId:
    fork = new_thread()
    await store.fork(thread, position, fork)
    return fork


async def threads(store: Store) -> set[str]:
    return {row["id"] for row in await rows(store, "SELECT id FROM threads")}


async def test_a_thread_is_loaded_with_its_whole_journal(store: Store) -> None:
    thread = await ended(store)

    record = await store.load(thread)

    assert record == ThreadRecord(thread, "ann", "academy", 3, 0, record.entries)
    assert [entry.position for entry in record.entries] == [1, 2, 3]
    assert [entry.event for entry in record.entries] == [asked(), said(), finished()]


async def test_a_thread_that_is_not_there_is_not_found(store: Store) -> None:
    thread = new_thread()

    with pytest.raises(NotFound, match=f"no thread conv_{thread}"):
        await store.load(thread)
    with pytest.raises(NotFound):
        await store.fork(thread, 1, new_thread())


async def test_a_fork_begins_with_the_entries_of_its_origin(store: Store) -> None:
    thread = await ended(store)

    fork = await forked(store, thread, 2)

    record = await store.load(fork)
    assert (record.head, record.forked_at) == (2, 2)
    assert record.entries == (await store.load(thread)).entries[:2]
    assert (record.principal, record.workflow) == ("ann", "academy")


async def test_a_fork_and_its_origin_continue_independently(store: Store) -> None:
    thread = await ended(store)
    fork = await forked(store, thread, 3)

    await store.start(new_run(fork, head=3), asked("here"), LONG_S)
    await store.start(new_run(thread, ordinal=2, head=3), asked("there"), LONG_S)

    before = [asked(), said(), finished()]
    assert await journal(store, fork) == [*before, asked("here")]
    assert await journal(store, thread) == [*before, asked("there")]


async def test_a_fork_of_a_fork_has_the_whole_lineage(store: Store) -> None:
    thread = await ended(store)
    fork = await forked(store, thread, 3)
    _, lease = await store.start(new_run(fork, head=3), asked("here"), LONG_S)
    assert lease is not None
    await append(store, lease, 4, said("here"), finished(), status="completed")

    second = await forked(store, fork, 5)

    record = await store.load(second)
    assert (record.head, record.forked_at) == (5, 5)
    assert record.entries == (await store.load(fork)).entries[:5]
    assert [entry.position for entry in record.entries] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("position", [-1, 0, 4])
async def test_a_fork_needs_an_entry_to_continue_from(store: Store, position: int) -> None:
    thread = await ended(store)

    with pytest.raises(NotFound, match=f"no entry {position}; it has 1 to 3"):
        await store.fork(thread, position, new_thread())


async def test_an_entry_of_the_origin_is_forked_on_the_origin(store: Store) -> None:
    thread = await ended(store)
    fork = await forked(store, thread, 2)

    with pytest.raises(NotFound, match=f"belongs to thread conv_{thread}; fork that one"):
        await store.fork(fork, 2, new_thread())


async def test_a_thread_is_not_forked_onto_another(store: Store) -> None:
    thread, other = await ended(store), await ended(store)

    with pytest.raises(TwelvefoldError):
        await store.fork(thread, 1, other)

    assert (await store.load(other)).forked_at == 0


async def test_a_finished_thread_is_pruned_with_all_its_rows(store: Store) -> None:
    thread = await ended(store)

    assert await store.prune(before_us=1) == 0
    assert await store.prune(before_us=FAR_US) == 1

    for table in ("threads", "runs", "events"):
        assert await rows(store, f"SELECT * FROM {table}") == []
    with pytest.raises(NotFound):
        await store.load(thread)


async def test_more_threads_than_one_transaction_removes_are_pruned(store: Store) -> None:
    thread = await ended(store)
    for _ in range(MAX_LIST + 10):
        await forked(store, thread, 1)

    assert await store.prune(before_us=FAR_US) == MAX_LIST + 11


async def test_threads_that_stay_between_removed_ones_keep_all_rows(
    store: Store,
) -> None:
    leases = [await leased(store, thread_of(number)) for number in range(1, 10)]
    for lease in leases[::2]:
        await append(store, lease, 1, finished(), status="completed")

    assert await store.prune(before_us=FAR_US) == 5

    kept = [thread_of(number) for number in range(2, 10, 2)]
    for table in ("threads", "runs", "events"):
        name = "id" if table == "threads" else "thread_id"
        found = await rows(store, f"SELECT {name} AS id FROM {table} ORDER BY 1")
        assert [row["id"] for row in found] == kept


async def test_a_thread_that_starts_between_removed_ones_is_kept(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong clock may give a new thread an old id."""
    assert isinstance(store, SQLStore)
    for number in (1, 3):
        lease = await leased(store, thread_of(number))
        await append(store, lease, 1, finished(), status="completed")
    pages = store._aged

    async def interrupted(before_us: int) -> AsyncIterator[Any]:
        async for page in pages(before_us):
            await leased(store, thread_of(2))
            yield page

    monkeypatch.setattr(store, "_aged", interrupted)

    assert await store.prune(before_us=FAR_US) == 2

    for table in ("threads", "runs", "events"):
        name = "id" if table == "threads" else "thread_id"
        found = await rows(store, f"SELECT {name} AS id FROM {table}")
        assert [row["id"] for row in found] == [thread_of(2)]


async def test_the_deleted_origin_of_threads_is_removed_with_the_last_of_them(
    store: Store,
) -> None:
    origin = await ended(store)
    first, second = await forked(store, origin, 1), await forked(store, origin, 1)
    _, lease = await store.start(new_run(second, ordinal=2, head=1, exists=True), asked(), LONG_S)
    assert lease is not None
    await append(store, lease, 2, finished(), status="completed")
    leaf = await forked(store, second, 3)
    for thread in (origin, second, first):
        await store.delete_thread(thread)
    assert await store.prune(before_us=1) == 1

    await store.delete_thread(leaf)

    assert await store.prune(before_us=1) == 3
    assert await rows(store, "SELECT id FROM threads") == []


async def test_a_thread_is_kept_while_its_id_is_new(
    store: Store,
) -> None:
    """An id made by a clock that is up to an hour ahead of the database's does not keep it."""
    ages_h = {"a": 10.0, "b": 1.5, "c": 0.5, "d": -0.5}
    now_us = time.time_ns() // 1_000
    for name, hours in ages_h.items():
        made_at = round(now_us / 1_000 - hours * 3_600_000)
        thread = ThreadId(f"{made_at:012x}{name * 32}")
        lease = await leased(store, thread)
        await append(store, lease, 1, finished(), status="completed")
    async with store.write() as tx:
        await tx.execute("UPDATE threads SET created_at = 1")
        await tx.execute("UPDATE runs SET finished_at = 1")
        await tx.execute("UPDATE events SET at_us = 1")

    assert await store.prune(before_us=now_us - 3_600_000_000) == 3

    (kept,) = await rows(store, "SELECT id FROM threads")
    assert kept["id"].endswith("d" * 32)


@pytest.mark.mysql
async def test_prune_reads_only_old_threads_and_their_runs(mariadb: Store, reads: Reads) -> None:
    now_ms = time.time_ns() // 1_000_000
    await add_runs(mariadb, 300, status="completed", made_at_ms=1)
    await add_runs(mariadb, 3_000, status="waiting", made_at_ms=now_ms)
    await add_runs(mariadb, 3_000, status="completed", made_at_ms=now_ms + 5_000)
    await mariadb.delete_thread(thread_of(now_ms + 6_000))

    pruned, read = await reads.of(reads.store.prune(before_us=(now_ms - 7_200_000) * 1_000))

    assert pruned == 301
    assert read < 301 * 12 + 3_000  # those that wait are looked through once


async def test_a_thread_whose_run_continues_or_may_be_claimed_is_kept(store: Store) -> None:
    lease, given_back = await leased(store), await leased(store)
    await store.release(given_back)

    assert await store.prune(before_us=FAR_US) == 0
    await append(store, lease, 1, said())


async def test_a_thread_whose_run_waits_for_a_person_is_kept(store: Store) -> None:
    lease = await leased(store)
    await append(store, lease, 1, said(), status="waiting")

    assert await store.prune(before_us=FAR_US) == 0
    assert await threads(store) == {lease.run.thread}


class Counted(dict[str, str]):
    """Statements, and how many of them were read."""

    asked = 0

    def __getitem__(self, name: str) -> str:
        self.asked += 1
        return super().__getitem__(name)


async def test_many_threads_are_removed_by_one_statement(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(store, SQLStore)
    for _ in range(50):
        await ended(store)
    monkeypatch.setattr(store, "_sql", counted := Counted(store._sql))

    assert await store.prune(before_us=FAR_US) == 50

    assert counted.asked < 50


async def test_a_thread_is_kept_as_long_as_its_forks(store: Store) -> None:
    thread = await ended(store)
    fork = await forked(store, thread, 2)
    _, lease = await store.start(new_run(fork, head=2), asked("here"), LONG_S)
    assert lease is not None

    assert await store.prune(before_us=FAR_US) == 0
    assert await threads(store) == {thread, fork}

    await append(store, lease, 3, finished(), status="completed")
    assert await store.prune(before_us=FAR_US) == 2
    assert await threads(store) == set()


async def test_a_thread_is_kept_until_its_mail_is_sent(store: Store) -> None:
    lease = await leased(store)
    async with store.append(Append(lease, 1, 1, "completed")) as tx:
        await tx.send_mail("ann@example.org", "You are in", "Welcome.")
        await tx.record([finished()])

    assert await store.prune(before_us=FAR_US) == 0

    async with store.write() as tx:
        await tx.execute("UPDATE outbox SET sent_at = 1")
    assert await store.prune(before_us=FAR_US) == 1
    assert await rows(store, "SELECT * FROM outbox") == []
