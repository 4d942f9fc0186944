"""`/v1/admin/usage`: tokens, cost and number of runs by day, workflow and principal."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from twelvefold.boot import now_us
from twelvefold.core import UsageFilter, UsageGroup, UsageSum
from twelvefold.engine import retry_unavailable
from twelvefold.web.http import (
    abbreviate,
    check_list_parameters,
    json_response,
    parse_choice,
    parse_text,
    raise_invalid,
    require_admin,
)
from twelvefold.web.schemas import Json
from twelvefold.web.state import web_of

MICRO = 1_000_000
MAX_DAYS = 366
DEFAULT_DAYS = 30
MAX_SUMS = 1_000
FIRST_YEAR = 1970
GROUPS: Mapping[str, tuple[UsageGroup, ...]] = {
    "day": ("day",),
    "workflow": ("workflow",),
    "principal": ("principal",),
    "day,workflow": ("day", "workflow"),
    "day,principal": ("day", "principal"),
}


async def list_usage(request: Request) -> Response:
    """`GET /v1/admin/usage`: the usage of runs that ended, by day or other groups."""
    require_admin(request)
    query, store = request.query_params, web_of(request).services.store
    check_list_parameters(query)
    filter = _parse_filter(query)
    found = await retry_unavailable(lambda: store.usage(filter, limit=MAX_SUMS + 1))
    sums = [_usage_sum(one) for one in found[:MAX_SUMS]]
    return json_response({"object": "list", "data": sums, "has_more": len(found) > MAX_SUMS})


def _parse_filter(query: QueryParams) -> UsageFilter:
    today = datetime.fromtimestamp(now_us() // MICRO, UTC).date()
    last = _parse_day(query, "to") or today
    first = _parse_day(query, "from") or last - timedelta(days=DEFAULT_DAYS - 1)
    if not 0 <= (last - first).days < MAX_DAYS:
        limit = f"`to` or one of the {MAX_DAYS - 1} days before it"
        raise_invalid(f"must be {limit}, not {first.isoformat()}", "from")
    return UsageFilter(
        first.isoformat(),
        last.isoformat(),
        GROUPS[parse_choice(query, "by", GROUPS) or "day"],
        parse_text(query, "workflow"),
        parse_text(query, "principal"),
    )


def _parse_day(query: QueryParams, name: str) -> date | None:
    if name not in query:
        return None
    text = parse_text(query, name)
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    # fromisoformat also reads 20261130 and 2026-W48-1.
    if day is None or day.isoformat() != text or day.year < FIRST_YEAR:
        raise_invalid(f"must be a day as 2026-11-30, not {abbreviate(text)}", name)
    return day


def _usage_sum(one: UsageSum) -> Json:
    return {
        "object": "admin.usage",
        "day": one.day,
        "workflow": one.workflow,
        "principal": one.principal,
        "runs": one.runs,
        "failed": one.failed,
        "input_tokens": one.input_tokens,
        "output_tokens": one.output_tokens,
        "cached_tokens": one.cached_tokens,
        "cost_usd": None if one.micro_usd is None else one.micro_usd / MICRO,
    }


ROUTES: list[BaseRoute] = [Route("/v1/admin/usage", list_usage, methods=["GET"])]
