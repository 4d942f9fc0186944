"""Records when API keys were last used, beside the requests.

A request only notes its key in memory. A task writes each key at most once per `WRITE_EVERY_S`, so
the time in the database may be that much too early, and is lost for a process that is killed.
"""

import asyncio
import time
from collections.abc import Callable

from twelvefold.core import Store
from twelvefold.engine import retry_unavailable
from twelvefold.errors import ServiceFault
from twelvefold.observe.log import get_logger

log = get_logger(__name__)
WRITE_EVERY_S = 300.0
MAX_KEYS = 10_000
"""The most keys whose last write is remembered."""


class KeyUses:
    """The keys whose use is not written yet. `clock` gives monotonic seconds."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._written_at: dict[str, float] = {}
        self._used: set[str] = set()
        self._is_needed = asyncio.Event()

    def record(self, key: str) -> None:
        """Note that a key is in use now."""
        written_at = self._written_at.get(key)
        if written_at is None or self._clock() - written_at >= WRITE_EVERY_S:
            self._used.add(key)
            self._is_needed.set()

    async def write(self) -> None:
        """Write the uses until cancelled."""
        while True:
            await self._is_needed.wait()
            self._is_needed.clear()
            while self._used:
                await self._write_one(self._used.pop())

    async def _write_one(self, key: str) -> None:
        if len(self._written_at) >= MAX_KEYS:
            self._written_at.clear()
        # Before the write: what is lost is one time in the list, and the database need not be asked
        # again by each request.
        self._written_at[key] = self._clock()
        try:
            await retry_unavailable(lambda: self._store.touch_key(key))
        except ServiceFault as error:
            log.warning("key_use_not_written", key=key, error=error)
        except Exception:
            log.exception("key_use_not_written", key=key)  # this is the only task that writes them
