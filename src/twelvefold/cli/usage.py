"""`twelvefold usage`: tokens and cost of the runs that have ended."""

import math
from collections.abc import Sequence
from typing import Any

from twelvefold.admin.usage import last_days, read_usage
from twelvefold.cli.command import DONE, CommandContext, command
from twelvefold.cli.output import print_json, print_list
from twelvefold.core import UsageFilter, UsageGroup, UsageSum

DAY_S = 86_400
MAX_DAYS = 36_500
HEADS = ("RUNS", "FAILED", "INPUT", "CACHED", "OUTPUT", "COST (USD)")


@command()
async def usage(
    context: CommandContext,
    *,
    by: Sequence[UsageGroup],
    since_s: float,
    workflow: str,
    principal: str,
    limit: int,
    as_json: bool,
) -> int:
    """Print the sums, of whole days in UTC."""
    groups = tuple(dict.fromkeys(by)) or ("day",)
    first, last = last_days(min(max(math.ceil(since_s / DAY_S), 1), MAX_DAYS))
    filter = UsageFilter(first, last, groups, workflow=workflow, principal=principal)
    sums = await read_usage(context.services, filter, limit=limit)
    if as_json:
        for one in sums:
            print_json(_json(one, groups))
    else:
        heads = (*(group.upper() for group in groups), *HEADS)
        rows = (_cells(one, groups) for one in sums)
        print_list(heads, rows, empty="no runs found that ended on these days")
    return DONE


def _cells(one: UsageSum, groups: Sequence[UsageGroup]) -> Sequence[str]:
    numbers = (one.runs, one.failed, one.input_tokens, one.cached_tokens, one.output_tokens)
    cost = "" if one.micro_usd is None else f"{one.micro_usd / 1_000_000:.4f}"
    names = (getattr(one, group) for group in groups)
    return (*names, *map(str, numbers), cost)


def _json(one: UsageSum, groups: Sequence[UsageGroup]) -> dict[str, Any]:
    return {group: getattr(one, group) for group in groups} | {
        "runs": one.runs,
        "failed": one.failed,
        "input_tokens": one.input_tokens,
        "cached_tokens": one.cached_tokens,
        "output_tokens": one.output_tokens,
        "cost_usd": None if one.micro_usd is None else one.micro_usd / 1_000_000,
    }
