"""A lease that this process holds: until when it is valid, and what ends with it."""

import asyncio
from typing import Any, cast

import pytest

from tests.engine.leases import LEASE, LEASE_S, Clock, RenewingStore, lease_of
from tests.engine.stage import Stage, start
from twelvefold.core.ports import Store
from twelvefold.engine.lease import HeldLease, LeaseGuard, RenewedLease
from twelvefold.errors import CancelAsked, LeaseLost, StoreUnavailable


async def test_a_lease_is_valid_for_its_length_from_when_its_claim_was_sent() -> None:
    held = lease_of(clock := Clock())

    clock.now += LEASE_S - 0.001
    assert held.is_valid()
    clock.now += 0.001
    assert not held.is_valid()


async def test_a_lease_counts_from_when_its_claim_was_sent_even_if_the_answer_is_late(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    services = stage.process(monotonic=clock)
    begin = services.store.start

    async def answered_late(*args: Any) -> Any:
        answer = await begin(*args)
        clock.now += 9.0
        return answer

    monkeypatch.setattr(services.store, "start", answered_late)
    held = await start(services)

    assert held.held_lease.valid_until == 1000.0 + services.limits.lease_s


async def test_an_older_renewal_does_not_shorten_a_newer_one() -> None:
    held = lease_of(Clock())

    held.extend(1010.0)
    held.extend(1005.0)

    assert held.valid_until == 1010.0 + LEASE_S


async def test_ensure_valid_sends_nothing_while_the_lease_is_valid() -> None:
    held = lease_of(Clock(), store := RenewingStore())

    await held.ensure_valid()

    assert store.renewed == []


async def test_ensure_valid_renews_a_lapsed_lease() -> None:
    clock = Clock()
    held = lease_of(clock, store := RenewingStore())
    clock.now += LEASE_S

    await held.ensure_valid()

    assert (store.renewed, held.valid_until) == ([LEASE], clock.now + LEASE_S)


async def test_ensure_valid_repeats_a_renewal_that_is_answered_too_late() -> None:
    clock = Clock()

    async def late() -> bool:
        clock.now += LEASE_S
        return False

    held = lease_of(clock, store := RenewingStore(late, StoreUnavailable("away"), late))
    clock.now += LEASE_S

    await held.ensure_valid()

    assert len(store.renewed) == 4
    assert held.is_valid()


@pytest.mark.parametrize(
    ("answer", "error"), [(LeaseLost("theirs"), LeaseLost), (True, CancelAsked)]
)
async def test_ensure_valid_raises_when_the_lease_has_ended(
    answer: bool | Exception, error: type[Exception]
) -> None:
    clock = Clock()
    held = lease_of(clock, RenewingStore(answer))
    clock.now += LEASE_S

    with pytest.raises(error):
        await held.ensure_valid()


async def test_a_lease_that_was_found_lost_is_not_valid_before_it_expires() -> None:
    held = lease_of(Clock(), store := RenewingStore())

    held.end(LeaseLost("theirs"))

    assert not held.is_valid()
    with pytest.raises(LeaseLost, match="theirs"):
        await held.ensure_valid()
    assert store.renewed == []


def test_other_leases_have_no_calls_and_no_steps() -> None:
    class OfAMessage(RenewedLease):
        @property
        def log_fields(self) -> dict[str, str]:
            return {}

        async def request_renewal(self, store: Store) -> bool:
            return False

    lease = OfAMessage(cast("Store", RenewingStore()), LEASE_S, 0.0, Clock())

    assert (lease.call_of(None), lease.in_step) == (None, False)


# --- the guard ------------------------------------------------------------------------------


async def test_a_guarded_body_ends_when_the_lease_lapses() -> None:
    clock = Clock()
    held = HeldLease(cast("Store", RenewingStore()), LEASE, 0.01, clock(), clock)
    guard = LeaseGuard(held)

    async def body() -> None:
        async with guard:
            clock.now += 1
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await body()

    assert guard.lapsed


async def test_a_guarded_body_continues_while_the_lease_is_renewed() -> None:
    clock = Clock()
    held = HeldLease(cast("Store", RenewingStore()), LEASE, 0.01, clock(), clock)

    async with LeaseGuard(held) as guard:
        await asyncio.sleep(0.02)
        clock.now += 0.009
        held.extend(clock())
        await asyncio.sleep(0.02)

    assert not guard.lapsed
