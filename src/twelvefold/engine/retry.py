"""Waiting for a database that is away, or that asks for a transaction to be tried again."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from twelvefold.errors import StoreFailed, StoreUnavailable
from twelvefold.observe.log import get_logger

log = get_logger(__name__)
Result = TypeVar("Result")
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0
RETRY_TIMEOUT_S = 5.0
"""How long a statement is retried while the database is unavailable."""
FAILED_TIMEOUT_S = 60.0
"""How long work is retried that fails with StoreFailed, an error that may last."""


async def retry_unavailable(
    work: Callable[[], Awaitable[Result]],
    timeout_s: float | None = None,
    failing_s: float = FAILED_TIMEOUT_S,
) -> Result:
    """Retry `work`, which must be repeatable, while it raises StoreUnavailable.

    Raises the last StoreUnavailable after `timeout_s` (None: RETRY_TIMEOUT_S), and StoreFailed
    `failing_s` after the first one. With `math.inf` the caller's deadline ends the retries; the
    CancelledError has the last StoreUnavailable as its cause.
    """
    loop = asyncio.get_running_loop()
    timeout_s = RETRY_TIMEOUT_S if timeout_s is None else timeout_s
    end, pause_s = loop.time() + timeout_s, FIRST_PAUSE_S
    last: StoreUnavailable | None = None
    try:
        while True:
            try:
                return await work()
            except StoreUnavailable as error:
                if isinstance(error, StoreFailed) and not isinstance(last, StoreFailed):
                    end = min(end, loop.time() + failing_s)
                if loop.time() + pause_s > end:
                    raise
                last = error
                log.warning("tried_again", error=error)
            await asyncio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311 - jitter, no secret
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
    except asyncio.CancelledError as cancelled:
        raise cancelled from last


def cause_of(timeout: TimeoutError) -> StoreUnavailable | None:
    """The database's error that was being retried when a deadline expired, if there was one."""
    error: BaseException | None = timeout
    while error is not None and not isinstance(error, StoreUnavailable):
        error = error.__cause__
    return error
