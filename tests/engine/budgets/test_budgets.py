"""Model calls under budgets: reserved, settled, refused, and runs that wait for a budget."""

import asyncio
import re
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from tests.builders import SPENT, user
from tests.engine.budgets.stories import (
    ANN,
    CAP,
    CAPPED,
    SPENT_TOKENS,
    answers,
    buys,
    capped,
    first_call,
    of_ann,
    reserve_for_another,
    set_budget,
    spend_for_another,
    used_of,
    with_price,
)
from tests.engine.family.stories import firm, resume_family
from tests.engine.stage import Stage, resume
from twelvefold.core.budget import Price
from twelvefold.core.events import RunFinished, Usage
from twelvefold.core.ports import Listener, ModelReply, ModelRequest, NullListener, Principal
from twelvefold.core.ports.budgets import NOTHING, Amount, Budget, BudgetScope, Spender, Used
from twelvefold.core.spending import OUTPUT_TOKENS, input_bound
from twelvefold.engine.budgets import CACHE_TTL_S, BudgetBook, unknown
from twelvefold.engine.commands import RunRequest, cancel, start_run
from twelvefold.engine.drive import Outcome, drive
from twelvefold.engine.metering import MAX_TRIES
from twelvefold.engine.services import Services
from twelvefold.errors import InsufficientQuota, ModelUnavailable, PriceUnknown
from twelvefold.services.model.scripted import calls, says

PRICE = Price(1_000_000, 1_000_000, 1_000_000)


async def drive_new(services: Services, request: RunRequest | None = None) -> Outcome:
    held = await start_run(services, request or capped())
    return await drive(services, held, NullListener())


# --- a call -------------------------------------------------------------------------------------


async def test_a_call_is_charged_what_it_used(stage: Stage) -> None:
    services, budget = stage.process(buys("a lamp"), answers()), await set_budget(stage, of_ann())

    outcome = await drive_new(services)

    assert outcome.status == "completed"
    assert await used_of(services.store, budget) == Used(Amount(2 * SPENT_TOKENS), NOTHING)


async def test_a_call_is_reserved_while_it_is_in_progress(stage: Stage) -> None:
    budget, seen = await set_budget(stage, of_ann()), []

    class Watching:
        async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
            seen.append(await used_of(services.store, budget))
            cap = request.options["max_output_tokens"]
            assert seen[0].reserved.tokens == input_bound(request) + cap
            return answers()

        async def close(self) -> None: ...

    services = stage.process(model=Watching())

    await drive_new(services)

    assert seen[0].reserved.tokens > CAP


@pytest.mark.parametrize(
    ("requested", "configured", "cap"),
    [(None, None, OUTPUT_TOKENS), (CAP, None, CAP), (None, 300, 300), (CAP, 100, 100)],
)
async def test_an_output_cap_is_always_sent(
    stage: Stage, requested: int | None, configured: int | None, cap: int
) -> None:
    await set_budget(stage, of_ann(100_000))
    services = stage.process(answers())
    profile = structs.replace(services.profile("default"), max_output_tokens=configured)
    services = replace(services, profiles={"default": profile})
    options = replace_cap(requested)

    await drive_new(services, replace(capped(), options=options))

    assert stage.requests[0].options["max_output_tokens"] == cap


def replace_cap(requested: int | None) -> Any:
    from msgspec import structs

    return structs.replace(CAPPED, max_output_tokens=requested)


async def test_a_run_that_no_budget_covers_sends_no_cap(stage: Stage) -> None:
    await set_budget(stage, replace(of_ann(), scope=BudgetScope(principal="bob")))
    services = stage.process(answers())

    await drive_new(services, replace(capped(), options=replace_cap(None)))

    assert "max_output_tokens" not in stage.requests[0].options


async def test_every_budget_that_covers_a_run_is_charged(stage: Stage) -> None:
    scopes = [ANN, BudgetScope(), BudgetScope(workflow="shop"), BudgetScope(key="key_1")]
    budgets = [await set_budget(stage, Budget(one, "month", 50_000)) for one in scopes]
    services = stage.process(answers())

    await drive_new(services, capped(key_id="key_1"))

    for budget in budgets:
        assert await used_of(services.store, budget) == Used(Amount(SPENT_TOKENS), NOTHING)


async def test_the_cap_is_lowered_to_what_the_budget_has_left(stage: Stage) -> None:
    await set_budget(stage, of_ann(10_000))
    services = stage.process(answers())

    outcome = await drive_new(services, replace(capped(), options=replace_cap(None)))

    (request,) = stage.requests
    assert outcome.status == "completed"
    assert request.options["max_output_tokens"] == 10_000 - input_bound(
        replace(request, options={})
    )


async def test_a_failed_call_is_charged_in_full_unless_it_never_reached_the_model(
    stage: Stage,
) -> None:
    budget = await set_budget(stage, of_ann())
    broken, refused = ModelUnavailable("it broke off"), ModelUnavailable("nobody is there")
    broken.usage = Usage(50, 1, estimated=True)

    await drive_new(stage.process(refused))
    assert await used_of(stage.process().store, budget) == Used()

    await drive_new(stage.process(broken))
    used = await used_of(stage.process().store, budget)
    assert used.spent.tokens == await first_call(stage)
    assert used.reserved == NOTHING


class Retrying:
    """A model whose client makes a second attempt if it may."""

    def __init__(self) -> None:
        self.attempts = 1

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        lost = Usage(40, 2)
        assert request.before_retry is not None
        if not await request.before_retry(lost):
            error = ModelUnavailable("only one attempt")
            error.usage = lost
            raise error
        self.attempts += 1
        return structs.replace(answers(), usage=SPENT + lost, lost=lost)

    async def close(self) -> None: ...


async def test_each_attempt_of_a_client_is_reserved_and_settled(stage: Stage) -> None:
    budget, model = await set_budget(stage, of_ann()), Retrying()

    await drive_new(stage.process(model=model))

    assert model.attempts == 2
    used = await used_of(stage.process().store, budget)
    assert used == Used(Amount(SPENT_TOKENS + 42), NOTHING)


async def test_a_client_makes_no_attempt_that_the_budget_has_no_room_for(stage: Stage) -> None:
    budget, model = await set_budget(stage, of_ann(await first_call(stage))), Retrying()

    outcome = await drive_new(stage.process(model=model))

    assert (outcome.status, model.attempts) == ("queued", 1)
    assert await used_of(stage.process().store, budget) == Used(Amount(42), NOTHING)


# --- no room ------------------------------------------------------------------------------------


async def test_a_request_over_budget_is_refused_before_its_run_is_written(stage: Stage) -> None:
    await set_budget(stage, of_ann(500))

    with pytest.raises(InsufficientQuota, match="the day budget of principal:ann is too small"):
        await drive_new(stage.process())

    assert await stage.runs() == []
    assert stage.requests == []


async def test_the_error_of_a_budget_that_is_too_small_has_both_amounts(stage: Stage) -> None:
    await set_budget(stage, of_ann(500))

    with pytest.raises(InsufficientQuota) as caught:
        await drive_new(stage.process())

    problem = (
        r"it has 500 tokens, and a model call of this run may take \d+; raise it with `twelvefold"
    )
    assert re.search(problem, str(caught.value))
    assert caught.value.renews_in_s is None


async def test_the_error_of_a_budget_in_usd_that_is_too_small_has_both_amounts(
    stage: Stage,
) -> None:
    await set_budget(stage, Budget(ANN, "day", tokens=50_000, micro_usd=5))

    with pytest.raises(InsufficientQuota) as caught:
        await drive_new(with_price(stage.process(), default=PRICE))

    problem = r"it has \$0\.000005, and a model call of this run may take \$0\.\d{6}; raise"
    assert re.search(problem, str(caught.value))


async def test_the_error_of_a_budget_that_is_used_up_says_when_it_renews(stage: Stage) -> None:
    budget = await set_budget(stage, of_ann(await first_call(stage)))
    await spend_for_another(stage, budget, budget.tokens or 0)

    with pytest.raises(InsufficientQuota, match=r"is used up; it renews at \S+T00:00:00\+00:00"):
        await drive_new(stage.process())


async def test_a_run_ends_when_a_budget_has_no_room_for_its_next_call(stage: Stage) -> None:
    services = stage.process(buys("a lamp"), answers())
    budget = await set_budget(stage, of_ann(await first_call(stage)))

    outcome = await drive_new(services)

    assert outcome.status == "failed"
    finished = (await stage.journal(outcome.run))[-1]
    assert isinstance(finished, RunFinished)
    assert finished.reason == "insufficient_quota"
    assert "the day budget of principal:ann" in finished.error
    assert await stage.bought() == ["a lamp"]
    assert await used_of(services.store, budget) == Used(Amount(SPENT_TOKENS), NOTHING)


async def test_a_run_that_finds_one_budget_full_returns_what_it_reserved_in_another(
    stage: Stage,
) -> None:
    narrow = of_ann(await first_call(stage), policy="wait")
    wide = await set_budget(stage, Budget(BudgetScope(), "day", 50_000))
    await set_budget(stage, narrow)
    services = stage.process(answers())
    await reserve_for_another(stage, narrow, 100)

    outcome = await drive_new(services)

    assert outcome.status == "waiting"
    assert await used_of(services.store, wide) == Used()


async def test_calls_that_compete_for_the_rest_of_a_budget_take_the_lowest_cap(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await set_budget(stage, of_ann())
    services = stage.process(answers())
    reserve, tries = services.store.reserve, 0

    async def compete(budget: Budget, reservation: Any) -> Used | None:
        nonlocal tries
        tries += 1
        return Used() if tries <= MAX_TRIES else await reserve(budget, reservation)

    monkeypatch.setattr(services.store, "reserve", compete)

    await drive_new(services, replace(capped(), options=replace_cap(None)))

    assert stage.requests[0].options["max_output_tokens"] == 1_024


async def test_a_budget_without_room_at_the_last_try_is_used_up(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await set_budget(stage, of_ann())
    services = stage.process(answers())

    async def full(budget: Budget, reservation: Any) -> Used | None:
        return Used()

    monkeypatch.setattr(services.store, "reserve", full)

    outcome = await drive_new(services)

    assert (outcome.status, outcome.thread.reason) == ("failed", "insufficient_quota")


async def test_a_budget_that_was_removed_meanwhile_does_not_bind(stage: Stage) -> None:
    budget = await set_budget(stage, of_ann(await first_call(stage)))
    services = stage.process(answers())
    held = await start_run(services, capped())
    await reserve_for_another(stage, budget, 100)
    await services.store.remove_budget(budget.id)

    outcome = await drive(services, held, NullListener())

    assert outcome.status == "completed"


# --- waiting ------------------------------------------------------------------------------------


async def waiting_run(stage: Stage) -> tuple[Outcome, Budget]:
    """Return a run that waits for a budget."""
    budget = await set_budget(stage, of_ann(await first_call(stage), policy="wait"))
    await spend_for_another(stage, budget, 100)
    return await drive_new(stage.process()), budget


async def test_a_run_waits_until_its_budget_renews_and_shows_why(stage: Stage) -> None:
    outcome, budget = await waiting_run(stage)

    record = await stage.record(outcome.run)
    assert (outcome.status, record.status) == ("waiting", "waiting")
    assert record.error.startswith("the day budget of principal:ann is used up; it renews at")
    services = stage.process()
    now_us, _ = await services.store.budgets()
    renews_us = budget.period(now_us).renews_us
    async with services.store.read() as db:
        row = await db.fetch_one("select max(wake_at) as wake_at from runs")
    assert row == {"wake_at": renews_us}
    assert stage.requests == []


async def test_a_run_that_waits_continues_when_its_budget_is_raised(stage: Stage) -> None:
    outcome, budget = await waiting_run(stage)
    services = stage.process(answers())

    await services.store.set_budget(replace(budget, tokens=50_000))

    (found,) = (await services.store.waiting_work(workflows=["shop"], limit=9)).runs
    assert found.run == outcome.run
    assert (await resume(services, outcome.run)).status == "completed"
    assert (await stage.record(outcome.run)).error == ""


async def test_a_process_that_remembers_the_old_budget_reads_it_again(stage: Stage) -> None:
    outcome, budget = await waiting_run(stage)
    services = stage.process(answers())
    assert (await resume(services, outcome.run)).status == "waiting"

    await stage.process().store.set_budget(replace(budget, tokens=50_000))

    assert (await resume(services, outcome.run)).status == "completed"


async def test_a_change_just_before_a_run_begins_to_wait_is_not_missed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = await set_budget(stage, of_ann(await first_call(stage), policy="wait"))
    services = stage.process()
    held = await start_run(services, capped())
    await reserve_for_another(stage, budget, 100)
    read = services.budgets.refresh

    async def refresh() -> None:
        monkeypatch.undo()
        await read()
        await set_budget(stage, replace(budget, tokens=50_000))

    monkeypatch.setattr(services.budgets, "refresh", refresh)

    assert (await drive(services, held, NullListener())).status == "waiting"

    (found,) = (await services.store.waiting_work(workflows=["shop"], limit=9)).runs
    assert found.run == held.run
    assert (await resume(stage.process(answers()), held.run)).status == "completed"


async def test_a_run_that_waits_for_a_budget_can_be_cancelled(stage: Stage) -> None:
    outcome, _ = await waiting_run(stage)

    assert await cancel(stage.process(), outcome.run) == "cancelled"


async def test_a_run_with_a_cancel_request_does_not_begin_to_wait(stage: Stage) -> None:
    budget = await set_budget(stage, of_ann(await first_call(stage), policy="wait"))
    services = stage.process()
    held = await start_run(services, capped())
    await reserve_for_another(stage, budget, 100)
    await services.store.ask_cancel(held.run)

    outcome = await drive(services, held, NullListener())

    assert outcome.status == "cancelled"


async def test_no_run_waits_for_a_budget_that_is_too_small_for_it(stage: Stage) -> None:
    await set_budget(stage, of_ann(300, policy="wait"))

    outcome = await drive_new(stage.process())

    assert outcome.status == "failed"
    assert "is too small: it has 300 tokens, and a model call of this run may take" in outcome.error


# --- USD ----------------------------------------------------------------------------------------


IN_USD = Budget(ANN, "day", micro_usd=90_000)


async def test_a_budget_in_usd_is_charged_the_cost(stage: Stage) -> None:
    budget = await set_budget(stage, IN_USD)
    services = with_price(stage.process(answers()), default=PRICE)

    await drive_new(services)

    assert await used_of(services.store, budget) == Used(Amount(110, 110), NOTHING)


async def test_a_model_without_a_price_is_refused_by_a_budget_in_usd(stage: Stage) -> None:
    await set_budget(stage, IN_USD)

    with pytest.raises(PriceUnknown, match=r"budget of principal:ann is in USD.*set OPENAI_PRICE"):
        await drive_new(stage.process())

    assert await stage.runs() == []


async def test_the_error_names_the_setting_of_a_named_model(stage: Stage) -> None:
    book = BudgetBook(stage.process().store.budgets, unknown, lambda: 0.0)

    with pytest.raises(PriceUnknown, match=r"set the price of 'fast' in MODELS"):
        await book.price("fast", [IN_USD])


async def test_a_price_is_looked_up_once_and_only_for_a_budget_in_usd(stage: Stage) -> None:
    asked = []

    def find(model: str) -> Price:
        asked.append(model)
        return PRICE

    book = BudgetBook(stage.process().store.budgets, find, lambda: 0.0)

    assert await book.price("default", [of_ann()]) is None
    assert asked == []
    assert [await book.price("default", [of_ann(), IN_USD]) for _ in range(2)] == [PRICE, PRICE]
    assert asked == ["default"]


# --- the budgets that a process knows -----------------------------------------------------------


async def test_a_new_budget_takes_effect_after_the_cache_expires(stage: Stage) -> None:
    clock = [100.0]
    services = stage.process(monotonic=lambda: clock[0])
    spender = Spender("ann")
    assert await services.budgets.covering(spender) == ()
    budget = await set_budget(stage, of_ann())

    clock[0] += CACHE_TTL_S - 0.1
    assert await services.budgets.covering(spender) == ()
    clock[0] += 0.2
    assert await services.budgets.covering(spender) == [budget]


async def test_many_runs_read_the_budgets_once(stage: Stage) -> None:
    reads = 0

    async def read() -> tuple[int, list[Budget]]:
        nonlocal reads
        reads += 1
        await asyncio.sleep(0)
        return 5_000_000, []

    book = BudgetBook(read, unknown, lambda: 7.0)

    await asyncio.gather(*(book.covering(Spender("ann")) for _ in range(5)))

    assert (reads, book.now_us) == (1, 5_000_000)


# --- runs below ---------------------------------------------------------------------------------


async def test_the_runs_below_draw_from_the_budgets_of_the_callers_run(stage: Stage) -> None:
    scopes = [BudgetScope(workflow="boss"), BudgetScope(key="key_1"), BudgetScope(workflow="clerk")]
    boss, key, clerk = [await set_budget(stage, Budget(one, "day", 90_000)) for one in scopes]
    services = firm(stage, calls(("clerk", {"input": "a lamp"})), says("done"))
    request = RunRequest("boss", Principal("ann", "key_1"), [user("go")], options=CAPPED)
    held = await start_run(services, request)

    outcome = await drive(services, held, NullListener())
    await resume_family(services, outcome.run)

    total = (await stage.record(outcome.run)).usage.total_tokens
    used = [(await used_of(services.store, one)).spent.tokens for one in (boss, key, clerk)]
    assert used[0] == used[1] == total
    assert 0 < used[2] < total
