"""Adds runs that ended to the sums of usage, off the path of the runs themselves.

It also charges the budgets for model calls of these runs that their processes have not settled.

Any worker may do it; each run is counted once. A run is in the sums within `COUNT_S` and the time
of one batch while a worker runs; without one, when the next worker starts or at the next prune.
"""

import asyncio
from contextlib import suppress

from twelvefold.core import FindPrice
from twelvefold.engine import Services, find_prices
from twelvefold.errors import ServiceFault
from twelvefold.observe.log import get_logger

log = get_logger(__name__)
COUNT_S = 10.0
"""How often a worker looks for runs that ended and for lost calls: two statements if there are
none."""
BATCH_PAUSE_S = 0.01
"""The pause between two batches, for the runs that this process drives."""


class UsageCounter:
    """Counts the usage of runs that ended, every `count_s` and until none is left."""

    def __init__(self, services: Services, count_s: float = COUNT_S) -> None:
        self._services = services
        self._count_s = count_s
        self._price: FindPrice | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Count until `stop` is set. An error is logged, and the next turn tries again."""
        while not stop.is_set():
            pause_s = BATCH_PAUSE_S if await self._count() else self._count_s
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await stop.wait()

    async def _count(self) -> int:
        try:
            if self._price is None:
                self._price = await find_prices(self._services)
            await self._services.store.charge_lost()
            return await self._services.store.count_usage(self._price)
        except ServiceFault as error:
            log.warning("usage_not_counted", error=error)
        except Exception:
            log.exception("usage_not_counted")
        return 0
