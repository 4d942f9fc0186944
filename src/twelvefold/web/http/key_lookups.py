"""API keys by their hash: cached, each looked up once at a time, and unknown ones bounded.

A flood of unknown keys costs a bounded number of lookups, on connections of which others remain. A
key that was found before is looked up again without waiting for any of them.
"""

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from twelvefold.core.ports import ApiKey, Store
from twelvefold.errors import StoreUnavailable
from twelvefold.web.http.errors import ApiError
from twelvefold.web.http.summary_log import SummaryLog
from twelvefold.web.http.token_buckets import TokenBuckets


@dataclass(frozen=True, slots=True)
class LookupLimits:
    """How long a lookup counts, and how many of unknown keys there may be.

    A key counts for `fresh_s`, found or not; while it is being looked up again, for `stale_s`: the
    most by which it can outlive being revoked. `client_failures` and `failures` are unknown keys at
    once, of one client address and of all, and more of them a second. `concurrency` lookups of keys
    that were not known run at a time, each on a connection; `waiting` more wait for them, at most
    `client_waiting` of them for one address, for `wait_s` at most. A refusal is sent
    after `delay_s`, which slows down a client that tries keys one after another; at most `delayed`
    refusals wait at a time.
    """

    fresh_s: float = 2.0
    stale_s: float = 3.0
    client_failures: int = 20
    client_failures_per_s: float = 1.0
    failures: int = 100
    failures_per_s: float = 10.0
    concurrency: int = 2
    waiting: int = 32
    client_waiting: int = 8
    wait_s: float = 5.0
    delay_s: float = 1.0
    delayed: int = 256
    most_keys: int = 10_000


@dataclass(frozen=True, slots=True)
class _Known:
    key: ApiKey
    checked_at: float


class KeyLookups:
    """Finds keys in the store. Its memory is bounded by `most_keys`."""

    def __init__(
        self,
        store: Store,
        limits: LookupLimits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._limits = limits
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._unknown: OrderedDict[str, float] = OrderedDict()
        self._flights: dict[str, asyncio.Task[ApiKey | None]] = {}
        self._places = asyncio.Semaphore(limits.concurrency)
        self._waiting: Counter[str] = Counter()
        self._by_client = TokenBuckets(
            limits.client_failures, limits.client_failures_per_s, clock=clock
        )
        self._of_all = TokenBuckets(limits.failures, limits.failures_per_s, clock=clock)
        self._delayed = 0
        self._refused = SummaryLog("unknown_keys_refused")

    async def find(self, sha256: str, client: str) -> ApiKey | None:
        """Return the key with this hash, None if there is none.

        Raises ApiError with 429 where there were too many unknown keys, and StoreUnavailable.
        """
        known = self._known.get(sha256)
        if known is not None:
            return await self._checked(sha256, known)
        if self._unknown.get(sha256, 0.0) > self._clock():
            return None
        if flight := self._flights.get(sha256):
            return await asyncio.shield(flight)
        return await self._found_first(sha256, client)

    async def _checked(self, sha256: str, known: _Known) -> ApiKey | None:
        self._known.move_to_end(sha256)
        age_s = self._clock() - known.checked_at
        flight = self._flights.get(sha256)
        if age_s <= self._limits.fresh_s or (flight and age_s <= self._limits.stale_s):
            return known.key
        look = flight or self._begin(sha256, self._store.find_key(sha256))
        return await asyncio.shield(look)

    async def _found_first(self, sha256: str, client: str) -> ApiKey | None:
        """Look for a key that was not known, if its client and all together may."""
        try:
            self._charge(client)
        except ApiError:
            await self._delay()
            raise
        self._waiting[client] += 1
        try:
            found = await asyncio.shield(self._begin(sha256, self._in_turn(sha256)))
        except BaseException:
            self._give_back(client)
            raise
        finally:
            self._waiting[client] -= 1
            self._waiting += Counter()  # keeps those that are above zero
        if found is not None:
            self._give_back(client)
        return found

    async def _in_turn(self, sha256: str) -> ApiKey | None:
        try:
            async with asyncio.timeout(self._limits.wait_s):
                await self._places.acquire()
        except TimeoutError as error:
            raise StoreUnavailable("too many keys wait to be looked up") from error
        try:
            return await self._store.find_key(sha256)
        finally:
            self._places.release()

    def _charge(self, client: str) -> None:
        limits = self._limits
        places = limits.waiting + limits.concurrency
        if self._waiting[client] >= limits.client_waiting or self._waiting.total() >= places:
            raise self._too_many(client, 1.0)
        if wait_s := self._by_client.take(client):
            raise self._too_many(client, wait_s)
        if wait_s := self._of_all.take(""):
            self._by_client.give_back(client)
            raise self._too_many(client, wait_s)

    async def _delay(self) -> None:
        if self._delayed >= self._limits.delayed:
            return
        self._delayed += 1
        try:
            await asyncio.sleep(self._limits.delay_s)
        finally:
            self._delayed -= 1

    def _give_back(self, client: str) -> None:
        self._by_client.give_back(client)
        self._of_all.give_back("")

    def _too_many(self, client: str, wait_s: float) -> ApiError:
        self._refused.add(client=client)
        message = "too many unknown API keys; try again in a moment"
        return ApiError(429, message, code="rate_limit_exceeded", wait_s=wait_s)

    def _begin(
        self, sha256: str, lookup: Coroutine[Any, Any, ApiKey | None]
    ) -> asyncio.Task[ApiKey | None]:
        """Look up in a task, so that all requests with the key wait for the same one."""
        task = asyncio.get_running_loop().create_task(self._noted(sha256, lookup))
        self._flights[sha256] = task
        task.add_done_callback(lambda done: self._end(sha256, done))
        return task

    async def _noted(
        self, sha256: str, lookup: Coroutine[Any, Any, ApiKey | None]
    ) -> ApiKey | None:
        found = await lookup
        now = self._clock()
        if found is None:
            self._known.pop(sha256, None)
            self._unknown.pop(sha256, None)
            self._unknown[sha256] = now + self._limits.fresh_s
            self._shorten(self._unknown)
        else:
            self._known[sha256] = _Known(found, now)
            self._shorten(self._known)
        return found

    def _shorten(self, cache: OrderedDict[str, Any]) -> None:
        while len(cache) > self._limits.most_keys:
            cache.popitem(last=False)

    def _end(self, sha256: str, done: asyncio.Task[ApiKey | None]) -> None:
        self._flights.pop(sha256, None)
        if not done.cancelled():
            done.exception()  # each request that waited has had it, too
