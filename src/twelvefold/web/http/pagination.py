"""Query parameters, and lists in pages as in the OpenAI API."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

from starlette.datastructures import QueryParams

from twelvefold.core import abbreviate
from twelvefold.web.http.errors import raise_invalid

MAX_LIMIT = 100
LIST_PARAMETERS = ("limit", "order", "after", "before")
"""Query parameters of lists in this and in similar APIs."""
_NUMBER = re.compile(r"[0-9]{1,6}")
_SECONDS = re.compile(r"[0-9]{1,11}(\.[0-9]{1,9})?")
_INTEGER = re.compile(r"-?[0-9]{1,4000}")
Json = dict[str, Any]
Choice = TypeVar("Choice", bound=str)
_TRUE, _FALSE = ("true", "1"), ("false", "0")


@dataclass(frozen=True, slots=True)
class Page:
    """A requested page; `after` is the last id of the page before, "" for the first page."""

    limit: int = 20
    after: str = ""
    newest_first: bool = True


def check_list_parameters(query: QueryParams, *supported: str) -> None:
    """Raise ApiError for a list parameter that is repeated or that this list does not support.

    Ignoring it would change the result without an error.
    """
    for name in LIST_PARAMETERS:
        values = query.getlist(name)
        if values and name not in supported:
            raise_invalid("is not supported here", name, "unsupported_parameter")
        if len(values) > 1:
            raise_invalid("is repeated; give it once", name)


def check_oldest_first(query: QueryParams) -> None:
    """Check the parameters of a list that is always oldest first. Raises ApiError."""
    check_list_parameters(query, "limit", "after", "order")
    if _order(query, "asc") == "desc":
        raise_invalid("must be asc: this list has no other order", "order", "unsupported_value")


def parse_page(query: QueryParams) -> Page:
    """Return the requested page. Raises ApiError."""
    check_list_parameters(query, "limit", "after", "order")
    limit = query.get("limit", "20")
    if not _NUMBER.fullmatch(limit) or not 1 <= int(limit) <= MAX_LIMIT:
        message = f"must be an integer from 1 to {MAX_LIMIT}, not {abbreviate(limit)}"
        raise_invalid(message, "limit")
    order = _order(query, "desc")
    return Page(int(limit), query.get("after", ""), order == "desc")


def _order(query: QueryParams, default: str) -> str:
    order = query.get("order", default)
    if order not in ("asc", "desc"):
        raise_invalid(f"must be one of asc, desc, not {abbreviate(order)}", "order")
    return order


def paginate(items: Sequence[Json], page: Page) -> Json:
    """Return a page of these items, which are oldest first.

    Raises ApiError if `after` is not among them.
    """
    ordered = list(reversed(items)) if page.newest_first else list(items)
    start = 0
    if page.after:
        ids = [item["id"] for item in ordered]
        if page.after not in ids:
            raise_invalid(f"there is no {abbreviate(page.after)} in this list", "after")
        start = ids.index(page.after) + 1
    end = start + page.limit
    return list_object(ordered[start:end], has_more=len(ordered) > end)


def list_object(items: Sequence[Json], has_more: bool) -> Json:
    """Return the list object of one page."""
    return {
        "object": "list",
        "data": list(items),
        "first_id": items[0]["id"] if items else None,
        "last_id": items[-1]["id"] if items else None,
        "has_more": has_more,
    }


def parse_flag(query: QueryParams, name: str) -> bool:
    """Return a boolean query parameter; False if it is absent. Raises ApiError."""
    value = _single(query, name)
    if value is None:
        return False
    if value.lower() not in (*_TRUE, *_FALSE):
        raise_invalid(f"must be true or false, not {abbreviate(value)}", name)
    return value.lower() in _TRUE


def parse_integer(query: QueryParams, name: str, default: int, minimum: int) -> int:
    """Return an integer query parameter. Raises ApiError."""
    value = _single(query, name)
    if value is None:
        return default
    if not _INTEGER.fullmatch(value) or int(value) < minimum:
        raise_invalid(f"must be an integer, {minimum} or more, not {abbreviate(value)}", name)
    return int(value)


def parse_text(query: QueryParams, name: str, max_chars: int = 255) -> str:
    """Return a text query parameter; "" if it is absent. Raises ApiError."""
    value = _single(query, name) or ""
    if len(value) > max_chars:
        raise_invalid(f"must have at most {max_chars} characters", name)
    return value


def parse_choice(query: QueryParams, name: str, choices: Collection[Choice]) -> Choice | None:
    """Return a query parameter with one of these values; None if it is absent. Raises ApiError."""
    value = _single(query, name)
    found = next((choice for choice in choices if choice == value), None)
    if value is not None and found is None:
        raise_invalid(f"must be one of {', '.join(choices)}, not {abbreviate(value)}", name)
    return found


def parse_time_us(query: QueryParams, name: str) -> int | None:
    """Return a time in microseconds, given in seconds since 1970; None if it is absent.

    Raises ApiError.
    """
    value = _single(query, name)
    if value is None:
        return None
    if not _SECONDS.fullmatch(value):
        raise_invalid(f"must be seconds since 1970, not {abbreviate(value)}", name)
    return int(Decimal(value) * 1_000_000)


def _single(query: QueryParams, name: str) -> str | None:
    values = query.getlist(name)
    if len(values) > 1:
        raise_invalid("is repeated; give it once", name)
    return values[0] if values else None
