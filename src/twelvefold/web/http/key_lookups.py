"""Looks up API keys by their hash, with a cache, and limits the lookups of unknown keys.

A flood of unknown keys costs a bounded number of lookups and connections. It does not delay the
refresh of keys in the cache.
"""

import asyncio
import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from twelvefold.core import ApiKey, FoundKey, Store
from twelvefold.errors import StoreUnavailable
from twelvefold.web.http.errors import ApiError
from twelvefold.web.http.summary_log import SummaryLog
from twelvefold.web.http.token_buckets import TokenBuckets

SECOND_US = 1_000_000


@dataclass(frozen=True, slots=True)
class LookupLimits:
    """Limits of the cache and of the lookups of unknown keys.

    A result, found or not, is cached for `fresh_s`. A key that was found is valid for up to
    `stale_s` while it is looked up again; this is the longest time that a revoked key stays valid.

    `client_failures` and `failures` unknown keys may come at once from one client address and from
    all, then `client_failures_per_s` and `failures_per_s` a second. `concurrency` lookups of keys
    that are not cached run at the same time, each on a connection. Up to `max_waiting` wait, up to
    `client_max_waiting` of one address, each for at most `wait_s`. A rejection is sent after
    `rejection_delay_s`, which slows down clients that try keys; at most `max_delayed` are delayed.
    """

    fresh_s: float = 2.0
    stale_s: float = 3.0
    client_failures: int = 20
    client_failures_per_s: float = 1.0
    failures: int = 100
    failures_per_s: float = 10.0
    concurrency: int = 2
    max_waiting: int = 32
    client_max_waiting: int = 8
    wait_s: float = 5.0
    rejection_delay_s: float = 1.0
    max_delayed: int = 256
    max_keys: int = 10_000


@dataclass(frozen=True, slots=True)
class CachedKey:
    """A key that was found at `checked_at`. Its secret is valid until `ends_at`."""

    key: ApiKey
    checked_at: float
    ends_at: float = math.inf


class KeyLookups:
    """Finds keys in the store, each with one lookup at a time. Caches up to `max_keys`."""

    def __init__(
        self,
        store: Store,
        limits: LookupLimits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._limits = limits
        self._clock = clock
        self._known: OrderedDict[str, CachedKey] = OrderedDict()
        self._unknown_until: OrderedDict[str, float] = OrderedDict()
        self._tasks: dict[str, asyncio.Task[CachedKey | None]] = {}
        self._slots = asyncio.Semaphore(limits.concurrency)
        self._waiting: Counter[str] = Counter()
        self._client_failures = TokenBuckets(
            limits.client_failures, limits.client_failures_per_s, clock=clock
        )
        self._all_failures = TokenBuckets(limits.failures, limits.failures_per_s, clock=clock)
        self._delayed = 0
        self._rejections = SummaryLog("unknown_keys_refused")

    async def find(self, sha256: str, client: str) -> CachedKey | None:
        """Return the key with this hash, or None if there is none.

        Raises ApiError with 429 after too many unknown keys, and StoreUnavailable.
        """
        cached = self._known.get(sha256)
        if cached is not None:
            return await self._refresh(sha256, cached)
        if self._unknown_until.get(sha256, 0.0) > self._clock():
            return None
        if task := self._tasks.get(sha256):
            return await asyncio.shield(task)
        return await self._look_up_new(sha256, client)

    async def _refresh(self, sha256: str, cached: CachedKey) -> CachedKey | None:
        self._known.move_to_end(sha256)
        age_s = self._clock() - cached.checked_at
        task = self._tasks.get(sha256)
        if age_s <= self._limits.fresh_s or (task and age_s <= self._limits.stale_s):
            return cached
        return await asyncio.shield(task or self._start(sha256, self._store.find_key(sha256)))

    async def _look_up_new(self, sha256: str, client: str) -> CachedKey | None:
        """Look up a key that is not cached, within the limits of its client and of all clients."""
        try:
            self._take_tokens(client)
        except ApiError:
            await self._delay_rejection()
            raise
        self._waiting[client] += 1
        try:
            found = await asyncio.shield(self._start(sha256, self._find_in_slot(sha256)))
        except BaseException:
            self._give_back_tokens(client)
            raise
        finally:
            self._waiting[client] -= 1
            self._waiting += Counter()  # drops counts of zero
        if found is not None:
            self._give_back_tokens(client)
        return found

    async def _find_in_slot(self, sha256: str) -> FoundKey | None:
        try:
            async with asyncio.timeout(self._limits.wait_s):
                await self._slots.acquire()
        except TimeoutError as error:
            raise StoreUnavailable("too many API keys wait for a lookup") from error
        try:
            return await self._store.find_key(sha256)
        finally:
            self._slots.release()

    def _take_tokens(self, client: str) -> None:
        limits = self._limits
        max_pending = limits.max_waiting + limits.concurrency
        is_full = self._waiting.total() >= max_pending
        if is_full or self._waiting[client] >= limits.client_max_waiting:
            raise self._too_many(client, 1.0)
        if wait_s := self._client_failures.take(client):
            raise self._too_many(client, wait_s)
        if wait_s := self._all_failures.take(""):
            self._client_failures.give_back(client)
            raise self._too_many(client, wait_s)

    async def _delay_rejection(self) -> None:
        if self._delayed >= self._limits.max_delayed:
            return
        self._delayed += 1
        try:
            await asyncio.sleep(self._limits.rejection_delay_s)
        finally:
            self._delayed -= 1

    def _give_back_tokens(self, client: str) -> None:
        self._client_failures.give_back(client)
        self._all_failures.give_back("")

    def _too_many(self, client: str, wait_s: float) -> ApiError:
        self._rejections.add(client=client)
        message = "too many unknown API keys; try again in a moment"
        return ApiError(429, message, code="rate_limit_exceeded", wait_s=wait_s)

    def _start(
        self, sha256: str, lookup: Coroutine[Any, Any, FoundKey | None]
    ) -> asyncio.Task[CachedKey | None]:
        """Start a task for the lookup, for which all requests with the key wait."""
        task = asyncio.get_running_loop().create_task(self._cache_result(sha256, lookup))
        self._tasks[sha256] = task
        task.add_done_callback(lambda done: self._end(sha256, done))
        return task

    async def _cache_result(
        self, sha256: str, lookup: Coroutine[Any, Any, FoundKey | None]
    ) -> CachedKey | None:
        sent_at = self._clock()
        found = await lookup
        now = self._clock()
        if found is None:
            self._known.pop(sha256, None)
            self._unknown_until.pop(sha256, None)
            self._unknown_until[sha256] = now + self._limits.fresh_s
            self._evict(self._unknown_until)
            return None
        # From the begin of the lookup: a slow answer must not make the secret valid for longer.
        ends_at = math.inf if found.left_us is None else sent_at + found.left_us / SECOND_US
        cached = self._known[sha256] = CachedKey(found.key, now, ends_at)
        self._evict(self._known)
        return cached

    def _evict(self, cache: OrderedDict[str, Any]) -> None:
        while len(cache) > self._limits.max_keys:
            cache.popitem(last=False)

    def _end(self, sha256: str, done: asyncio.Task[CachedKey | None]) -> None:
        self._tasks.pop(sha256, None)
        if not done.cancelled():
            done.exception()  # marks it as retrieved: a request that was cancelled does not
