"""Retries while the database is unavailable, and the pauses between them."""

import asyncio
import math
from collections.abc import Awaitable, Callable

import pytest

from twelvefold.backoff import Backoff
from twelvefold.engine.retry import RetryPolicy, cause_of, retry_unavailable
from twelvefold.errors import StoreFailed, StoreRefused, StoreUnavailable

POLICY = RetryPolicy(
    Backoff(first_s=0.001, longest_s=0.002), timeout_s=0.01, failing_timeout_s=0.01
)


def unavailable_for(
    attempts: int, error: type[StoreUnavailable] = StoreUnavailable
) -> Callable[[], Awaitable[str]]:
    """Return work that fails for so many attempts."""
    left = iter(range(attempts))

    async def work() -> str:
        if next(left, None) is None:
            return "done"
        raise error("the database cannot be reached")

    return work


async def test_work_that_succeeds_is_done_once() -> None:
    assert await retry_unavailable(unavailable_for(0), 0.0) == "done"


async def test_work_is_retried_until_the_database_is_back() -> None:
    assert await retry_unavailable(unavailable_for(5), math.inf, policy=POLICY) == "done"


@pytest.mark.parametrize("error", [StoreUnavailable, StoreFailed])
async def test_the_last_error_is_raised_after_the_timeout_of_its_kind(
    error: type[StoreUnavailable],
) -> None:
    with pytest.raises(error, match="the database cannot be reached"):
        await retry_unavailable(unavailable_for(10**6, error), policy=POLICY)


class Recovering:
    """Work that fails until the database has recovered, and reports how long that may take."""

    def __init__(self, fails_for_s: float, recovery_s: float) -> None:
        self._end = asyncio.get_running_loop().time() + fails_for_s
        self._recovery_s = recovery_s

    async def __call__(self) -> str:
        if asyncio.get_running_loop().time() > self._end:
            return "done"
        error = StoreUnavailable("no server takes writes")
        error.recovery_s = self._recovery_s
        raise error


async def test_a_failover_is_waited_for_beyond_the_timeout() -> None:
    work = Recovering(fails_for_s=0.1, recovery_s=20.0)

    assert await retry_unavailable(work, policy=POLICY) == "done"


async def test_a_failover_that_does_not_end_is_waited_for_once() -> None:
    with pytest.raises(StoreUnavailable, match="no server takes writes"):
        await retry_unavailable(Recovering(fails_for_s=20.0, recovery_s=0.1), policy=POLICY)


async def test_a_given_timeout_is_not_extended_for_a_failover() -> None:
    with pytest.raises(StoreUnavailable, match="no server takes writes"):
        await retry_unavailable(
            Recovering(fails_for_s=20.0, recovery_s=20.0), timeout_s=0.01, policy=POLICY
        )


async def test_a_refused_statement_is_not_retried() -> None:
    async def reject() -> None:
        raise StoreRefused("no such table")

    with pytest.raises(StoreRefused, match="no such table"):
        await retry_unavailable(reject, math.inf)


async def test_a_deadline_has_the_error_that_was_being_retried_as_its_cause() -> None:
    async def fail() -> None:
        raise StoreUnavailable("away")

    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(0.05):
            await retry_unavailable(fail, math.inf)

    assert str(cause_of(caught.value)) == "away"


async def test_a_deadline_without_an_error_has_no_cause() -> None:
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(0.01):
            await retry_unavailable(lambda: asyncio.Event().wait(), math.inf)

    assert cause_of(caught.value) is None


@pytest.mark.parametrize(("attempts", "longest_s"), [(1, 1.0), (2, 2.0), (4, 8.0), (5, 10.0)])
def test_a_pause_doubles_up_to_the_longest_and_has_jitter(attempts: int, longest_s: float) -> None:
    backoff = Backoff(first_s=1.0, longest_s=10.0)

    pauses = {backoff.pause_s(attempts) for _ in range(50)}

    assert longest_s / 2 <= min(pauses) < max(pauses) <= longest_s


def test_the_number_of_attempts_has_no_bound() -> None:
    assert Backoff(1.0, 10.0, jitter=(1.0, 1.0)).pause_s(10**9) == 10.0
