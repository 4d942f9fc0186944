"""Runs under budgets whose processes die, or lose their database, at every place."""

import asyncio
from dataclasses import replace

import pytest

from tests.engine.budgets.stories import (
    SPENT_TOKENS,
    answers,
    buys,
    capped,
    first_call,
    of_ann,
    set_budget,
    used_of,
)
from tests.engine.stage import Crash, Stage, Trouble, cut_off, kill, resume
from twelvefold.core.budget import Price
from twelvefold.core.ids import RunId
from twelvefold.core.models import Fallback
from twelvefold.core.ports import Listener, ModelReply, ModelRequest, NullListener
from twelvefold.core.ports.budgets import NOTHING, Amount, Used
from twelvefold.engine.commands import start_run
from twelvefold.engine.drive import drive

PLACES = 40
"""More places than a run of two model calls reaches."""
_WRITES = ("reservation", "settlement")


async def _complete(stage: Stage, run: RunId) -> None:
    """Let another process continue the run of a process that is gone."""
    await stage.let_leases_run_out()
    outcome = await resume(stage.process(buys("a lamp"), answers()), run)
    assert outcome.status == "completed"


async def test_a_process_that_is_killed_anywhere_is_charged_at_least_what_it_used(
    stage: Stage,
) -> None:
    highest = 2 * await first_call(stage)
    budget = await set_budget(stage, of_ann(10**9))
    store, before = stage.process().store, 0
    for place in range(1, PLACES):
        stage.requests.clear()
        trouble = Trouble(kill, at=place)
        services = stage.process(buys("a lamp"), answers(), trouble=trouble)
        held = await start_run(services, capped())
        try:
            await drive(services, held, NullListener())
        except Crash:
            if (await stage.record(held.run)).status != "completed":
                await _complete(stage, held.run)
        else:
            assert place > 10
            return
        used = await used_of(store, budget)
        charged = used.total.tokens - before
        assert charged >= len(stage.requests) * SPENT_TOKENS, place
        assert charged <= 2 * SPENT_TOKENS + highest, place
        # What a dead process had reserved was charged by the one that continued the run.
        assert used.reserved == NOTHING, place
        before = used.total.tokens
    raise AssertionError("the run has more places")


async def test_a_lost_database_charges_no_call_twice(stage: Stage) -> None:
    budget = await set_budget(stage, of_ann(10**9))
    places = [f"{when} a {what}" for when in ("before", "after") for what in _WRITES]
    trouble = Trouble(cut_off, places=places, times=4)
    services = stage.process(buys("a lamp"), answers(), trouble=trouble)

    outcome = await drive(services, await start_run(services, capped()), NullListener())

    assert outcome.status == "completed"
    used = await used_of(services.store, budget)
    assert used == Used(Amount(2 * SPENT_TOKENS), NOTHING)


async def test_a_process_that_was_only_slow_does_not_settle_what_was_charged_in_full(
    stage: Stage,
) -> None:
    in_full = await first_call(stage)
    budget = await set_budget(stage, of_ann(10**9))
    reached, goes_on = asyncio.Event(), asyncio.Event()

    class Slow:
        async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
            reached.set()
            await goes_on.wait()
            return answers()

        async def close(self) -> None: ...

    slow = stage.process(model=Slow())
    held = await start_run(slow, capped())
    driving = asyncio.create_task(drive(slow, held, NullListener()))
    await reached.wait()
    await stage.let_leases_run_out()

    outcome = await resume(stage.process(answers()), held.run)
    goes_on.set()
    await asyncio.wait([driving])

    assert outcome.status == "completed"
    used = await used_of(slow.store, budget)
    assert used == Used(Amount(in_full + SPENT_TOKENS), NOTHING)
    driving.exception()


async def test_a_model_of_a_chain_that_is_too_slow_is_charged_in_full(stage: Stage) -> None:
    in_full = await first_call(stage)
    budget = await set_budget(stage, replace(of_ann(None), micro_usd=10**9))

    class Stuck:
        async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
            await asyncio.Event().wait()
            raise AssertionError

        async def close(self) -> None: ...

    services = stage.process()
    workflow = replace(services.workflows["shop"], model=Fallback("slow", "fast", after_s=0.2))
    fast = stage.process(answers()).model
    prices = {"slow": Price(0, 0, 10_000_000), "fast": Price(10_000_000, 0, 0)}
    services = replace(
        services,
        workflows={"shop": workflow},
        models={"slow": Stuck(), "fast": fast},
        find_price=prices.get,
    )

    held = await start_run(services, capped())
    outcome = await drive(services, held, NullListener())

    assert outcome.status == "completed"
    cost = Amount(in_full + SPENT_TOKENS, 200 * 10 + 100 * 10)
    assert await used_of(services.store, budget) == Used(cost, NOTHING)


@pytest.mark.parametrize("place", ["before a reply", "amid a reply"])
async def test_the_next_process_charges_a_killed_call_in_full(stage: Stage, place: str) -> None:
    in_full = await first_call(stage)
    budget = await set_budget(stage, of_ann(10**9))
    services = stage.process(answers(), trouble=Trouble(kill, places=[place]))
    held = await start_run(services, capped())
    with pytest.raises(Crash):
        await drive(services, held, NullListener())
    await stage.let_leases_run_out()

    await resume(stage.process(answers()), held.run)

    used = await used_of(stage.process().store, budget)
    assert used == Used(Amount(in_full + SPENT_TOKENS), NOTHING)
