"""How the engine waits for work: with retries while the database is unavailable, and uninterrupted.

A step's transaction happens completely or not at all, so a cancellation does not interrupt it.
`ExitLimit` is the time at which a process that stops abandons such work.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from msgspec import Struct

from twelvefold.backoff import Backoff
from twelvefold.errors import StoreFailed, StoreUnavailable
from twelvefold.observe import metrics
from twelvefold.observe.log import get_logger

log = get_logger(__name__)
Result = TypeVar("Result")
EXIT_S = 4.0
"""How long after GRACE_S a process that stops may take to give its runs back. With the closing of
its connections it exits within about five seconds."""
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


class ExitLimit:
    """When a process that stops abandons the work that cancellations do not interrupt.

    There is no limit until `begin` is called. After the limit the process writes nothing more: what
    it abandoned may still be committed, and another process continues when the lease has expired.
    """

    def __init__(self, release_s: float = EXIT_S) -> None:
        self._release_s = release_s
        self._end = math.inf
        self._waiting: set[asyncio.Task[Any]] = set()

    def begin(self, grace_s: float) -> None:
        """Set the limit: running steps may continue for `grace_s`. Only the first call counts."""
        if self._end == math.inf:
            loop = asyncio.get_running_loop()
            self._end = loop.time() + grace_s + self._release_s
            loop.call_at(self._end, self._abandon)

    @property
    def left_s(self) -> float:
        """Seconds until the limit; infinite while the process does not stop."""
        if self._end == math.inf:
            return math.inf
        return max(0.0, self._end - asyncio.get_running_loop().time())

    @property
    def has_passed(self) -> bool:
        """Whether the process writes nothing more."""
        return not self.left_s

    @contextmanager
    def applied_to(self, task: asyncio.Task[Any]) -> Iterator[None]:
        """Cancel the task at the limit if the body is still waiting for it then."""
        self._waiting.add(task)
        if self.has_passed:
            _abandon(task)
        try:
            yield
        finally:
            self._waiting.discard(task)

    def _abandon(self) -> None:
        for task in self._waiting:
            _abandon(task)


def _abandon(task: asyncio.Task[Any]) -> None:
    log.warning("step_abandoned", error="not over when the process had to exit")
    task.cancel()


async def run_uninterrupted(
    work: Coroutine[Any, Any, Result] | asyncio.Task[Result], limit: ExitLimit | None = None
) -> Result:
    """Finish the work even if the caller is cancelled meanwhile; the caller is cancelled after it.

    Cancelling a task does not stop its statement on the server, and an abandoned transaction could
    commit after the next write of the same run. So the work survives any number of cancellations.
    Only `limit` ends it: a process that stops must not wait for a database that does not answer.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        with (limit or ExitLimit()).applied_to(task):
            while not task.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()):
            log.warning("step_abandoned", error=type(error).__name__)
        raise
