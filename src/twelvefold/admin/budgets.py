"""Budgets of a deployment: set, remove, and list them with what was spent."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from twelvefold.core import DEFAULT_OPTIONS, RequestOptions, Workflow, models_of
from twelvefold.core.ports.budgets import Budget, BudgetScope, Period, Used
from twelvefold.engine import Services
from twelvefold.engine.budgets import unknown_price
from twelvefold.errors import PriceUnknown, RequestError

MAX_TOKENS = 10**15
MAX_MICRO_USD = 10**15


@dataclass(frozen=True, slots=True)
class BudgetState:
    """A budget, its current period, and what was spent and reserved in it."""

    budget: Budget
    period: Period
    used: Used


async def set_budget(services: Services, budget: Budget) -> Budget:
    """Add a budget, or replace that of the same scope and window.

    Raises RequestError for a budget without a limit, or with one out of range, and PriceUnknown for
    one in USD that covers a model of this process without a price.
    """
    if budget.tokens is None and budget.micro_usd is None:
        raise RequestError("the budget has no limit; give tokens, USD, or both")
    _check_range("tokens", budget.tokens, MAX_TOKENS)
    _check_range("USD", budget.micro_usd, MAX_MICRO_USD)
    if budget.micro_usd is not None:
        await asyncio.to_thread(_check_prices, services, budget)
    await services.retry(lambda: services.store.set_budget(budget))
    return budget


def _check_range(unit: str, limit: int | None, most: int) -> None:
    if limit is not None and not 0 <= limit <= most:
        raise RequestError(f"the limit in {unit} is out of range")


def _check_prices(services: Services, budget: Budget) -> None:
    """Raise PriceUnknown if a workflow that the budget covers has a model without a price."""
    scope = budget.scope
    covered = [one for name, one in services.workflows.items() if scope.workflow in ("", name)]
    for model in _models_in(covered):
        if services.find_price(model) is None:
            raise PriceUnknown(unknown_price(model, budget))


def _models_in(workflows: Iterable[Workflow]) -> list[str]:
    """Return the models that runs of these workflows may ask, the callers' choices included."""
    options = [
        (workflow, one)
        for workflow in workflows
        for one in (DEFAULT_OPTIONS, *(RequestOptions(model=name) for name in workflow.models))
    ]
    names = (name for workflow, one in options for name in models_of(workflow.model, one))
    return [*dict.fromkeys(names)]


async def list_budgets(services: Services) -> list[BudgetState]:
    """Return all budgets by scope, with what was spent in their current periods."""
    now_us, budgets = await services.retry(services.store.budgets)
    periods = {one.id: one.period(now_us) for one in budgets}
    keys = [(id, period.began_us) for id, period in periods.items()]
    used = await services.retry(lambda: services.store.used(keys))
    return [
        BudgetState(one, periods[one.id], used.get((one.id, periods[one.id].began_us), Used()))
        for one in budgets
    ]


async def find_budget(services: Services, id: str) -> BudgetState | None:
    """Return the budget with this id, None if there is none."""
    return next((one for one in await list_budgets(services) if one.budget.id == id), None)


async def remove_budgets(services: Services, scope: BudgetScope, windows: Iterable[str]) -> int:
    """Remove the budgets of a scope in these windows; return how many there were."""
    found = [
        one.budget
        for one in await list_budgets(services)
        if one.budget.scope == scope and one.budget.window in windows
    ]
    for budget in found:
        await services.store.remove_budget(budget.id)
    return len(found)
