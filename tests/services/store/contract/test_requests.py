"""Idempotent requests, on every database."""

import asyncio
from dataclasses import replace

import pytest

from tests.builders import asked, finished, said
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
from twelvefold.core.ids import ThreadId
from twelvefold.core.ports import IdempotentRequest, NewRun, Store
from twelvefold.errors import Conflict, DuplicateRow, NotFound, Repeated

HASH = "ab" * 32
REQUEST = IdempotentRequest("once", HASH)
A_DAY_US = 86_400_000_000


def requested(thread: ThreadId | None = None, token: str = "t1", key: str = "once") -> NewRun:
    return new_run(thread, token=token, request=IdempotentRequest(key, HASH))


async def aged(store: Store, by_us: int) -> None:
    async with store.write() as tx:
        await tx.execute("UPDATE idempotency_keys SET created_at = created_at - :by", by=by_us)


async def test_a_repeated_request_names_the_run_that_it_started(store: Store, rival: Store) -> None:
    first = requested()
    await store.start(first, asked(), LONG_S)

    with pytest.raises(Repeated) as caught:
        await rival.start(requested(token="t2"), asked("another"), LONG_S)

    assert (caught.value.run, caught.value.body_hash) == (str(first.run), HASH)
    assert len(await store.runs(limit=10)) == 1
    assert await rows(store, "SELECT id FROM threads") == [{"id": first.run.thread}]


async def test_the_run_of_a_request_is_known_for_a_day(store: Store, rival: Store) -> None:
    first = requested()
    assert await rival.find_request(first.principal, "once") is None
    await store.start(first, asked(), LONG_S)

    found = await rival.find_request(first.principal, "once")
    others = await rival.find_request("somebody", "once")
    another = await rival.find_request(first.principal, "twice")
    await aged(store, A_DAY_US)
    late = await rival.find_request(first.principal, "once")

    assert (found, others, another, late) == ((first.run, HASH), None, None, None)


async def test_a_repeated_request_on_the_same_thread_is_not_a_conflict(store: Store) -> None:
    thread = new_thread()
    await store.start(requested(thread), asked(), LONG_S)

    with pytest.raises(Repeated):
        await store.start(requested(thread, token="t2"), asked(), LONG_S)


async def test_a_fork_is_committed_or_rolled_back_with_its_run(store: Store, rival: Store) -> None:
    origin = (await queued(store)).thread
    forks = [replace(requested(token=f"t{n}"), thread_head=1, forked_from=origin) for n in range(2)]

    ended = await asyncio.gather(
        store.start(forks[0], asked("again"), LONG_S),
        rival.start(forks[1], asked("again"), LONG_S),
        return_exceptions=True,
    )

    assert kinds(ended) == [Repeated, tuple]
    won = forks[0] if isinstance(ended[1], Repeated) else forks[1]
    assert len(await rows(store, "SELECT id FROM threads")) == 2
    record = await store.load(won.run.thread)
    assert (record.forked_at, record.head) == (1, 2)
    assert [entry.event for entry in record.entries] == [asked(), asked("again")]
    with pytest.raises(NotFound):
        await store.start(
            replace(new_run(), thread_head=2, forked_from=origin), asked("again"), LONG_S
        )


@pytest.mark.parametrize("lease_s", [LONG_S, None])
async def test_a_repeated_fork_is_one_fork(store: Store, lease_s: float | None) -> None:
    origin = (await queued(store)).thread
    new = replace(requested(), thread_head=1, forked_from=origin)
    entry, lease = await store.start(new, asked("again"), lease_s)

    again, again_lease = await store.start(new, asked("again"), lease_s)

    assert (again.event, again_lease) == (entry.event, lease)
    assert len(await rows(store, "SELECT id FROM threads")) == 2


@pytest.mark.parametrize("lease_s", [LONG_S, None])
async def test_a_repeated_start_is_not_a_repeated_request(
    store: Store, lease_s: float | None
) -> None:
    """For example, because the answer to the first COMMIT was lost."""
    new = requested()
    entry, lease = await store.start(new, asked(), lease_s)

    again, again_lease = await store.start(new, asked(), lease_s)

    assert (again.event, again_lease) == (entry.event, lease)
    assert await journal(store, new.run.thread) == [asked()]


async def test_of_two_concurrent_repetitions_one_starts_a_run(store: Store, rival: Store) -> None:
    ended = await asyncio.gather(
        *((store, rival)[n % 2].start(requested(token=f"t{n}"), asked(), LONG_S) for n in range(2)),
        return_exceptions=True,
    )

    assert kinds(ended) == [Repeated, tuple]
    (record,) = await store.runs(limit=10)
    assert [fault.run for fault in ended if isinstance(fault, Repeated)] == [str(record.run)]


async def test_a_key_belongs_to_one_principal(store: Store) -> None:
    await store.start(requested(), asked(), LONG_S)
    bob = new_run(token="t2")
    bob = NewRun(bob.run, bob.token, 0, "bob", "academy", "1.0", request=REQUEST)

    await store.start(bob, asked(), LONG_S)

    assert len(await store.runs(limit=10)) == 2


async def test_keys_differ_by_case(store: Store) -> None:
    await store.start(requested(key="once"), asked(), LONG_S)

    await store.start(requested(key="Once", token="t2"), asked(), LONG_S)

    assert len(await store.runs(limit=10)) == 2


async def test_a_key_is_free_again_after_a_day(store: Store, rival: Store) -> None:
    await store.start(requested(), asked(), LONG_S)
    await aged(store, A_DAY_US - 60_000_000)
    with pytest.raises(Repeated):
        await store.start(requested(token="t2"), asked(), LONG_S)

    await aged(store, 60_000_000)
    ended = await asyncio.gather(
        *(one.start(requested(token="t3"), asked(), LONG_S) for one in (store, rival)),
        return_exceptions=True,
    )

    assert kinds(ended) == [Repeated, tuple]


async def test_a_request_that_is_refused_leaves_its_key_free(store: Store) -> None:
    thread = (await queued(store)).thread
    with pytest.raises(Conflict) as caught:
        await store.start(requested(thread, token="t2"), asked(), LONG_S)
    assert not isinstance(caught.value, Repeated)

    await store.start(requested(token="t3"), asked(), LONG_S)

    assert len(await store.runs(limit=10)) == 2


async def test_a_key_of_the_maximum_length_is_stored(store: Store) -> None:
    await store.start(requested(key="~" * 255), asked(), LONG_S)

    with pytest.raises(Repeated):
        await store.start(requested(key="~" * 255, token="t2"), asked(), LONG_S)


async def test_old_keys_and_keys_of_pruned_threads_are_pruned(store: Store) -> None:
    await store.start(requested(key="old"), asked(), LONG_S)
    await aged(store, A_DAY_US)
    await store.start(requested(key="new"), asked(), LONG_S)
    gone = requested(key="gone")
    _, lease = await store.start(gone, asked(), LONG_S)
    assert lease is not None
    await append(store, lease, 1, finished(), status="completed")

    assert await store.prune(before_us=FAR_US) == 1

    assert await rows(store, "SELECT request_key FROM idempotency_keys") == [{"request_key": "new"}]


async def test_a_step_can_record_a_request(store: Store, rival: Store) -> None:
    lease = await leased(store)

    await append(store, lease, 1, said(), request=REQUEST, principal="ann")

    assert await rival.find_request("ann", "once") == (lease.run, HASH)


async def test_a_step_of_a_repeated_request_is_not_repeated(store: Store, rival: Store) -> None:
    first, second = await leased(store), await leased(store)
    await append(store, first, 1, said(), request=REQUEST, principal="ann")

    with pytest.raises(DuplicateRow):
        await append(rival, second, 1, said(), request=REQUEST, principal="ann")

    assert await journal(store, second.run.thread) == [asked()]
    assert await store.find_request("ann", "once") == (first.run, HASH)
