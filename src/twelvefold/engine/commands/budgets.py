"""Set, list and remove budgets, for the command line and for operators over HTTP."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from twelvefold.core import DEFAULT_OPTIONS, RequestOptions, Workflow, models_of
from twelvefold.core.ports.budgets import Budget, BudgetScope, Period, Used
from twelvefold.engine.budgets import unknown_price
from twelvefold.engine.services import Services
from twelvefold.errors import NotFound, PriceUnknown, RequestError

MAX_LIMIT = 10**15
"""The highest limit, in tokens and in micro-dollars; sums of it are far from 64 bits."""


@dataclass(frozen=True, slots=True)
class BudgetState:
    """A budget, its current period, and what was spent and reserved in it."""

    budget: Budget
    period: Period
    used: Used


async def set_budget(services: Services, budget: Budget) -> None:
    """Add a budget, or replace that of the same scope and window.

    Raises RequestError for a workflow that this release does not have, and for a budget without a
    limit or with one out of range; PriceUnknown for one in USD that covers a model of this process
    without a price.
    """
    _check_workflow(services, budget.scope.workflow)
    limits = [limit for limit in (budget.tokens, budget.micro_usd) if limit is not None]
    if not limits:
        raise RequestError("the budget has no limit; give tokens, USD, or both")
    if not all(0 <= limit <= MAX_LIMIT for limit in limits):
        raise RequestError("a limit of the budget is out of range")
    if budget.micro_usd is not None:
        await asyncio.to_thread(_check_prices, services, budget)
    await services.retry(lambda: services.store.set_budget(budget))


def _check_workflow(services: Services, name: str) -> None:
    if name and name not in services.workflows:
        raise RequestError(f"no workflow {name!r}; there are {', '.join(services.workflows)}")


def _check_prices(services: Services, budget: Budget) -> None:
    """Raise PriceUnknown if a workflow that the budget covers has a model without a price."""
    scope = budget.scope
    covered = [one for name, one in services.workflows.items() if scope.workflow in ("", name)]
    for model in _models_in(covered):
        if services.find_price(model) is None:
            raise PriceUnknown(unknown_price(model, budget))


def _models_in(workflows: Iterable[Workflow]) -> list[str]:
    """Return the models that runs of these workflows may ask, the callers' choices included."""
    names = [
        name
        for workflow in workflows
        for options in (DEFAULT_OPTIONS, *(RequestOptions(model=one) for one in workflow.models))
        for name in models_of(workflow.model, options)
    ]
    return [*dict.fromkeys(names)]


async def list_budgets(
    services: Services, *, limit: int, after: str = ""
) -> tuple[list[BudgetState], bool]:
    """Return budgets by scope, those after the budget with an id, and whether there are more.

    Each comes with what was spent in its current period. Raises NotFound if there is no budget
    `after`.
    """
    now_us, budgets = await services.retry(services.store.budgets)
    ids = [one.id for one in budgets]
    if after and after not in ids:
        raise NotFound(f"no budget {after!r}")
    start = ids.index(after) + 1 if after else 0
    states = await _states_of(services, budgets[start : start + limit], now_us)
    return states, len(budgets) > start + limit


async def budget_state(services: Services, id: str) -> BudgetState:
    """Return one budget with what was spent in its current period. Raises NotFound."""
    now_us, budgets = await services.retry(services.store.budgets)
    for state in await _states_of(services, [one for one in budgets if one.id == id], now_us):
        return state
    raise NotFound(f"no budget {id!r}")


async def _states_of(
    services: Services, budgets: Sequence[Budget], now_us: int
) -> list[BudgetState]:
    periods = [one.period(now_us) for one in budgets]
    keys = [(one.id, at.began_us) for one, at in zip(budgets, periods, strict=True)]
    used = await services.retry(lambda: services.store.used(keys))
    return [
        BudgetState(budget, period, used.get(key, Used()))
        for budget, period, key in zip(budgets, periods, keys, strict=True)
    ]


async def remove_budgets(services: Services, scope: BudgetScope, windows: Iterable[str]) -> None:
    """Remove the budgets of a scope in these windows. Raises RequestError if there are none."""
    _, budgets = await services.retry(services.store.budgets)
    found = [one for one in budgets if one.scope == scope and one.window in windows]
    if not found:
        raise RequestError(f"{scope} has no budget")
    for budget in found:
        await services.store.remove_budget(budget.id)
