"""Checks the budgets of a run before it is written, and the errors of budgets that are used up."""

from collections.abc import Sequence

from twelvefold.core import Item
from twelvefold.core.ports.budgets import NOTHING, Amount, Budget, Used
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


async def check_budgets(
    services: Services,
    budgets: Sequence[Budget],
    models: Sequence[str],
    items: Sequence[Item],
    requested_cap: int | None,
) -> None:
    """Raise InsufficientQuota if a budget has no room for the first model call of a new run.

    The call is taken to be as small as it can be: the whole request is known later. Budgets that
    let runs wait are not checked. Raises PriceUnknown for a model without a price that a budget
    needs.
    """
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
            raise budget_error(budget, least, now_us)


def budget_error(budget: Budget, least: Amount, now_us: int) -> InsufficientQuota:
    """Return the error of a budget without room for a call that costs at least so much.

    No run waits for a budget that is too small for the call even when it is unused.
    """
    renews_us = budget.period(now_us).renews_us
    is_too_small = not fits(budget, NOTHING, least)
    problem = f"is used up; it renews at {time_of(renews_us).isoformat(timespec='seconds')}"
    if is_too_small:
        problem = f"is too small: a model call of this run may take {least.tokens} tokens"
    return InsufficientQuota(
        f"the {budget.window} budget of {budget.scope} {problem}",
        renews_us=renews_us,
        renews_in_s=(renews_us - now_us) / 1_000_000,
        waits=budget.policy == "wait" and not is_too_small,
        budget=budget,
    )
