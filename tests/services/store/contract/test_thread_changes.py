"""Threads that are made, described, added to and deleted, on every database."""

import asyncio
from typing import Any

import pytest

from tests.builders import (
    added,
    asked,
    finished,
    removed,
    said,
    user,
)
from tests.services.store.builders import (
    FAR_US,
    LONG_S,
    append,
    journal,
    kinds,
    leased,
    new_run,
    new_thread,
    queued,
    rows,
)
from tests.services.store.mysql.many_runs import thread_of
from twelvefold.core.events import Entry, encode
from twelvefold.core.ids import RunId, ThreadId
from twelvefold.core.ports import Store, ThreadHead
from twelvefold.errors import CancelAsked, Conflict, DuplicateRow, NotFound

REMARK = added(user("so I said"))
TOPIC = {"topic": "Grüße 😀", "empty": ""}


async def made(store: Store, thread: ThreadId | None = None, principal: str = "ann") -> ThreadId:
    thread = thread or new_thread()
    await store.new_thread(thread, principal, "academy", {})
    return thread


async def rested(store: Store) -> RunId:
    """A run that is over, after two entries."""
    lease = await leased(store)
    await append(store, lease, 1, finished(), status="completed")
    return lease.run


async def ran_again(store: Store, thread: ThreadId, head: int, **wishes: Any) -> RunId:
    """A second run that is over, after two more entries."""
    new = new_run(thread, ordinal=2, head=head, exists=True)
    _, lease = await store.start(new, asked("again", **wishes), LONG_S)
    assert lease is not None
    await append(store, lease, head + 1, finished(), status="completed")
    return lease.run


# --- made and found ---------------------------------------------------------------------------


async def test_a_new_thread_has_no_entry_and_no_run(store: Store) -> None:
    thread = new_thread()

    await store.new_thread(thread, "ann", "academy", TOPIC)

    head = await store.thread(thread)
    assert head == ThreadHead(thread, "ann", "academy", 0, None, 0, head.created_at_us, TOPIC, 0)
    assert head.created_at_us > 1_600_000_000_000_000
    assert await journal(store, thread) == []
    assert await store.runs(limit=10) == []


async def test_a_thread_is_made_once(store: Store) -> None:
    thread = await made(store)

    with pytest.raises(DuplicateRow):
        await made(store, thread)


async def test_a_thread_made_by_a_run_is_found(store: Store) -> None:
    run = await rested(store)

    head = await store.thread(run.thread)

    assert (head.head, head.principal, head.workflow, head.metadata) == (2, "ann", "academy", {})


async def test_a_fork_has_its_origin_and_position(store: Store) -> None:
    run = await rested(store)
    await store.describe(run.thread, TOPIC)
    fork = new_thread()
    await store.fork(run.thread, 2, fork)

    head = await store.thread(fork)

    assert (head.forked_from, head.forked_at, head.head) == (run.thread, 2, 2)
    assert head.metadata == {}


async def test_a_thread_that_is_not_there_is_not_found(store: Store) -> None:
    thread = new_thread()

    for attempt in (
        store.thread(thread),
        store.describe(thread, {}),
        store.delete_thread(thread),
        store.add_items(thread, 0, 0, REMARK),
    ):
        with pytest.raises(NotFound, match=f"no thread conv_{thread}"):
            await attempt


async def test_metadata_is_replaced_as_a_whole(store: Store) -> None:
    thread = await made(store)

    await store.describe(thread, TOPIC)
    await store.describe(thread, TOPIC)
    assert (await store.thread(thread)).metadata == TOPIC
    await store.describe(thread, {})

    assert (await store.thread(thread)).metadata == {}


# --- the first run of a thread that was there before ------------------------------------------


async def test_a_run_starts_on_a_thread_without_an_entry(store: Store) -> None:
    thread = await made(store)

    entry, _ = await store.start(new_run(thread, exists=True), asked(), LONG_S)

    assert entry.position == 1
    assert await journal(store, thread) == [asked()]
    assert (await store.thread(thread)).head == 1


async def test_a_repeated_start_on_an_empty_thread_starts_one_run(store: Store) -> None:
    new = new_run(await made(store), exists=True)
    first = await store.start(new, asked(), LONG_S)

    again = await store.start(new, asked(), LONG_S)

    assert [again[0].event, again[1]] == [first[0].event, first[1]]
    assert await journal(store, new.run.thread) == [asked()]


async def test_of_two_concurrent_starts_on_an_empty_thread_one_conflicts(
    store: Store, rival: Store
) -> None:
    thread = await made(store)
    starters = ((store, "t1"), (rival, "t2"))

    ended = await asyncio.gather(
        *(
            one.start(new_run(thread, exists=True, token=token), asked(token), LONG_S)
            for one, token in starters
        ),
        return_exceptions=True,
    )

    assert kinds(ended) == [Conflict, tuple]
    assert len(await journal(store, thread)) == 1


async def test_a_run_that_expects_a_thread_does_not_make_it(store: Store) -> None:
    thread = new_thread()

    with pytest.raises(NotFound):
        await store.start(new_run(thread, exists=True), asked(), LONG_S)

    assert await rows(store, "SELECT id FROM threads") == []


async def test_a_thread_without_a_workflow_gets_that_of_its_first_run(store: Store) -> None:
    plain, settled = new_thread(), new_thread()
    await store.new_thread(plain, "ann", "", {})
    await store.new_thread(settled, "ann", "retail", {})

    for thread in (plain, settled):
        await store.start(new_run(thread, exists=True), asked(), LONG_S)

    assert (await store.thread(plain)).workflow == "academy"
    assert (await store.thread(settled)).workflow == "retail"


# --- entries outside a run --------------------------------------------------------------------


async def test_an_entry_added_again_with_the_same_time_is_one_entry(store: Store) -> None:
    run = await rested(store)
    first = await store.add_items(run.thread, 2, 1, REMARK, at_us=5)
    await store.start(new_run(run.thread, ordinal=2, head=3), asked(), LONG_S)

    again = await store.add_items(run.thread, 2, 1, REMARK, at_us=5)
    for other, at_us in ((REMARK, 6), (removed("1i0"), 5)):
        with pytest.raises(Conflict):
            await store.add_items(run.thread, 2, 1, other, at_us=at_us)

    assert (again, first.at_us) == (first, 5)
    assert await journal(store, run.thread) == [asked(), finished(), REMARK, asked()]


async def test_an_entry_is_added_outside_any_run(store: Store) -> None:
    run = await rested(store)

    first = await store.add_items(run.thread, 2, 1, REMARK)
    second = await store.add_items(run.thread, 3, 1, removed("1i0"))

    size = len(encode(REMARK)[2])
    assert first == Entry(3, 1, REMARK, size, first.at_us)
    assert (await store.load(run.thread)).entries[2:] == (first, second)
    await store.start(new_run(run.thread, ordinal=2, head=4), asked(), LONG_S)


async def test_an_entry_is_added_to_a_thread_without_one(store: Store) -> None:
    thread = new_thread()
    await store.new_thread(thread, "ann", "", {})

    await store.add_items(thread, 0, 0, REMARK)

    assert await journal(store, thread) == [REMARK]
    assert (await store.thread(thread)).workflow == ""
    await store.start(new_run(thread, head=1, exists=True), asked(), LONG_S)


@pytest.mark.parametrize("head", [0, 1, 3])
async def test_an_entry_is_added_only_on_the_head(store: Store, head: int) -> None:
    run = await rested(store)

    with pytest.raises(Conflict, match="has moved on"):
        await store.add_items(run.thread, head, 1, REMARK)

    assert await journal(store, run.thread) == [asked(), finished()]


async def test_of_two_concurrent_additions_one_conflicts(store: Store, rival: Store) -> None:
    thread = await made(store)

    ended = await asyncio.gather(
        *(one.add_items(thread, 0, 0, REMARK) for one in (store, rival)),
        return_exceptions=True,
    )

    assert kinds(ended) == [Conflict, Entry]


async def test_nothing_is_added_while_a_run_is_not_over(store: Store) -> None:
    lease = await leased(store)

    with pytest.raises(Conflict, match=f"run {lease.run} of this thread is not over"):
        await store.add_items(lease.run.thread, 1, 1, REMARK)
    await append(store, lease, 1, said(), status="waiting")
    with pytest.raises(Conflict, match="is not over"):
        await store.add_items(lease.run.thread, 2, 1, REMARK)

    assert await journal(store, lease.run.thread) == [asked(), said()]


# --- deleted ----------------------------------------------------------------------------------


async def test_a_deleted_thread_is_hidden_and_no_run_starts_on_it(store: Store) -> None:
    run = await rested(store)
    thread = run.thread

    await store.delete_thread(thread)

    assert await store.threads("ann", limit=10) == []
    for attempt in (
        store.thread(thread),
        store.describe(thread, {}),
        store.delete_thread(thread),
        store.fork(thread, 1, new_thread()),
        store.add_items(thread, 2, 1, REMARK),
    ):
        with pytest.raises(NotFound):
            await attempt
    with pytest.raises(NotFound):
        await store.start(new_run(thread, ordinal=2, head=2, exists=True), asked(), LONG_S)


async def test_the_journal_of_a_deleted_thread_stays_until_it_is_pruned(store: Store) -> None:
    run = await rested(store)
    fork = new_thread()
    await store.fork(run.thread, 2, fork)

    await store.delete_thread(run.thread)

    assert await journal(store, run.thread) == [asked(), finished()]
    assert await journal(store, fork) == [asked(), finished()]
    assert (await store.run(run)).status == "completed"


async def test_a_run_of_a_deleted_thread_is_cancelled(store: Store) -> None:
    lease = await leased(store)

    await store.delete_thread(lease.run.thread)

    assert await store.renew(lease, LONG_S) is True
    with pytest.raises(CancelAsked):
        await append(store, lease, 1, said())
    await append(store, lease, 1, finished("cancelled"), status="cancelled")
    assert (await store.run(lease.run)).status == "cancelled"


async def test_a_run_that_is_over_is_deleted_once(store: Store) -> None:
    run = await rested(store)

    await store.delete_run(run)

    assert await store.runs(limit=10) == []
    for attempt in (store.run(run), store.delete_run(run)):
        with pytest.raises(NotFound, match=f"no run {run}"):
            await attempt
    assert await journal(store, run.thread) == [asked(), finished()]


async def test_a_run_that_is_not_over_is_not_deleted(store: Store) -> None:
    run = await queued(store)

    with pytest.raises(Conflict, match=f"run {run} is queued"):
        await store.delete_run(run)
    with pytest.raises(NotFound):
        await store.delete_run(RunId(run.thread, 2))

    assert (await store.run(run)).status == "queued"


async def test_a_thread_is_deleted_with_its_last_run(store: Store) -> None:
    first = await rested(store)
    second = await ran_again(store, first.thread, 2)

    await store.delete_run(second)
    assert (await store.thread(first.thread)).head == 4
    await store.delete_run(first)

    with pytest.raises(NotFound):
        await store.thread(first.thread)
    assert (await store.load(first.thread)).deleted


@pytest.mark.parametrize("named_by", ["an item", "a removal", "its run", "a later run"])
async def test_a_named_conversation_outlives_its_runs(store: Store, named_by: str) -> None:
    words = 'not the name: "conversation":true'
    start = asked(words, conversation=named_by == "its run")
    _, lease = await store.start(new_run(), start, LONG_S)
    assert lease is not None
    thread = lease.run.thread
    await append(store, lease, 1, finished(), status="completed")
    runs = [lease.run]
    if named_by == "an item":
        await store.add_items(thread, 2, 1, REMARK)
    elif named_by == "a removal":
        await store.add_items(thread, 2, 1, removed("1i0"))
    elif named_by == "a later run":
        runs.append(await ran_again(store, thread, 2, conversation=True))

    for run in runs:
        await store.delete_run(run)

    assert (await store.listed_thread(thread)).latest is None
    assert not (await store.load(thread)).deleted


async def test_text_that_looks_like_a_conversation_is_none(store: Store) -> None:
    item = user("hi") | {"conversation": True}
    _, lease = await store.start(new_run(), asked("hi", item), LONG_S)
    assert lease is not None
    await append(store, lease, 1, finished(), status="completed")

    await store.delete_run(lease.run)

    assert (await store.load(lease.run.thread)).deleted


async def test_deleted_runs_are_those_with_entries_in_the_thread(store: Store) -> None:
    first = await rested(store)
    fork, second = new_thread(), RunId(first.thread, 2)
    await store.fork(first.thread, 2, fork)
    for thread in (first.thread, fork):
        await ran_again(store, thread, 2)
    origin = await store.lineage(await store.thread(first.thread))
    line = await store.lineage(await store.thread(fork))

    none = await store.deleted_runs(line)
    await store.delete_run(second)
    beside = await store.deleted_runs(line)
    async with store.write() as tx:
        await tx.execute("UPDATE runs SET began = NULL")  # as an older release leaves it
    beside |= await store.deleted_runs(line)
    await store.delete_run(first)

    assert (none, beside) == (frozenset(), frozenset())
    assert await store.deleted_runs(line) == {1}
    assert await store.deleted_runs(origin) == {1, 2}


async def test_the_first_entry_is_the_first_of_a_threads_own(store: Store) -> None:
    first = await rested(store)
    empty, fork = await made(store), new_thread()
    await store.fork(first.thread, 2, fork)

    entry = await store.first_entry(first.thread, after=0)

    assert entry is not None
    assert (entry.position, entry.event) == (1, asked())
    assert await store.first_entry(empty, after=0) is None
    assert await store.first_entry(fork, after=2) is None


# --- pruned -----------------------------------------------------------------------------------


async def test_a_deleted_thread_is_pruned_at_any_age(store: Store) -> None:
    gone, waits = (await rested(store)).thread, (await queued(store)).thread
    kept = (await rested(store)).thread
    for thread in (gone, waits):
        await store.delete_thread(thread)

    assert await store.prune(before_us=1) == 2

    assert await rows(store, "SELECT id FROM threads") == [{"id": kept}]


async def test_a_deleted_thread_is_kept_while_it_or_its_fork_is_in_use(
    store: Store,
) -> None:
    lease, origin = await leased(store), await rested(store)
    await store.fork(origin.thread, 1, new_thread())
    for thread in (lease.run.thread, origin.thread):
        await store.delete_thread(thread)

    assert await store.prune(before_us=1) == 0

    assert len(await rows(store, "SELECT id FROM threads")) == 3


async def test_a_thread_without_a_run_is_pruned_by_its_last_entry(store: Store) -> None:
    # The ids are old, too: the clock of a simulated server is not that of this process.
    thread, empty = await made(store, thread_of(1)), await made(store, thread_of(2))
    entry = await store.add_items(thread, 0, 0, REMARK)
    async with store.write() as tx:
        await tx.execute("UPDATE threads SET created_at = 1")

    assert await store.prune(before_us=entry.at_us) == 1
    assert await rows(store, "SELECT id FROM threads") == [{"id": thread}]
    assert empty != thread
    assert await store.prune(before_us=FAR_US) == 1
