"""Waits of runs, and the events that wake them."""

import asyncio
from contextlib import suppress

import pytest

from tests.builders import finished
from tests.services.store.builders import append, leased, queued
from tests.waiting import HANG_S
from twelvefold.core.events import WaitStarted
from twelvefold.core.ids import CallId, RunId, ThreadId
from twelvefold.core.ports import Append, Lease, SignalKey, Store, WaitCondition
from twelvefold.engine.retry import retry_unavailable
from twelvefold.errors import NotFound
from twelvefold.services.store.sqlite.store import SQLiteStore

PAID = SignalKey("academy", "ann", "paid")
STARTED = WaitStarted(CallId("2.0"), "pay", event="paid")
FAR_US = 2**60


async def begins_to_wait(store: Store) -> Lease:
    """Return the lease of a run whose journal says that it waits for an event."""
    lease = await leased(store)
    change = Append(lease, 1, 1, workflow=PAID.workflow, principal=PAID.principal)
    async with store.append(change) as tx:
        await tx.record([STARTED])
    return lease


async def rest(store: Store, lease: Lease, due_us: int | None = None, wakes: int = 0) -> str:
    """Let the run wait under a condition; return its status."""
    await append(store, lease, 2, status="waiting", wait=WaitCondition(due_us, wakes))
    return (await store.run(lease.run)).status


async def found(store: Store) -> list[RunId]:
    work = await store.waiting_work(workflows=["academy", "other"], limit=10)
    return [one.run for one in work.runs]


async def test_an_event_wakes_the_run_that_waits_for_it(store: Store) -> None:
    lease = await begins_to_wait(store)
    assert await rest(store, lease) == "waiting"
    assert await found(store) == []

    assert await store.signal(PAID, '"12"', "the bank")

    assert await found(store) == [lease.run]
    state = await store.wait_state(lease.run, [PAID.id])
    assert (state.wakes, dict(state.signals)[PAID.id][:2]) == (1, ('"12"', "the bank"))
    assert state.now_us >= state.signals[PAID.id].at_us


async def test_a_run_that_was_woken_meanwhile_is_queued_instead_of_waiting(store: Store) -> None:
    lease = await begins_to_wait(store)
    await store.signal(PAID, "1", "the bank")

    assert await rest(store, lease) == "queued"


async def test_a_run_that_knows_of_its_wake_ups_waits(store: Store) -> None:
    lease = await begins_to_wait(store)
    await store.signal(PAID, "1", "the bank")
    state = await store.wait_state(lease.run)

    assert await rest(store, lease, wakes=state.wakes) == "waiting"


async def test_a_run_that_only_a_person_continues_waits_in_any_case(store: Store) -> None:
    lease = await begins_to_wait(store)
    await store.signal(PAID, "1", "the bank")

    await append(store, lease, 2, status="waiting")

    assert (await store.run(lease.run)).status == "waiting"


async def test_an_early_event_is_kept(store: Store) -> None:
    assert await store.signal(PAID, "1", "the bank")

    lease = await begins_to_wait(store)

    state = await store.wait_state(lease.run, [PAID.id])
    assert (state.wakes, state.signals[PAID.id].payload) == (0, "1")


async def test_the_first_of_several_deliveries_at_once_counts(store: Store, rival: Store) -> None:
    lease = await begins_to_wait(store)
    await rest(store, lease)

    payloads = [str(number) for number in range(6)]
    senders = [store, rival] * 3
    sent = await asyncio.gather(
        *(_deliver(one, payload) for one, payload in zip(senders, payloads, strict=True))
    )

    assert sorted(sent) == [False] * 5 + [True]
    state = await store.wait_state(lease.run, [PAID.id])
    assert (state.wakes, state.signals[PAID.id].payload) == (1, payloads[sent.index(True)])


async def _deliver(store: Store, payload: str) -> bool:
    return await retry_unavailable(lambda: store.signal(PAID, payload, "the bank"))


async def test_a_wait_that_began_while_the_event_was_sent_is_woken_or_finds_it(
    store: Store, rival: Store
) -> None:
    """Whichever commits first, the run does not wait for an event that has been sent."""
    for _ in range(10):
        lease = await leased(store)
        to = PAID._replace(key=str(lease.run))
        wait = WaitStarted(CallId("2.0"), "pay", event=to.key)

        async def begin(lease: Lease = lease, wait: WaitStarted = wait) -> None:
            change = Append(lease, 1, 1, workflow=PAID.workflow, principal=PAID.principal)
            async with store.append(change) as tx:
                await tx.record([wait])

        async def send(to: SignalKey = to) -> bool:
            return await rival.signal(to, "1", "the bank")

        await asyncio.gather(retry_unavailable(begin), retry_unavailable(send))

        state = await store.wait_state(lease.run, [to.id])
        assert state.wakes == 1 or to.id in state.signals
        await append(store, lease, 2, finished(), status="completed")


async def test_a_tool_s_event_is_sent_with_its_commit(store: Store) -> None:
    lease = await begins_to_wait(store)
    await rest(store, lease)
    sender = await leased(store)

    with suppress(RuntimeError):
        async with store.append(Append(sender, 1, 1)) as tx:
            await tx.signal("academy", "ann", "paid", {"amount": 12})
            raise RuntimeError
    assert await found(store) == []
    async with store.append(Append(sender, 1, 1)) as tx:
        assert await tx.signal("academy", "ann", "paid", {"amount": 12})
        assert tx.signalled == {"academy"}
        await tx.record([finished()])

    assert await found(store) == [lease.run]
    sent = (await store.wait_state(lease.run, [PAID.id])).signals[PAID.id]
    assert (sent.payload, sent.sender) == ('{"amount":12}', str(sender.run))


async def test_an_event_of_a_long_transaction_blocks_no_lease_of_its_receivers(
    store: Store, rival: Store
) -> None:
    """A run that waits for it may be in the middle of another call."""
    if isinstance(store, SQLiteStore):
        pytest.skip("a transaction locks the whole database")
    lease = await begins_to_wait(store)
    sender = await leased(store)

    async with store.append(Append(sender, 1, 1)) as tx:
        assert await tx.signal("academy", "ann", "paid")
        async with asyncio.timeout(HANG_S):
            assert not await rival.renew(lease, 30.0)
        await tx.record([finished()])

    assert (await store.wait_state(lease.run)).wakes == 1


async def test_an_event_outside_a_step_has_no_sender(store: Store) -> None:
    async with store.write() as tx:
        assert await tx.signal("academy", "ann", "paid")
        assert not await tx.signal("academy", "ann", "paid", 2)

    lease = await begins_to_wait(store)
    sent = (await store.wait_state(lease.run, [PAID.id])).signals[PAID.id]
    assert (sent.payload, sent.sender) == ("null", "")


async def test_a_due_run_is_found_first_what_waited_longest(store: Store) -> None:
    late, early, future, no_time = [await begins_to_wait(store) for _ in range(4)]
    await rest(store, late, due_us=2)
    await rest(store, early, due_us=1)
    await rest(store, future, due_us=FAR_US)
    await rest(store, no_time)

    assert await found(store) == [early.run, late.run]


async def test_a_claimed_run_that_was_due_is_not_due_again(store: Store) -> None:
    lease = await begins_to_wait(store)
    await rest(store, lease, due_us=1)

    claim = await store.claim(lease.run, 60)
    assert claim is not None
    assert await found(store) == []
    await store.release(claim.lease, status="waiting")

    assert await found(store) == []


async def test_the_end_of_a_child_wakes_its_parent(store: Store) -> None:
    parent = await begins_to_wait(store)
    await rest(store, parent)
    child = await leased(store)

    await append(store, child, 1, finished(), status="completed", parent=parent.run)

    assert await found(store) == [parent.run]
    state = await store.wait_state(parent.run, runs=[child.run])
    assert dict(state.runs) == {child.run: "completed"}


async def test_a_run_that_is_over_is_not_woken(store: Store) -> None:
    lease = await begins_to_wait(store)
    await append(store, lease, 2, finished(), status="completed")

    await store.signal(PAID, "1", "the bank")

    assert (await store.run(lease.run)).status == "completed"


async def test_the_state_of_a_missing_run(store: Store) -> None:
    run = await queued(store)
    missing = RunId(ThreadId("f" * 44), 1)

    with pytest.raises(NotFound):
        await store.wait_state(missing)
    assert dict((await store.wait_state(run, runs=[missing])).runs) == {missing: "cancelled"}
