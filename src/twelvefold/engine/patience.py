"""Waiting for a database that is away, or that asks for a transaction to be tried again."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from twelvefold.errors import StoreUnavailable
from twelvefold.observe.log import get_logger

log = get_logger(__name__)
Result = TypeVar("Result")
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0


async def patiently(work: Callable[[], Awaitable[Result]], patience_s: float) -> Result:
    """Do something that may be done again until the database takes it.

    Raises StoreUnavailable when it has not by then. `math.inf`: somebody else's deadline ends it.
    """
    loop = asyncio.get_running_loop()
    end, pause_s = loop.time() + patience_s, FIRST_PAUSE_S
    while True:
        try:
            return await work()
        except StoreUnavailable as error:
            if loop.time() + pause_s > end:
                raise
            log.warning("tried_again", error=str(error))
        await asyncio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311 - jitter, no secret
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
