"""`twelvefold budgets`: set, list and remove the budgets of a deployment."""

from collections.abc import Sequence

from twelvefold.cli.command import DONE, CommandContext, command
from twelvefold.cli.output import format_time, print_json, print_list, print_notice
from twelvefold.core.ports.budgets import WINDOWS, Amount, Budget, BudgetScope, Policy, Window
from twelvefold.core.spending import parse_scope
from twelvefold.engine.commands.budgets import (
    BudgetState,
    list_budgets,
    remove_budgets,
    set_budget,
)
from twelvefold.errors import RequestError


def _scope(words: Sequence[str]) -> BudgetScope:
    try:
        return parse_scope(words)
    except ValueError as error:
        raise RequestError(str(error)) from None


@command()
async def set_one(
    context: CommandContext,
    *,
    scope: Sequence[str],
    window: Window,
    tokens: int | None,
    usd: float | None,
    policy: Policy,
) -> int:
    """Set the budget of a scope."""
    micro_usd = None if usd is None else round(usd * 1_000_000)
    budget = Budget(_scope(scope), window, tokens, micro_usd, policy)
    await set_budget(context.services, budget)
    print(f"{budget.id} bounds {budget.scope} to {_limits(budget)} a {budget.window}")
    return DONE


def _limits(budget: Budget) -> str:
    tokens = "" if budget.tokens is None else f"{budget.tokens} tokens"
    usd = "" if budget.micro_usd is None else _usd(budget.micro_usd)
    return " and ".join(filter(None, (tokens, usd)))


def _usd(micro_usd: int) -> str:
    return f"${micro_usd / 1_000_000:.2f}"


@command()
async def list_all(context: CommandContext, *, limit: int, as_json: bool) -> int:
    """Print budgets, by scope, with what was spent in their current periods."""
    states, has_more = await list_budgets(context.services, limit=limit)
    if as_json:
        for state in states:
            print_json(_state_json(state))
    else:
        heads = ("SCOPE", "WINDOW", "LIMIT", "SPENT", "RESERVED", "OVER", "RENEWS (UTC)")
        print_list(heads, map(_cells, states), empty="no budgets found")
    if has_more:
        print_notice("there are more budgets; --limit N lists more")
    return DONE


def _state_json(state: BudgetState) -> dict[str, object]:
    budget, used = state.budget, state.used
    return {
        "id": budget.id,
        "scope": str(budget.scope),
        "window": budget.window,
        "policy": budget.policy,
        "tokens": budget.tokens,
        "micro_usd": budget.micro_usd,
        "spent": used.spent._asdict(),
        "reserved": used.reserved._asdict(),
        "renews_at_us": state.period.renews_us,
    }


def _cells(state: BudgetState) -> Sequence[str]:
    budget = state.budget
    return (
        str(budget.scope),
        budget.window,
        _limits(budget),
        _amount(budget, state.used.spent),
        _amount(budget, state.used.reserved),
        budget.policy,
        format_time(state.period.renews_us),
    )


def _amount(budget: Budget, amount: Amount) -> str:
    tokens = None if budget.tokens is None else amount.tokens
    usd = None if budget.micro_usd is None else amount.micro_usd
    return _limits(Budget(budget.scope, budget.window, tokens, usd))


@command()
async def remove(context: CommandContext, *, scope: Sequence[str], window: str | None) -> int:
    """Remove the budgets of a scope."""
    windows = (window,) if window else WINDOWS
    await remove_budgets(context.services, _scope(scope), windows)
    print(f"{' '.join(scope)} has no budget any more")
    return DONE
