"""Room that other model calls have reserved: a call waits for it, a bounded time."""

import asyncio
from dataclasses import replace

import pytest

from tests.engine.budgets.stories import (
    answers,
    capped,
    first_call,
    of_ann,
    reserve_for_another,
    set_budget,
    spend_for_another,
    used_of,
)
from tests.engine.stage import TIMINGS, Stage
from tests.loop_clock import LoopClock
from twelvefold.backoff import Backoff
from twelvefold.core.ports import Listener, ModelReply, ModelRequest, NullListener
from twelvefold.core.ports.budgets import NOTHING, Amount, Policy, Reservation, Used
from twelvefold.engine.budget_errors import until_settled
from twelvefold.engine.commands import start_run
from twelvefold.engine.drive import drive
from twelvefold.engine.services import Services
from twelvefold.errors import InsufficientQuota

PATIENT = replace(
    TIMINGS,
    settlement_s=3_600.0,
    start_settlement_s=3_600.0,
    settlement=Backoff(0.001, 0.002),
)


async def until_full(services: Services, work: "asyncio.Task[object]") -> None:
    """Wait until the work has found a budget full, and reads what is used of it again."""
    full, read = asyncio.Event(), services.store.used

    async def used(*periods: object) -> object:
        found = await read(*periods)  # type: ignore[arg-type]
        full.set()
        return found

    services.store.used = used  # type: ignore[assignment,method-assign]
    await full.wait()
    assert not work.done()


@pytest.mark.parametrize("policy", ["refuse", "wait"])
async def test_a_call_waits_for_room_that_another_one_has_reserved(
    stage: Stage, policy: Policy
) -> None:
    budget = await set_budget(stage, of_ann(await first_call(stage), policy=policy))
    services = stage.process(answers(), timings=PATIENT)
    held = await start_run(services, capped())
    other = await reserve_for_another(stage, budget, 100)

    driving = asyncio.create_task(drive(services, held, NullListener()))
    await until_full(services, driving)
    await stage.process().store.settle(other, NOTHING)

    assert (await driving).status == "completed"


async def test_a_new_request_waits_for_room_that_a_call_has_reserved(stage: Stage) -> None:
    budget = await set_budget(stage, of_ann(await first_call(stage)))
    services = stage.process(timings=PATIENT)
    other = await reserve_for_another(stage, budget, budget.tokens or 0)

    starting = asyncio.create_task(start_run(services, capped()))
    await until_full(services, starting)
    await stage.process().store.settle(other, NOTHING)

    assert (await starting).run in await stage.runs()


async def test_a_request_is_refused_when_the_calls_before_it_have_spent_the_room(
    stage: Stage,
) -> None:
    budget = await set_budget(stage, of_ann(await first_call(stage)))
    services, before = stage.process(timings=PATIENT), await stage.runs()
    other = await reserve_for_another(stage, budget, budget.tokens or 0)

    starting = asyncio.create_task(start_run(services, capped()))
    await until_full(services, starting)
    await stage.process().store.settle(other, other.amount)

    with pytest.raises(InsufficientQuota, match="is used up"):
        await starting
    assert (await stage.runs(), stage.requests) == (before, [])


async def test_a_budget_that_is_used_up_is_not_waited_for(stage: Stage) -> None:
    budget = await set_budget(stage, of_ann(await first_call(stage)))
    await spend_for_another(stage, budget, budget.tokens or 0)

    with pytest.raises(InsufficientQuota, match="is used up") as caught:
        await start_run(stage.process(timings=PATIENT), capped())
    assert not caught.value.is_reserved


async def test_a_raised_budget_counts_for_a_new_request_at_once(stage: Stage) -> None:
    budget = await set_budget(stage, of_ann(await first_call(stage)))
    await spend_for_another(stage, budget, budget.tokens or 0)
    services = stage.process()
    with pytest.raises(InsufficientQuota, match="is used up"):
        await start_run(services, capped())

    await set_budget(stage, replace(budget, tokens=50_000))

    assert (await start_run(services, capped())).run in await stage.runs()


async def test_the_wait_for_reserved_room_ends(stage: Stage) -> None:
    now, tries = [0.0], 0
    pauses = Backoff(0.001, 0.001, jitter=(1.0, 1.0))
    services = stage.process(monotonic=lambda: now[0], timings=replace(TIMINGS, settlement=pauses))

    async def full() -> None:
        nonlocal tries
        tries += 1
        now[0] += 25
        raise InsufficientQuota("full", is_reserved=True)

    with pytest.raises(InsufficientQuota, match="full"):
        await until_settled(services, full, 60.0)

    assert tries == 3


async def test_a_run_that_waited_in_vain_fails(stage: Stage) -> None:
    budget = await set_budget(stage, of_ann(await first_call(stage)))
    services = stage.process()
    held = await start_run(services, capped())
    await reserve_for_another(stage, budget, 100)

    outcome = await drive(services, held, NullListener())

    assert (outcome.status, outcome.thread.reason) == ("failed", "insufficient_quota")
    assert "model calls in progress reserve the rest" in outcome.error
    assert stage.requests == []


# --- calls that nobody settles ------------------------------------------------------------------


class Stuck:
    """A model that does not answer."""

    def __init__(self) -> None:
        self.is_asked = asyncio.Event()

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        self.is_asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def close(self) -> None: ...


@pytest.mark.usefixtures("frequent_renewals")
async def test_the_call_of_a_run_that_is_cancelled_is_charged_in_full(stage: Stage) -> None:
    in_full = await first_call(stage)
    budget = await set_budget(stage, of_ann())
    services = stage.process(model=(model := Stuck()))
    held = await start_run(services, capped())
    driving = asyncio.create_task(drive(services, held, NullListener()))
    await model.is_asked.wait()

    await stage.process().store.ask_cancel(held.run)

    assert (await driving).status == "cancelled"
    assert await used_of(services.store, budget) == Used(Amount(in_full), NOTHING)


@pytest.mark.usefixtures("frequent_renewals")
async def test_a_database_that_is_lost_at_the_end_leaves_the_charge_to_a_worker(
    stage: Stage, loop_clock: LoopClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_full = await first_call(stage)
    budget = await set_budget(stage, of_ann())
    services = stage.process(model=(model := Stuck()))
    held = await start_run(services, capped())
    driving = asyncio.create_task(drive(services, held, NullListener()))
    await model.is_asked.wait()
    hangs = asyncio.Event()

    async def hang(_: object) -> list[Reservation]:
        hangs.set()
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(services.store, "reservations", hang)
    await stage.process().store.ask_cancel(held.run)
    await hangs.wait()
    loop_clock.let_pass(services.timings.release_s)

    assert (await driving).status == "cancelled"
    assert (await used_of(services.store, budget)).reserved == Amount(in_full)
    assert await services.store.charge_lost() == 1
    assert await used_of(services.store, budget) == Used(Amount(in_full), NOTHING)
