"""Token buckets by key: how often something may happen."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

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
