"""Limits how many runs of an API key or a principal are driven at once, over all processes.

Each has numbered slots in the database. A process takes one before it claims a run, so processes
that claim at the same time cannot pass the limit together. The end of the drive frees the slot
without a statement: a slot is taken as long as its run has a live lease.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from secrets import token_hex
from typing import NamedTuple

from twelvefold.core import RunId, Store, owner_of
from twelvefold.engine.retry import retry_unavailable
from twelvefold.errors import ServiceFault

CACHE_TTL_S = 5.0
"""How long the limit of a key is remembered; a change of it counts after that."""
MAX_KEYS = 10_000
POLL_S = 0.25
"""How often `wait_for_slot` tries again."""


class SharesTaken(Exception):
    """All slots of `owner` are taken; there are `limit`."""

    def __init__(self, owner: str, limit: int) -> None:
        kind = owner.partition(":")[0]
        super().__init__(f"{limit} runs of this {kind} are in progress, which is the maximum")
        self.owner = owner


class _Limit(NamedTuple):
    owner: str
    runs: int


class RunShares:
    """The slots of all owners. A key may have a limit of its own instead of `per_key`.

    None: no limit. `clock` gives monotonic seconds.
    """

    def __init__(
        self,
        store: Store,
        per_key: int | None = None,
        per_principal: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._per_key = per_key
        self._per_principal = per_principal
        self._clock = clock
        self._limits: dict[str, tuple[int | None, float]] = {}

    @asynccontextmanager
    async def slot(
        self, principal: str, key_id: str, run: RunId | None = None
    ) -> AsyncIterator["RunSlot"]:
        """Take the slots of a run that the body claims, for as long as it is driven then.

        They are freed if the body raises.

        `run` None: a new run, which the body names with `RunSlot.fill`. Raises SharesTaken, also
        while another process claims the run, and StoreUnavailable.
        """
        slot = RunSlot(self._store, token_hex(16))
        try:
            for limit in await self._find_limits(principal, key_id):
                await slot.take(limit.owner, limit.runs, run)
            yield slot
        except BaseException:
            await slot.free()
            raise
        if run is not None:
            await slot.fill(run)

    @asynccontextmanager
    async def wait_for_slot(
        self, principal: str, key_id: str, run: RunId
    ) -> AsyncIterator["RunSlot"]:
        """Take the slots of a run as `slot` does, when they are free."""
        while True:
            with suppress(SharesTaken):
                async with self.slot(principal, key_id, run) as slot:
                    yield slot
                    return
            await asyncio.sleep(POLL_S)

    async def _find_limits(self, principal: str, key_id: str) -> Sequence[_Limit]:
        limits = []
        if self._per_principal is not None:
            limits.append(_Limit(owner_of("principal", principal), self._per_principal))
        per_key = await self._limit_of_key(key_id) if key_id else None
        if per_key is not None:
            limits.append(_Limit(owner_of("key", key_id), per_key))
        return limits

    async def _limit_of_key(self, key_id: str) -> int | None:
        own, read_at = self._limits.get(key_id, (None, float("-inf")))
        if self._clock() - read_at > CACHE_TTL_S:
            own = await retry_unavailable(lambda: self._store.max_runs(key_id))
            if len(self._limits) >= MAX_KEYS:
                self._limits.clear()
            self._limits[key_id] = own, self._clock()
        return self._per_key if own is None else own


class RunSlot:
    """The slots that one run has taken, of its principal and of its key."""

    def __init__(self, store: Store, token: str) -> None:
        self._store = store
        self._token = token
        self._owners: list[str] = []

    async def take(self, owner: str, limit: int, run: RunId | None) -> None:
        """Take a slot of one owner. Raises SharesTaken."""
        token = self._token
        if not await retry_unavailable(lambda: self._store.take_slot(owner, limit, token, run)):
            raise SharesTaken(owner, limit)
        self._owners.append(owner)

    async def fill(self, run: RunId) -> None:
        """Name the run of the slots. If that fails they end early, and the run does not count."""
        with suppress(ServiceFault):
            for owner in self._owners:
                await self._store.fill_slot(owner, self._token, run)

    async def free(self) -> None:
        """Free the slots of a run that was not claimed. If that fails, they end by themselves."""
        with suppress(ServiceFault):
            for owner in self._owners:
                await self._store.free_slot(owner, self._token)
        self._owners.clear()
