"""Whether there is room for one more background run: the table is the queue, and it has a limit."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from twelvefold.core.ports import Store
from twelvefold.engine.commands import PATIENCE_S
from twelvefold.engine.patience import patiently
from twelvefold.web.faults import ApiError

LOOK_S = 1.0
"""How old the count may be; what other processes have added since is seen only then."""
RETRY_S = 5.0


class Queue:
    """Counts the runs that wait, up to `most`; `clock` gives seconds that only grow."""

    def __init__(
        self, store: Store, most: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._most = most
        self._clock = clock
        self._waiting = 0
        self._counted_at = -LOOK_S

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Room for a run that the body writes. Raises ApiError with 429 if too many wait."""
        await self._enter()
        try:
            yield
        except BaseException:
            self._waiting = max(0, self._waiting - 1)
            raise

    async def _enter(self) -> None:
        if self._clock() >= self._counted_at + LOOK_S:
            self._waiting = await patiently(
                lambda: self._store.queued_runs(limit=self._most), PATIENCE_S
            )
            self._counted_at = self._clock()
        if self._waiting >= self._most:
            message = f"{self._most} background runs wait already; try again in a moment"
            raise ApiError(429, message, code="queue_full", wait_s=RETRY_S)
        self._waiting += 1
