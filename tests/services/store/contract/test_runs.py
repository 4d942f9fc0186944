"""Runs and their leases, on every database."""

import asyncio

import pytest
from msgspec import structs

from tests.builders import asked, finished, said
from tests.services.store.builders import (
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
from twelvefold.core.events import Entry, Usage, encode
from twelvefold.core.ids import LeaseToken, RunId
from twelvefold.core.ports import Append, Claim, Lease, NewRun, RunStatus, Store
from twelvefold.errors import CancelAsked, Conflict, LeaseLost, NotFound

SHORT_S = 0.05


async def expired(store: Store) -> Lease:
    """A run whose holder has died."""
    lease = await leased(store, lease_s=SHORT_S)
    await asyncio.sleep(2 * SHORT_S)
    return lease


async def over(store: Store) -> RunId:
    lease = await leased(store)
    await append(store, lease, 1, finished(), status="completed")
    return lease.run


# --- start ------------------------------------------------------------------------------------


async def test_a_started_run_is_leased_and_its_first_entry_is_stored(store: Store) -> None:
    new = new_run()

    entry, lease = await store.start(new, asked(), LONG_S)

    assert entry == Entry(1, 1, asked(), len(encode(asked())[2]), entry.at_us)
    assert lease == Lease(new.run, new.token)
    assert (await store.load(new.run.thread)).entries == (entry,)
    record = await store.run(new.run)
    assert (record.status, record.leased, record.cancel_asked) == ("running", True, False)
    assert (record.principal, record.workflow, record.release) == ("ann", "academy", "1.0")
    assert record.finished_at_us is None


async def test_a_run_started_without_a_lease_is_queued(store: Store) -> None:
    new = new_run()

    _, lease = await store.start(new, asked(), None)

    assert lease is None
    record = await store.run(new.run)
    assert (record.status, record.leased) == ("queued", False)


@pytest.mark.parametrize("lease_s", [LONG_S, None])
async def test_a_repeated_start_with_one_token_starts_one_run(
    store: Store, rival: Store, lease_s: float | None
) -> None:
    new = new_run()
    first = await store.start(new, asked(), lease_s)

    again = await rival.start(new, asked(), lease_s)

    assert [again[0].event, again[1]] == [first[0].event, first[1]]
    assert await journal(store, new.run.thread) == [asked()]
    assert len(await store.runs(limit=10)) == 1


async def test_starting_with_another_token_is_a_conflict(store: Store, rival: Store) -> None:
    thread = new_thread()
    await store.start(new_run(thread, token="t1"), asked(), LONG_S)

    with pytest.raises(Conflict, match="has moved on"):
        await rival.start(new_run(thread, token="t2"), asked("another"), LONG_S)

    assert await journal(store, thread) == [asked()]


async def test_of_two_concurrent_starts_one_conflicts(store: Store, rival: Store) -> None:
    thread = new_thread()
    starters = ((store, new_run(thread, token="t1")), (rival, new_run(thread, token="t2")))

    ended = await asyncio.gather(
        *(who.start(new, asked(), LONG_S) for who, new in starters), return_exceptions=True
    )

    assert kinds(ended) == [Conflict, tuple]
    assert await journal(store, thread) == [asked()]


async def test_of_two_concurrent_starts_on_a_thread_one_conflicts(
    store: Store, rival: Store
) -> None:
    thread = (await over(store)).thread
    starters = (
        (store, new_run(thread, ordinal=2, head=2, token="t1")),
        (rival, new_run(thread, ordinal=2, head=2, token="t2")),
    )

    ended = await asyncio.gather(
        *(who.start(new, asked("more"), LONG_S) for who, new in starters), return_exceptions=True
    )

    assert kinds(ended) == [Conflict, tuple]
    assert await journal(store, thread) == [asked(), finished(), asked("more")]
    assert (await store.load(thread)).head == 3


@pytest.mark.parametrize("head", [1, 3])
async def test_a_run_starts_only_on_the_thread_s_head(store: Store, head: int) -> None:
    thread = (await over(store)).thread

    with pytest.raises(Conflict):
        await store.start(new_run(thread, ordinal=2, head=head), asked("more"), LONG_S)

    assert await journal(store, thread) == [asked(), finished()]


async def test_a_run_whose_lease_was_lost_is_not_started_again(store: Store) -> None:
    lease = await expired(store)
    await store.claim(lease.run, LONG_S)

    with pytest.raises(Conflict):
        await store.start(new_run(lease.run.thread), asked(), LONG_S)


# --- claim ------------------------------------------------------------------------------------


async def test_a_queued_run_is_claimed_as_new(store: Store) -> None:
    run = await queued(store)

    claimed = await store.claim(run, LONG_S)

    assert claimed is not None
    assert (claimed[0].run, claimed[1]) == (run, False)
    assert (await store.run(run)).status == "running"


async def test_a_leased_run_is_not_claimed(store: Store, rival: Store) -> None:
    lease = await leased(store)

    assert await rival.claim(lease.run, LONG_S) is None
    await append(store, lease, 1, said())


async def test_a_run_whose_lease_expired_is_taken_over(store: Store, rival: Store) -> None:
    lease = await expired(store)
    assert not (await store.run(lease.run)).leased

    claimed = await rival.claim(lease.run, LONG_S)

    assert claimed is not None
    assert claimed[1] is True
    assert claimed[0].token != lease.token


async def test_a_released_run_is_not_interrupted(store: Store) -> None:
    lease = await leased(store)
    await store.release(lease)

    claimed = await store.claim(lease.run, LONG_S)

    assert claimed is not None
    assert claimed[1] is False


async def test_a_run_released_in_doubt_is_interrupted(store: Store) -> None:
    lease = await leased(store)
    await store.release(lease, in_doubt=True)

    claimed = await store.claim(lease.run, LONG_S)

    assert claimed is not None
    assert claimed[1] is True


async def test_a_repeated_claim_with_the_same_token_succeeds(store: Store, rival: Store) -> None:
    run, mine, theirs = await queued(store), LeaseToken("mine"), LeaseToken("theirs")
    first = await store.claim(run, LONG_S, mine)

    assert await rival.claim(run, LONG_S, theirs) is None
    again = await store.claim(run, LONG_S, mine)

    size = (await store.load(run.thread)).size
    assert first == Claim(Lease(run, mine), False, cancel_asked=False, attempts=1, thread_size=size)
    assert again == Claim(Lease(run, mine), True, cancel_asked=False, attempts=1, thread_size=size)
    await append(store, again.lease, 1, said())


async def test_a_claim_has_the_request_to_cancel(store: Store) -> None:
    lease = await leased(store)
    await store.release(lease)
    before = await store.claim(lease.run, LONG_S)
    assert before is not None
    await store.release(before.lease)
    await store.ask_cancel(lease.run)

    after = await store.claim(lease.run, LONG_S)

    assert after is not None
    assert (before.cancel_asked, after.cancel_asked) == (False, True)


async def test_a_run_that_is_over_is_not_claimed(store: Store) -> None:
    assert await store.claim(await over(store), LONG_S) is None


async def test_of_twenty_claims_of_a_run_one_succeeds(store: Store, rival: Store) -> None:
    run = await queued(store)

    claims = await asyncio.gather(*((store, rival)[n % 2].claim(run, LONG_S) for n in range(20)))

    (won,) = [claim for claim in claims if claim]
    await append(store, won[0], 1, said())


async def test_of_twenty_takeovers_of_a_run_one_succeeds(store: Store, rival: Store) -> None:
    lease = await expired(store)

    claims = await asyncio.gather(
        *((store, rival)[n % 2].claim(lease.run, LONG_S) for n in range(20))
    )

    (won,) = [claim for claim in claims if claim]
    assert won[1] is True


# --- renew and release ------------------------------------------------------------------------


async def test_a_renewed_lease_holds(store: Store, rival: Store) -> None:
    lease = await leased(store, lease_s=SHORT_S)

    assert await store.renew(lease, LONG_S) is False

    await asyncio.sleep(2 * SHORT_S)
    assert await rival.claim(lease.run, LONG_S) is None


async def test_an_expired_lease_without_a_successor_can_be_renewed(
    store: Store, rival: Store
) -> None:
    lease = await expired(store)

    assert await store.renew(lease, LONG_S) is False

    assert await rival.claim(lease.run, LONG_S) is None


async def test_a_lease_that_another_process_took_cannot_be_renewed(
    store: Store, rival: Store
) -> None:
    lease = await expired(store)
    claimed = await rival.claim(lease.run, LONG_S)
    assert claimed is not None

    with pytest.raises(LeaseLost, match="another process"):
        await store.renew(lease, LONG_S)

    assert await rival.renew(claimed[0], LONG_S) is False


async def test_a_released_lease_cannot_be_renewed(store: Store) -> None:
    lease = await leased(store)
    await store.release(lease)

    with pytest.raises(LeaseLost):
        await store.renew(lease, LONG_S)


@pytest.mark.parametrize("status", ["queued", "waiting"])
async def test_a_released_run_has_the_status_and_no_lease(store: Store, status: RunStatus) -> None:
    lease = await leased(store)

    await store.release(lease, status="waiting" if status == "waiting" else "queued")

    record = await store.run(lease.run)
    assert (record.status, record.leased) == (status, False)


@pytest.mark.parametrize("counts", [False, True])
async def test_an_attempt_counts_unless_it_was_released_uncounted(
    store: Store, counts: bool
) -> None:
    lease = await leased(store)
    await store.release(lease)
    for attempt in (1, 2, 3):
        claimed = await store.claim(lease.run, LONG_S)
        assert claimed is not None
        assert claimed.attempts == (attempt if counts else 1)
        await store.release(claimed.lease, counts=counts)


async def test_a_claim_has_the_usage_of_the_run(store: Store) -> None:
    lease = await leased(store)
    spent = Usage(input_tokens=100, output_tokens=7)

    await store.release(lease, usage=spent)
    first = await store.claim(lease.run, LONG_S)
    assert first is not None
    await store.release(first.lease)

    second = await store.claim(lease.run, LONG_S)
    assert second is not None
    assert first.usage == second.usage == (await store.run(lease.run)).usage == spent


async def test_a_release_returns_the_request_to_cancel(store: Store, rival: Store) -> None:
    lease, other = await leased(store), await leased(store)
    await rival.ask_cancel(lease.run)

    cancelled = await store.release(lease), await store.release(lease), await store.release(other)

    assert cancelled == (True, False, False)
    assert (await store.run(lease.run)).status == "queued"


async def test_a_run_that_is_to_be_cancelled_does_not_wait_for_a_person(
    store: Store, rival: Store
) -> None:
    lease = await leased(store)
    await rival.ask_cancel(lease.run)

    assert await store.release(lease, status="waiting") is True

    assert (await store.run(lease.run)).status == "queued"
    (found,) = (await rival.waiting_work(workflows=("academy",), limit=10)).runs
    assert found.run == lease.run


async def test_prune_queues_waiting_runs_that_an_earlier_release_left_to_be_cancelled(
    store: Store,
) -> None:
    left, waits = await leased(store), await leased(store)
    for lease in (left, waits):
        await store.release(lease, status="waiting")
    async with store.write() as tx:
        await tx.execute(
            "UPDATE runs SET cancel_asked = 1 WHERE thread_id = :thread", thread=left.run.thread
        )

    await store.prune(before_us=0)

    (found,) = (await store.waiting_work(workflows=("academy",), limit=10)).runs
    assert found.run == left.run
    assert (await store.run(waits.run)).status == "waiting"


async def test_a_superseded_process_releases_nothing(store: Store, rival: Store) -> None:
    lease = await expired(store)
    claimed = await rival.claim(lease.run, LONG_S)
    assert claimed is not None

    await store.release(lease, in_doubt=True)

    assert (await store.run(lease.run)).leased
    assert await rival.renew(claimed[0], LONG_S) is False


# --- cancelling -------------------------------------------------------------------------------


async def test_a_run_to_be_cancelled_accepts_no_other_step(store: Store, rival: Store) -> None:
    lease = await leased(store)

    assert await rival.ask_cancel(lease.run) is True

    with pytest.raises(CancelAsked):
        await append(store, lease, 1, said())
    assert await journal(store, lease.run.thread) == [asked()]
    await append(store, lease, 1, finished("cancelled"), status="cancelled")
    assert (await store.run(lease.run)).status == "cancelled"


async def test_a_renewal_returns_the_request_to_cancel(store: Store) -> None:
    lease = await leased(store)
    await store.ask_cancel(lease.run)

    assert await store.renew(lease, LONG_S) is True
    assert (await store.run(lease.run)).cancel_asked


async def test_the_lease_of_a_run_that_is_to_be_cancelled_is_not_renewed(store: Store) -> None:
    lease = await leased(store, lease_s=SHORT_S)
    await store.ask_cancel(lease.run)

    await store.renew(lease, LONG_S)

    while (await store.run(lease.run)).leased:
        await asyncio.sleep(SHORT_S)


async def test_a_run_to_be_cancelled_can_be_claimed_from_its_holder(
    store: Store, rival: Store
) -> None:
    lease = await leased(store)
    assert await rival.claim(lease.run, LONG_S) is None
    await rival.ask_cancel(lease.run)

    taken = await rival.claim(lease.run, LONG_S)

    assert taken is not None
    assert (taken.interrupted, taken.cancel_asked) == (True, True)
    with pytest.raises(LeaseLost):
        await append(store, lease, 1, finished("cancelled"), status="cancelled")
    await append(rival, taken.lease, 1, finished("cancelled"), status="cancelled")


async def test_a_repeated_request_to_cancel_changes_nothing(store: Store) -> None:
    run = await queued(store)

    assert await store.ask_cancel(run) is True
    assert await store.ask_cancel(run) is True


async def test_a_run_that_is_over_cannot_be_cancelled(store: Store) -> None:
    run = await over(store)

    assert await store.ask_cancel(run) is False
    assert not (await store.run(run)).cancel_asked


async def test_a_step_may_cancel_a_run_without_a_request(store: Store) -> None:
    lease = await leased(store)

    await append(store, lease, 1, finished("cancelled"), status="cancelled")

    assert (await store.run(lease.run)).status == "cancelled"


# --- listing ----------------------------------------------------------------------------------


async def test_runs_come_newest_first(store: Store) -> None:
    first, second, third = [await queued(store) for _ in range(3)]

    assert [record.run for record in await store.runs(limit=10)] == [third, second, first]
    assert [record.run for record in await store.runs(limit=2)] == [third, second]


async def test_runs_are_listed_by_status(store: Store) -> None:
    waits = await queued(store)
    runs = (await leased(store)).run
    ended = await over(store)

    assert [record.run for record in await store.runs(limit=10, status="queued")] == [waits]
    assert [record.run for record in await store.runs(limit=10, status="running")] == [runs]
    assert [record.run for record in await store.runs(limit=10, status="completed")] == [ended]
    assert await store.runs(limit=10, status="failed") == []


async def test_a_listed_run_is_the_run(store: Store) -> None:
    run = await over(store)

    assert await store.runs(limit=1) == [await store.run(run)]


async def test_a_run_that_is_not_there_is_not_found(store: Store) -> None:
    run = new_run().run

    for attempt in (store.run(run), store.claim(run, LONG_S), store.ask_cancel(run)):
        with pytest.raises(NotFound, match=str(run)):
            await attempt
    with pytest.raises(LeaseLost):
        await store.renew(Lease(run, LeaseToken("t1")), LONG_S)
    with pytest.raises(LeaseLost):
        await append(store, Lease(run, LeaseToken("t1")), 0, said())


async def test_the_server_s_clock_is_in_microseconds(store: Store) -> None:
    run = await over(store)

    record = await store.run(run)
    (event,) = await rows(store, "SELECT at_us FROM events WHERE position = 1")

    assert record.finished_at_us is not None
    assert record.created_at_us <= record.finished_at_us
    assert abs(record.created_at_us - event["at_us"]) < 60_000_000


async def test_names_of_the_maximum_length_are_stored(store: Store) -> None:
    run = new_run().run
    new = NewRun(run, LeaseToken("t" * 32), 0, "é" * 255, "w" * 255, "r" * 255, True)
    most = 2**63 - 1

    _, lease = await store.start(new, asked(), LONG_S)
    assert lease is not None
    spent = Usage(most, most, most, most)
    async with store.append(Append(lease, 1, 1, "failed", spent, "😀" * 10_000)) as tx:
        await tx.record([finished("failed")])

    record = await store.run(run)
    assert (record.principal, record.workflow, record.release) == ("é" * 255, "w" * 255, "r" * 255)
    assert (record.usage, record.error) == (spent, "😀" * 10_000)


async def test_the_usage_of_a_run_is_recorded_beside_the_journal(store: Store) -> None:
    lease = await leased(store)

    await store.record_usage(lease, Usage(900, 100))
    await store.record_usage(lease, Usage(900, 100))  # a repetition changes no row

    record = await store.run(lease.run)
    assert (record.usage, record.status, record.leased) == (Usage(900, 100), "running", True)
    assert (await store.load(lease.run.thread)).head == 1


async def test_usage_is_recorded_while_a_cancel_is_requested(store: Store) -> None:
    lease = await leased(store)
    await store.ask_cancel(lease.run)

    await store.record_usage(lease, Usage(900, 100))

    assert (await store.run(lease.run)).usage == Usage(900, 100)


async def test_a_process_that_lost_its_run_records_no_usage(store: Store) -> None:
    lease = await leased(store)
    other = structs.replace(lease, token=LeaseToken("another"))

    with pytest.raises(LeaseLost, match="another process has taken it over"):
        await store.record_usage(other, Usage(900, 100))

    assert (await store.run(lease.run)).usage == Usage()
