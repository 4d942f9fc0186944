"""The size of a thread in its row, which is known before the thread is loaded."""

from dataclasses import replace

from tests.builders import added, asked, called, finished, said, succeeded, user
from tests.services.store.builders import LONG_S, append, leased, new_run, new_thread
from twelvefold.core.events import Event, encode, size_of
from twelvefold.core.ids import ThreadId
from twelvefold.core.ports import Store


def size(*events: Event) -> int:
    return sum(size_of(encode(event)[2]) for event in events)


async def stored_size(store: Store, thread: ThreadId) -> int | None:
    """Return the size in the thread's row, and check that its runs have the same."""
    head = await store.thread(thread)
    [listed] = await store.threads("ann", limit=1)
    assert listed.head.size == head.size
    return head.size


async def test_a_new_thread_is_as_large_as_its_first_entry(store: Store) -> None:
    lease = await leased(store)

    assert await stored_size(store, lease.run.thread) == size(asked())
    assert (await store.run(lease.run)).thread_size == size(asked())
    assert (await store.load(lease.run.thread)).size == size(asked())


async def test_a_step_stores_the_size_of_the_thread_before_it(store: Store) -> None:
    lease = await leased(store)
    await append(store, lease, 1, called("enrol"), succeeded("2.0"), size=size(asked()))
    before = size(asked(), called("enrol"), succeeded("2.0"))
    await append(store, lease, 3, said(), finished(), status="completed", size=before)

    assert await stored_size(store, lease.run.thread) == before


async def test_a_step_without_a_size_leaves_it_unchanged(store: Store) -> None:
    lease = await leased(store)
    await append(store, lease, 1, said())

    assert await stored_size(store, lease.run.thread) == size(asked())


async def test_a_turn_adds_to_the_size_of_its_thread(store: Store) -> None:
    lease = await leased(store)
    await append(store, lease, 1, said(), finished(), status="completed")
    again = replace(new_run(lease.run.thread, ordinal=2, head=3, exists=True), thread_size=700)
    await store.start(again, asked("more"), LONG_S)

    assert await stored_size(store, lease.run.thread) == 700 + size(asked("more"))


async def test_added_items_add_to_the_size_of_their_thread(store: Store) -> None:
    thread, remark = new_thread(), added(user("I am Ann."))
    await store.new_thread(thread, "ann", "", {})

    assert await stored_size(store, thread) == 0
    await store.add_items(thread, 0, 0, remark)
    assert await stored_size(store, thread) == size(remark)
    await store.add_items(thread, 1, 0, remark, thread_size=size(remark))
    assert await stored_size(store, thread) == 2 * size(remark)


async def test_a_fork_is_at_most_as_large_as_its_origin(store: Store) -> None:
    lease = await leased(store)
    await append(store, lease, 1, said(), finished(), status="completed", size=300)
    fork, other = new_thread(), new_thread()
    await store.fork(lease.run.thread, 1, fork)
    on_fork = replace(new_run(other, ordinal=2, head=1), forked_from=lease.run.thread)
    await store.start(replace(on_fork, thread_size=size(asked())), asked("here"), LONG_S)

    assert (await store.thread(fork)).size == 300
    assert (await store.thread(other)).size == size(asked(), asked("here"))
