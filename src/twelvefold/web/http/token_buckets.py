"""Token buckets by key, in bounded memory."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

MOST_KEYS = 10_000


@dataclass(slots=True)
class Bucket:
    """What a key has left; `at` is when that was so."""

    left: float
    at: float


class TokenBuckets:
    """A bucket for each key: `size` tokens at once, then `per_s` a second.

    A bucket that has filled up again is forgotten. With more than `most_keys` in use, the one that
    was used least recently is forgotten, too.
    """

    def __init__(
        self,
        size: float,
        per_s: float,
        *,
        most_keys: int = MOST_KEYS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.size = size
        self.per_s = per_s
        self._most_keys = most_keys
        self._clock = clock
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: str) -> float:
        """Take a token; return 0, or, if there is none, in how many seconds there will be one."""
        bucket = self._filled(key)
        if bucket.left < 1:
            return (1 - bucket.left) / self.per_s
        bucket.left -= 1
        return 0.0

    def give_back(self, key: str) -> None:
        """Return a token that was taken."""
        bucket = self._filled(key)
        bucket.left = min(self.size, bucket.left + 1)

    def left(self, key: str) -> float:
        """How many tokens the key has."""
        return self._filled(key).left

    def _filled(self, key: str) -> Bucket:
        now = self._clock()
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = Bucket(self.size, now)
        self._buckets.move_to_end(key)
        bucket.left = min(self.size, bucket.left + (now - bucket.at) * self.per_s)
        bucket.at = now
        self._forget(now)
        return bucket

    def _forget(self, now: float) -> None:
        full_after_s = self.size / self.per_s
        while len(self._buckets) > 1:
            oldest = next(iter(self._buckets.values()))
            if len(self._buckets) <= self._most_keys and now - oldest.at < full_after_s:
                return
            self._buckets.popitem(last=False)
