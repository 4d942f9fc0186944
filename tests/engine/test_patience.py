import math
from collections.abc import Awaitable, Callable

import pytest

from twelvefold.engine.retry import retry_unavailable
from twelvefold.errors import StoreRefused, StoreUnavailable


def away_for(times: int) -> Callable[[], Awaitable[str]]:
    """A database that is away for so many tries."""
    left = iter(range(times))

    async def ask() -> str:
        if next(left, None) is None:
            return "there"
        raise StoreUnavailable("the database cannot be reached")

    return ask


async def test_what_works_is_done_once() -> None:
    assert await retry_unavailable(away_for(0), 0.0) == "there"


async def test_a_database_that_comes_back_is_waited_for() -> None:
    assert await retry_unavailable(away_for(5), math.inf) == "there"


async def test_a_database_that_stays_away_is_given_up_with_its_own_words() -> None:
    with pytest.raises(StoreUnavailable, match="the database cannot be reached"):
        await retry_unavailable(away_for(10**6), 0.01)


async def test_what_will_never_work_is_not_tried_again() -> None:
    async def refuse() -> None:
        raise StoreRefused("no such table")

    with pytest.raises(StoreRefused, match="no such table"):
        await retry_unavailable(refuse, math.inf)
