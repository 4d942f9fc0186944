"""Rate limits: token buckets by key, and the limit of requests per API key."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from twelvefold.web.http.errors import ApiError

MAX_KEYS = 10_000


@dataclass(slots=True)
class _Bucket:
    tokens: float
    updated_at: float


class TokenBuckets:
    """A bucket for each key: `size` tokens at first, then `per_s` tokens a second up to `size`.

    Memory is bounded: full buckets are dropped, and so is the least recently used one if there are
    more than `max_keys`.
    """

    def __init__(
        self,
        size: float,
        per_s: float,
        *,
        max_keys: int = MAX_KEYS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.size = size
        self.per_s = per_s
        self._max_keys = max_keys
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: str) -> float:
        """Take a token and return 0; without a token, return the seconds until there is one."""
        bucket = self._refill(key)
        if bucket.tokens < 1:
            return (1 - bucket.tokens) / self.per_s
        bucket.tokens -= 1
        return 0.0

    def give_back(self, key: str) -> None:
        """Return a token that was taken."""
        bucket = self._refill(key)
        bucket.tokens = min(self.size, bucket.tokens + 1)

    def available(self, key: str) -> float:
        """Return how many tokens the key has."""
        return self._refill(key).tokens

    def _refill(self, key: str) -> _Bucket:
        now = self._clock()
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(self.size, now)
        self._buckets.move_to_end(key)
        elapsed_s = now - bucket.updated_at
        bucket.tokens = min(self.size, bucket.tokens + elapsed_s * self.per_s)
        bucket.updated_at = now
        self._evict(now)
        return bucket

    def _evict(self, now: float) -> None:
        full_after_s = self.size / self.per_s
        while len(self._buckets) > 1:
            oldest = next(iter(self._buckets.values()))
            if len(self._buckets) <= self._max_keys and now - oldest.updated_at < full_after_s:
                return
            self._buckets.popitem(last=False)


class RateLimiter:
    """At most `per_minute` requests per minute and key in this process; None means no limit.

    A key may send a minute's requests at once.
    """

    def __init__(self, per_minute: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._buckets = TokenBuckets(per_minute or 1, (per_minute or 1) / 60, clock=clock)

    def take(self, key: str) -> dict[str, str]:
        """Count one request and return the rate limit headers. Raises ApiError with 429."""
        if self._per_minute is None:
            return {}
        if wait_s := self._buckets.take(key):
            raise ApiError(
                429,
                f"the limit is {self._per_minute} requests a minute for one key",
                code="rate_limit_exceeded",
                wait_s=wait_s,
                headers=self._headers(key, self._per_minute),
            )
        return self._headers(key, self._per_minute)

    def _headers(self, key: str, per_minute: int) -> dict[str, str]:
        """Source: the rate limit headers of the OpenAI API."""
        available = self._buckets.available(key)
        reset_s = math.ceil((per_minute - available) * 60 / per_minute)
        return {
            "x-ratelimit-limit-requests": str(per_minute),
            "x-ratelimit-remaining-requests": str(math.floor(available)),
            "x-ratelimit-reset-requests": f"{reset_s}s",
        }
