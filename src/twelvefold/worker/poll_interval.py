"""Adaptive poll interval: short while there is work, and up to `poll_s` while there is none."""

import asyncio
from contextlib import suppress

from msgspec import structs

from twelvefold.backoff import Backoff
from twelvefold.observe.log import get_logger

log = get_logger(__name__)
SHORTEST_S = 0.05
LONGEST_FAULT_S = 5.0
IDLE_JITTER = (1.0, 1.1)
"""Factors of an idle pause. None shortens it: `poll_s` bounds the load."""
_MANY = 32
"""So many empty searches that the pause is `poll_s`."""


class PollInterval:
    """The pauses between searches for work, with jitter so that processes do not search in step.

    `poll_s` is the longest pause while no service fails; setting `nudge` ends a pause early.
    """

    def __init__(self, poll_s: float) -> None:
        self.nudge = asyncio.Event()
        self._idle = Backoff(SHORTEST_S, poll_s, IDLE_JITTER)
        self._fault = Backoff(2 * poll_s, LONGEST_FAULT_S)
        self._empty = 0
        self._failed = 0

    async def found(self, something: bool, longest_s: float | None = None) -> bool:
        """Wait after a search; longer each time that nothing was found, up to `longest_s`.

        None: `poll_s`. Returns whether a nudge ended the pause.
        """
        self._failed, self._empty = 0, 0 if something else self._empty + 1
        idle = self._idle if longest_s is None else structs.replace(self._idle, longest_s=longest_s)
        return await self._wait(idle.pause_s(1 + self._empty))

    async def idle(self) -> None:
        """Wait for `poll_s` after a search that found nothing, where new work sets `nudge`."""
        self._failed, self._empty = 0, _MANY
        await self._wait(self._idle.pause_s(_MANY))

    async def failed(self, event: str, error: Exception) -> None:
        """Log and wait after a search that failed because of a service; longer each time."""
        self._failed, self._empty = self._failed + 1, _MANY
        pause_s = self._fault.pause_s(self._failed)
        log.warning(event, error=error, pause_s=round(pause_s, 2))
        await self._wait(pause_s)

    async def nudged(self) -> None:
        """Wait until `nudge` is set."""
        await self.nudge.wait()
        self.nudge.clear()

    async def _wait(self, pause_s: float) -> bool:
        """Return whether `nudge` was set before the pause ended."""
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self.nudge.wait()
        is_nudged = self.nudge.is_set()
        self.nudge.clear()
        return is_nudged
