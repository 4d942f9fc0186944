"""Setting, listing and removing budgets."""

from dataclasses import replace

import pytest

from tests.engine.budgets.stories import ANN, answers, capped, of_ann, with_price
from tests.engine.stage import SHOP, Stage
from twelvefold.core.budget import Price
from twelvefold.core.models import Fallback
from twelvefold.core.ports import NullListener
from twelvefold.core.ports.budgets import Amount, Budget, BudgetScope, Used
from twelvefold.engine.commands import start_run
from twelvefold.engine.commands.budgets import (
    budget_state,
    list_budgets,
    remove_budgets,
    set_budget,
)
from twelvefold.engine.drive import drive
from twelvefold.errors import NotFound, PriceUnknown, RequestError

PRICE = Price(1, 1, 1)


async def test_budgets_are_listed_with_what_was_spent(stage: Stage) -> None:
    services = stage.process(answers())
    await set_budget(services, of_ann())
    await set_budget(services, Budget(BudgetScope(principal="bob"), "day", 1))

    await drive(services, await start_run(services, capped()), NullListener())

    listed, has_more = await list_budgets(services, limit=9)
    assert not has_more
    assert [(one.budget.scope.principal, one.used) for one in listed] == [
        ("ann", Used(Amount(110))),
        ("bob", Used()),
    ]
    assert all(one.period == one.budget.period(one.period.began_us) for one in listed)


async def test_budgets_are_listed_in_pages(stage: Stage) -> None:
    services = stage.process()
    for name in ("cleo", "ann", "bob"):
        await set_budget(services, Budget(BudgetScope(principal=name), "day", 5))

    first, has_more = await list_budgets(services, limit=2)
    rest, ends = await list_budgets(services, limit=2, after=first[-1].budget.id)

    names = [one.budget.scope.principal for one in (*first, *rest)]
    assert (names, has_more, ends) == (["ann", "bob", "cleo"], True, False)
    with pytest.raises(NotFound, match="no budget 'bud_9'"):
        await list_budgets(services, limit=2, after="bud_9")


async def test_one_budget_comes_with_what_was_spent(stage: Stage) -> None:
    services = stage.process()
    budget = Budget(ANN, "day", 5)
    await set_budget(services, budget)

    state = await budget_state(services, budget.id)

    assert (state.budget, state.used) == (budget, Used())
    with pytest.raises(NotFound, match="no budget 'bud_9'"):
        await budget_state(services, "bud_9")


async def test_the_budgets_of_a_scope_are_removed(stage: Stage) -> None:
    services = stage.process()
    for window in ("day", "month"):
        await set_budget(services, Budget(ANN, window, 5))

    await remove_budgets(services, ANN, ["month"])
    listed, _ = await list_budgets(services, limit=9)
    assert [one.budget.window for one in listed] == ["day"]

    with pytest.raises(RequestError, match="principal:ann has no budget"):
        await remove_budgets(services, ANN, ["month"])


@pytest.mark.parametrize(
    ("budget", "problem"),
    [
        (Budget(ANN, "day"), "has no limit"),
        (Budget(ANN, "day", tokens=-1), "out of range"),
        (Budget(ANN, "day", micro_usd=10**16), "out of range"),
    ],
)
async def test_a_budget_without_a_sensible_limit_is_refused(
    stage: Stage, budget: Budget, problem: str
) -> None:
    with pytest.raises(RequestError, match=problem):
        await set_budget(stage.process(), budget)


async def test_a_budget_of_a_workflow_needs_one_that_the_release_has(stage: Stage) -> None:
    services = stage.process()
    misspelled = Budget(BudgetScope(principal="bob", workflow="shpo"), "day", 5)

    with pytest.raises(RequestError, match="no workflow 'shpo'; there are shop"):
        await set_budget(services, misspelled)

    assert await list_budgets(services, limit=9) == ([], False)


async def test_a_budget_of_a_workflow_that_only_others_start_is_set(stage: Stage) -> None:
    services = replace(stage.process(), internal=frozenset({"shop"}))
    budget = Budget(BudgetScope(workflow="shop"), "day", 5)

    await set_budget(services, budget)

    listed, _ = await list_budgets(services, limit=9)
    assert [one.budget for one in listed] == [budget]


async def test_a_budget_of_a_workflow_that_was_removed_is_removed(stage: Stage) -> None:
    services, scope = stage.process(), BudgetScope(workflow="gone")
    await services.store.set_budget(Budget(scope, "day", 5))

    await remove_budgets(services, scope, ["day"])

    assert await list_budgets(services, limit=9) == ([], False)


async def test_a_budget_in_usd_needs_the_prices_of_what_it_covers(stage: Stage) -> None:
    chain = replace(SHOP, model=Fallback("one", "two"), models=("three",))
    services = stage.process(workflow=chain)
    budget = Budget(BudgetScope(workflow="shop"), "day", micro_usd=5)

    with pytest.raises(PriceUnknown, match="the price of 'three' in MODELS"):
        await set_budget(with_price(services, one=PRICE, two=PRICE), budget)

    await set_budget(with_price(services, one=PRICE, two=PRICE, three=PRICE), budget)


async def test_a_budget_in_usd_needs_no_price_of_what_it_does_not_cover(stage: Stage) -> None:
    services = stage.process()
    other = replace(SHOP, name="other", model="homegrown")
    services = replace(services, workflows={**services.workflows, "other": other})
    budget = Budget(BudgetScope(workflow="shop"), "day", micro_usd=5)

    await set_budget(with_price(services, default=PRICE), budget)
