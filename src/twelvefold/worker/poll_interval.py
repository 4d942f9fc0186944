"""How often to look for work: at once while there is some, once in `poll_s` while there is none."""

import asyncio
import random
from contextlib import suppress

from twelvefold.observe.log import get_logger

log = get_logger(__name__)
SHORTEST_S = 0.05
LONGEST_FAULT_S = 5.0
JITTER = (1.0, 1.1)
"""Factors between which a pause is drawn. None is shorter: `poll_s` bounds the load."""
FAULT_JITTER = (0.5, 1.0)
"""Wider, since a fault hits all processes at the same moment."""


class PollInterval:
    """The pauses between looks, each with jitter so that processes do not look in step.

    `poll_s` is the longest while all is well; `nudge` ends a pause early.
    """

    def __init__(self, poll_s: float) -> None:
        self.nudge = asyncio.Event()
        self._poll_s = poll_s
        self._pause_s = SHORTEST_S

    async def found(self, something: bool) -> None:
        """Wait after a look."""
        self._pause_s = SHORTEST_S if something else min(2 * self._pause_s, self._poll_s)
        await self._wait()

    async def idle(self) -> None:
        """Wait after a look that found nothing; a nudge comes when there is something."""
        self._pause_s = self._poll_s
        await self._wait()

    async def failed(self, what: str, error: Exception) -> None:
        """Wait after a look that came to nothing because a service failed; longer each time."""
        self._pause_s = min(2 * max(self._pause_s, self._poll_s), LONGEST_FAULT_S)
        log.warning(what, error=error, pause_s=round(self._pause_s, 2))
        await self._wait(FAULT_JITTER)

    async def nudged(self) -> None:
        """Wait for nothing but a nudge."""
        await self.nudge.wait()
        self.nudge.clear()

    async def _wait(self, jitter: tuple[float, float] = JITTER) -> None:
        pause_s = self._pause_s * random.uniform(*jitter)  # noqa: S311 - jitter, no secret
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self.nudge.wait()
        self.nudge.clear()
