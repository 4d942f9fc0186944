"""How the engine waits for work: with retries while the database is unavailable."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from msgspec import Struct

from twelvefold.backoff import Backoff
from twelvefold.errors import StoreFailed, StoreUnavailable
from twelvefold.observe import metrics
from twelvefold.observe.log import get_logger

log = get_logger(__name__)
Result = TypeVar("Result")
_BACKOFF = Backoff(first_s=0.05, longest_s=2.0)


class RetryPolicy(Struct, frozen=True):
    """How long work is retried, in seconds, and with which pauses.

    `timeout_s`: while the database is unavailable. `failing_timeout_s`: while it reports
    StoreFailed, an error that may last.
    """

    backoff: Backoff = _BACKOFF
    timeout_s: float = 5.0
    failing_timeout_s: float = 60.0


DEFAULT_RETRY_POLICY = RetryPolicy()


async def retry_unavailable(
    work: Callable[[], Awaitable[Result]],
    timeout_s: float | None = None,
    failing_timeout_s: float | None = None,
    *,
    policy: RetryPolicy = DEFAULT_RETRY_POLICY,
) -> Result:
    """Retry `work`, which must be repeatable, while it raises StoreUnavailable.

    Raises the last StoreUnavailable after `timeout_s`, and StoreFailed `failing_timeout_s` after
    the first one; None means the value of `policy`, or as long as the error says that the database
    may need to recover, if that is longer. With `math.inf` the caller's deadline ends the
    retries; the CancelledError has the last StoreUnavailable as its cause.
    """
    attempts = _Attempts(
        policy.backoff,
        policy.timeout_s if timeout_s is None else timeout_s,
        policy.failing_timeout_s if failing_timeout_s is None else failing_timeout_s,
        awaits_recovery=timeout_s is None,
    )
    try:
        while True:
            try:
                return await work()
            except StoreUnavailable as error:
                pause_s = attempts.next_pause_s(error)
                if pause_s is None:
                    raise
                log.warning("store_retried", error=error)
                if metrics.active is not None:
                    metrics.active.retried("database")
            await asyncio.sleep(pause_s)
    except asyncio.CancelledError as cancelled:
        raise cancelled from attempts.last_error


class _Attempts:
    """The failed attempts of one `retry_unavailable`, and when there is no time for another."""

    def __init__(
        self, backoff: Backoff, timeout_s: float, failing_timeout_s: float, *, awaits_recovery: bool
    ) -> None:
        self._backoff = backoff
        self._failing_timeout_s = failing_timeout_s
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.time() + timeout_s
        self._count = 0
        self._awaits_recovery = awaits_recovery
        self.last_error: StoreUnavailable | None = None

    def next_pause_s(self, error: StoreUnavailable) -> float | None:
        """Return the pause after an attempt that failed; None if the next would be too late."""
        now = self._loop.time()
        if isinstance(error, StoreFailed) and not isinstance(self.last_error, StoreFailed):
            self._end = min(self._end, now + self._failing_timeout_s)
        if self._awaits_recovery and error.recovery_s:
            self._awaits_recovery = False  # later errors do not extend the time again
            self._end = max(self._end, now + error.recovery_s)
        self._count += 1
        pause_s = self._backoff.pause_s(self._count)
        if now + pause_s > self._end:
            return None
        self.last_error = error
        return pause_s


def cause_of(timeout: TimeoutError) -> StoreUnavailable | None:
    """Return the database error that was being retried when a deadline expired, if any."""
    error: BaseException | None = timeout
    while error is not None and not isinstance(error, StoreUnavailable):
        error = error.__cause__
    return error
