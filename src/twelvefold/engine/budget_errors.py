"""Checks the budgets of a run before it is written, and the errors of budgets without room.

Room that other calls have only reserved may come back: a call waits for it, a bounded time.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from twelvefold.core import Item
from twelvefold.core.ports.budgets import NOTHING, Amount, Budget, Spender, Used
from twelvefold.core.spending import (
    fits,
    highest_cost,
    input_bound_of,
    least_output,
    output_cap,
)
from twelvefold.core.waits import time_of
from twelvefold.engine.services import Services
from twelvefold.errors import InsufficientQuota

Result = TypeVar("Result")


async def check_budgets(
    services: Services,
    spender: Spender,
    models: Sequence[str],
    items: Sequence[Item],
    requested_cap: int | None,
) -> None:
    """Raise InsufficientQuota if a budget has no room for the first model call of a new run.

    The call is taken to be as small as it can be: the whole request is known later. Budgets that
    let runs wait are not checked. Waits as `until_settled` does. Raises PriceUnknown for a model
    without a price that a budget needs.
    """
    check = partial(_check_budgets, services, spender, models, items, requested_cap)
    try:
        await check()
    except InsufficientQuota:
        await services.budgets.refresh()  # one may have been raised
        await until_settled(services, check, services.timings.start_settlement_s)


async def _check_budgets(
    services: Services,
    spender: Spender,
    models: Sequence[str],
    items: Sequence[Item],
    requested_cap: int | None,
) -> None:
    budgets = await services.budgets.covering(spender)
    now_us = services.budgets.now_us
    prices = [await services.budgets.price(model, budgets) for model in models]
    configured = services.profile(models[0]).max_output_tokens
    cap = least_output(output_cap(requested_cap, configured))
    least = highest_cost(input_bound_of(items), cap, prices[0])
    refusing = [one for one in budgets if one.policy == "refuse"]
    keys = {one.id: (one.id, one.period(now_us).began_us) for one in refusing}
    if not refusing:
        return
    found = await services.retry(lambda: services.store.used(list(keys.values())))
    for budget in refusing:
        used = found.get(keys[budget.id], Used())
        if not fits(budget, used.total, least):
            raise budget_error(budget, least, used, now_us)


async def until_settled(
    services: Services, work: Callable[[], Awaitable[Result]], timeout_s: float
) -> Result:
    """Repeat `work` while it finds room that other calls have reserved, `timeout_s` at most.

    `work` must be repeatable. Raises the last InsufficientQuota.
    """
    clock = services.monotonic
    ends_at, tries = clock() + timeout_s, 0
    while True:
        try:
            return await work()
        except InsufficientQuota as error:
            tries += 1
            pause_s = services.timings.settlement.pause_s(tries)
            if not error.is_reserved or clock() + pause_s > ends_at:
                raise
        await asyncio.sleep(pause_s)


def budget_error(budget: Budget, least: Amount, used: Used, now_us: int) -> InsufficientQuota:
    """Return the error of a budget without room for a call that costs at least so much.

    No run waits for a budget that is too small for the call even when it is unused.
    """
    renews_us = budget.period(now_us).renews_us
    is_too_small = not fits(budget, NOTHING, least)
    is_reserved = not is_too_small and fits(budget, used.spent, least)
    problem = f"is used up; it renews at {time_of(renews_us).isoformat(timespec='seconds')}"
    if is_reserved:
        problem = "has no room while model calls in progress reserve the rest of it"
    if is_too_small:
        problem = (
            f"is too small: {_shortage(budget, least)}; raise it with `twelvefold budgets set`"
        )
    return InsufficientQuota(
        f"the {budget.window} budget of {budget.scope} {problem}",
        renews_us=renews_us,
        renews_in_s=None if is_too_small else (renews_us - now_us) / 1_000_000,
        waits=budget.policy == "wait" and not is_too_small,
        is_reserved=is_reserved,
        budget=budget,
    )


def _shortage(budget: Budget, least: Amount) -> str:
    """Return the limit that a call exceeds, and what the call may take of it."""
    if budget.tokens is not None and least.tokens > budget.tokens:
        has, needs = f"{budget.tokens} tokens", f"{least.tokens}"
    else:
        has, needs = _usd(budget.micro_usd or 0), _usd(least.micro_usd)
    return f"it has {has}, and a model call of this run may take {needs}"


def _usd(micro_usd: int) -> str:
    return f"${micro_usd / 1_000_000:.6f}"
