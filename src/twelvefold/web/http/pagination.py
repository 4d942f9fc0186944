"""Lists, page by page, as the OpenAI API has them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import QueryParams

from twelvefold.web.http.errors import abbreviate, raise_invalid

MOST = 100
PAGING = ("limit", "order", "after", "before")
"""What lists of this and of other APIs are asked with."""
_NUMBER = re.compile(r"[0-9]{1,6}")
_INTEGER = re.compile(r"-?[0-9]{1,4000}")
Json = dict[str, Any]
_TRUE, _FALSE = ("true", "1"), ("false", "0")


@dataclass(frozen=True, slots=True)
class Page:
    """Which page is asked for; `after` is the last id of the one before, "" for the first."""

    limit: int = 20
    after: str = ""
    newest_first: bool = True


def check_paging(query: QueryParams, *known: str) -> None:
    """Refuse a parameter of lists that this list does not have, or has twice. Raises ApiError.

    Left out, it would change what a client gets without a word.
    """
    for name in PAGING:
        given = query.getlist(name)
        if given and name not in known:
            raise_invalid("is not supported here", name, "unsupported_parameter")
        if len(given) > 1:
            raise_invalid("is there twice; give it once", name)


def check_oldest_first(query: QueryParams) -> None:
    """For a list that has `after` and `limit`, and no other order. Raises ApiError."""
    check_paging(query, "limit", "after", "order")
    if _order(query, "asc") == "desc":
        raise_invalid("must be asc: this list has no other order", "order", "unsupported_value")


def page_of(query: QueryParams) -> Page:
    """The page that a query asks for. Raises ApiError."""
    check_paging(query, "limit", "after", "order")
    limit = query.get("limit", "20")
    if not _NUMBER.fullmatch(limit) or not 1 <= int(limit) <= MOST:
        raise_invalid(f"must be an integer from 1 to {MOST}, not {abbreviate(limit)}", "limit")
    order = _order(query, "desc")
    return Page(int(limit), query.get("after", ""), order == "desc")


def _order(query: QueryParams, default: str) -> str:
    order = query.get("order", default)
    if order not in ("asc", "desc"):
        raise_invalid(f"must be one of asc, desc, not {abbreviate(order)}", "order")
    return order


def paged(items: Sequence[Json], page: Page) -> Json:
    """The page of all these items, oldest first. Raises ApiError if `after` is none of them."""
    ordered = list(reversed(items)) if page.newest_first else list(items)
    start = 0
    if page.after:
        ids = [item["id"] for item in ordered]
        if page.after not in ids:
            raise_invalid(f"there is no {abbreviate(page.after)} in this list", "after")
        start = ids.index(page.after) + 1
    return listed(ordered[start : start + page.limit], len(ordered) > start + page.limit)


def listed(items: Sequence[Json], has_more: bool) -> Json:
    """A list object of one page."""
    return {
        "object": "list",
        "data": list(items),
        "first_id": items[0]["id"] if items else None,
        "last_id": items[-1]["id"] if items else None,
        "has_more": has_more,
    }


def flag_of(query: QueryParams, name: str) -> bool:
    """A yes or no in a query; not given: no. Raises ApiError."""
    value = _single(query, name)
    if value is None:
        return False
    if value.lower() not in (*_TRUE, *_FALSE):
        raise_invalid(f"must be true or false, not {abbreviate(value)}", name)
    return value.lower() in _TRUE


def integer_of(query: QueryParams, name: str, default: int, least: int) -> int:
    """An integer in a query. Raises ApiError."""
    value = _single(query, name)
    if value is None:
        return default
    if not _INTEGER.fullmatch(value) or int(value) < least:
        raise_invalid(f"must be an integer, {least} or more, not {abbreviate(value)}", name)
    return int(value)


def _single(query: QueryParams, name: str) -> str | None:
    given = query.getlist(name)
    if len(given) > 1:
        raise_invalid("is there twice; give it once", name)
    return given[0] if given else None
