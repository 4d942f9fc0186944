"""Work that a cancellation does not interrupt.

A step's transaction happens completely or not at all, so a cancellation does not interrupt it.
`ExitLimit` is the time at which a process that stops abandons such work.
"""

import asyncio
import math
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from twelvefold.observe.log import get_logger

log = get_logger(__name__)
Result = TypeVar("Result")
EXIT_S = 4.0
"""How long after GRACE_S a process that stops may take to give its runs back. With the closing of
its connections it exits within about five seconds."""


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
