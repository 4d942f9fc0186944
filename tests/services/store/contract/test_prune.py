"""Threads that other processes use while `prune` removes threads around them."""

import asyncio
from collections.abc import Awaitable, Callable
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
from twelvefold.core.events import WaitStarted
from twelvefold.core.ids import CallId, RunId, ThreadId, family_of
from twelvefold.core.ports import Append, SignalKey, Store
from twelvefold.errors import Conflict, NotFound, StoreUnavailable
from twelvefold.services.store.sql.retention import MAX_BYTES, MAX_ENTRIES
from twelvefold.services.store.sql.store import SQLStore

ORPHANS = (
    "SELECT thread_id FROM {} child WHERE NOT EXISTS "
    "(SELECT 1 FROM threads t WHERE t.id = child.thread_id)"
)


async def ended(store: Store) -> RunId:
    """A run that is over; its thread has a message that could not be sent."""
    lease = await leased(store)
    async with store.append(Append(lease, 1, 1, "completed")) as tx:
        await tx.send_mail("ann@example.org", "You are in", "Welcome.")
        await tx.record([finished()])
    async with store.write() as tx:
        await tx.execute(
            "UPDATE outbox SET dead_at = 1 WHERE thread_id = :thread", thread=lease.run.thread
        )
    return lease.run


async def goes_on(store: Store, run: RunId) -> None:
    new = new_run(run.thread, ordinal=2, head=2, exists=True)
    await store.start(new, asked(), LONG_S)


async def is_claimed(store: Store, run: RunId) -> None:
    assert await store.claim(run, LONG_S) is not None


async def is_forked(store: Store, run: RunId) -> None:
    await store.fork(run.thread, 2, new_thread())


async def sends_again(store: Store, run: RunId) -> None:
    assert await store.retry_dead() == 3


def just_before_removal(
    store: SQLStore, monkeypatch: pytest.MonkeyPatch, act: Callable[[], Awaitable[None]]
) -> None:
    """Act once, when the threads that may be removed have been read."""
    remove, acts = store._remove_at_once, [act]

    async def acting(*args: Any) -> Any:
        if acts:
            await acts.pop()()
        return await remove(*args)

    monkeypatch.setattr(store, "_remove_at_once", acting)


@pytest.mark.parametrize(
    ("act", "pruned"),
    [(goes_on, 2), (is_forked, 2), (sends_again, 0)],
)
async def test_a_thread_that_is_used_after_it_was_read_is_kept_whole(
    store: Store,
    rival: Store,
    monkeypatch: pytest.MonkeyPatch,
    act: Callable[[Store, RunId], Awaitable[None]],
    pruned: int,
) -> None:
    assert isinstance(store, SQLStore)
    _, used, _ = [await ended(store) for _ in range(3)]
    just_before_removal(store, monkeypatch, lambda: act(rival, used))

    assert await store.prune(before_us=FAR_US - 1) == pruned

    record = await store.load(used.thread)
    assert [entry.event for entry in record.entries][:2] == [asked(), finished()]
    mails = await rows(store, "SELECT 1 AS one FROM outbox WHERE thread_id = :t", t=used.thread)
    assert len(mails) == 1
    for table in ("runs", "events", "outbox"):
        assert await rows(store, ORPHANS.format(table)) == []


async def test_threads_are_kept_that_are_used_again_and_again(
    store: Store, rival: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that is interrupted twice is left to the next prune."""
    assert isinstance(store, SQLStore)
    runs = [await ended(store) for _ in range(3)]
    remove = store._remove_at_once

    async def used(*args: Any) -> Any:
        await is_forked(rival, runs.pop())
        return await remove(*args)

    with monkeypatch.context() as patch:
        patch.setattr(store, "_remove_at_once", used)
        assert await store.prune(before_us=FAR_US - 1) == 0

    assert await store.prune(before_us=FAR_US - 1) == 5  # with the two forks


async def test_a_thread_that_an_item_was_added_to_after_it_was_read_is_kept(
    store: Store, rival: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(store, SQLStore)
    lease = await leased(store)
    await append(store, lease, 1, finished(), status="completed")
    thread = lease.run.thread

    async def add() -> None:
        await rival.add_items(thread, 2, 1, said(), at_us=FAR_US)

    just_before_removal(store, monkeypatch, add)

    assert await store.prune(before_us=FAR_US - 1) == 0

    assert await journal(store, thread) == [asked(), finished(), said()]


async def test_a_deleted_thread_is_kept_while_a_process_drives_its_run(
    store: Store, rival: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(store, SQLStore)
    lease = await leased(store)
    await append(store, lease, 1, said(), status="waiting")
    await store.delete_thread(lease.run.thread)
    just_before_removal(store, monkeypatch, lambda: is_claimed(rival, lease.run))

    assert await store.prune(before_us=1) == 0

    assert await journal(store, lease.run.thread) == [asked(), said()]


@pytest.mark.parametrize("digits", ["0" * 12, "f" * 12], ids=["this release", "an older release"])
async def test_a_whole_family_is_removed_wherever_its_forks_sort(store: Store, digits: str) -> None:
    """The ids of an older release have random digits where those of a fork have its time."""
    origin = ThreadId(f"{new_thread()[:20]}{digits}{'0' * 12}")
    fork, again = (ThreadId(f"{family_of(origin)}{number:024x}") for number in (2, 1))
    lease = await leased(store, origin)
    await append(store, lease, 1, finished(), status="completed")
    await store.fork(origin, 2, fork)
    await store.start(new_run(fork, ordinal=2, head=2, exists=True), asked(), LONG_S)
    await store.fork(fork, 3, again)
    async with store.write() as tx:
        await tx.execute("UPDATE runs SET finished_at = 1, lease_until = 0")

    assert await store.prune(before_us=FAR_US) == 3

    for table in ("threads", "runs", "events"):
        assert await rows(store, f"SELECT 1 AS one FROM {table}") == []


class Noted(dict[str, str]):
    """Statements, and the names of those that were read, in order."""

    def __init__(self, statements: dict[str, str]) -> None:
        super().__init__(statements)
        self.names: list[str] = []

    def __getitem__(self, name: str) -> str:
        self.names.append(name)
        return super().__getitem__(name)


@pytest.mark.parametrize("change", [f"head = {MAX_ENTRIES // 2}", f"size = {MAX_BYTES // 2}"])
async def test_a_transaction_removes_a_bounded_number_of_entries_and_bytes(
    store: Store, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    assert isinstance(store, SQLStore)
    for _ in range(5):
        lease = await leased(store)
        await append(store, lease, 1, finished(), status="completed")
    async with store.write() as tx:
        await tx.execute(f"UPDATE threads SET {change}")
    monkeypatch.setattr(store, "_sql", noted := Noted(store._sql))

    assert await store.prune(before_us=FAR_US) == 5

    assert noted.names.count("delete_threads") == 3


async def started(store: Store, thread: ThreadId) -> bool:
    """Whether a run could be started on the thread."""
    new = new_run(thread, ordinal=2, head=2, exists=True)
    while True:
        try:
            await store.start(new, asked(), LONG_S)
        except (Conflict, NotFound):
            return False
        except StoreUnavailable:
            continue
        return True


async def test_of_a_start_and_a_prune_of_a_thread_one_wins(store: Store, rival: Store) -> None:
    threads = []
    for _ in range(60):
        lease = await leased(store)
        await append(store, lease, 1, finished(), status="completed")
        threads.append(lease.run.thread)

    async def starts() -> list[ThreadId]:
        return [thread for thread in threads[::7] if await started(rival, thread)]

    kept, pruned = await asyncio.gather(starts(), store.prune(before_us=FAR_US - 1))
    pruned += await store.prune(before_us=FAR_US - 1)

    assert pruned == len(threads) - len(kept)
    assert {row["id"] for row in await rows(store, "SELECT id FROM threads")} == set(kept)
    for table, number in (("runs", 2), ("events", 3)):
        found = await rows(store, f"SELECT thread_id FROM {table}")
        assert len(found) == number * len(kept)


async def test_a_run_that_waits_is_kept_with_its_events(store: Store) -> None:
    lease = await leased(store)
    wait = WaitStarted(CallId("2.0"), "pay", event="paid")
    to = SignalKey("academy", "ann", "paid")
    change = Append(lease, 1, 1, "waiting", workflow=to.workflow, principal=to.principal)
    async with store.append(change) as tx:
        await tx.record([wait])
    await _age_signals(store)

    assert await store.prune(before_us=FAR_US) == 0
    assert await store.signal(to, "1", "the bank")
    await _age_signals(store)
    assert await store.prune(before_us=FAR_US) == 0

    assert not await store.signal(to, "2", "the bank")


async def test_events_are_kept_for_thirty_days(store: Store) -> None:
    old, new = SignalKey("academy", "ann", "old"), SignalKey("academy", "ann", "new")
    await store.signal(old, "1", "the bank")
    await _age_signals(store)
    await store.signal(new, "1", "the bank")

    await store.prune(before_us=0)

    assert await store.signal(old, "2", "the bank")
    assert not await store.signal(new, "2", "the bank")


async def test_what_a_run_waited_for_is_removed_with_its_thread(store: Store) -> None:
    lease = await leased(store)
    change = Append(lease, 1, 1, "running", workflow="academy", principal="ann")
    async with store.append(change) as tx:
        await tx.record([WaitStarted(CallId("2.0"), "pay", event="paid")])
    await append(store, lease, 2, finished(), status="completed")

    assert await store.prune(before_us=FAR_US - 1) == 1

    assert await rows(store, "SELECT 1 AS one FROM signal_waits") == []


async def _age_signals(store: Store) -> None:
    """Let all events be sent at the beginning of 1970."""
    async with store.write() as tx:
        await tx.execute("UPDATE signals SET created_at = 1")
        await tx.execute("UPDATE signals SET sent_at = 1 WHERE sent_at IS NOT NULL")
