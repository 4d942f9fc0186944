"""Limits the requests of API keys and principals in a minute, over all processes.

The bucket of a key or a principal is a row. A process takes a few tokens at once from it and counts
its requests with them, so that few requests write. A token that a process has taken counts as used,
so N processes together admit no more than the limit, counted when the tokens are taken. In a given
minute they admit up to N times `lease_size` more: with tokens that they took shortly before it.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from twelvefold.core import ShareStore, owner_of
from twelvefold.engine import retry_unavailable
from twelvefold.errors import ServiceFault
from twelvefold.web.http.errors import ApiError

MINUTE_US = 60_000_000
LEASE_PARTS = 20
"""A process takes at most one in so many of a minute's tokens at once."""
IDLE_S = 5.0
"""Tokens that a process has not used for so long are returned."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A limit of requests in a minute. `owner` names a key or a principal."""

    owner: str
    per_minute: int

    @property
    def interval_us(self) -> int:
        return max(1, MINUTE_US // self.per_minute)

    @property
    def lease_size(self) -> int:
        return max(1, self.per_minute // LEASE_PARTS)


@dataclass(slots=True)
class _Tokens:
    """What this process knows of a bucket: its own tokens, and when the bucket is full.

    `full_at` and `used_at` are seconds of the process's clock.
    """

    rate: Rate
    count: int = 0
    full_at: float = 0.0
    used_at: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class RateLimiter:
    """Counts requests. `store` has the buckets; `clock` gives monotonic seconds.

    A key has `per_key` requests a minute unless it has a limit of its own, a principal has
    `per_principal`; None: no limit. `has_limits`: there is one of the two.
    """

    def __init__(
        self,
        store: ShareStore,
        per_key: int | None = None,
        per_principal: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.has_limits = per_key is not None or per_principal is not None
        self._per_key = per_key
        self._per_principal = per_principal
        self._store = store
        self._clock = clock
        self._tokens: dict[str, _Tokens] = {}

    def limits(self, principal: str, key: str, own: int | None) -> list[Rate]:
        """Return the limits of a request; `own` is that of its key."""
        rates = []
        if self._per_principal is not None:
            rates.append(Rate(owner_of("principal", principal), self._per_principal))
        if (per_key := own or self._per_key) is not None:
            rates.append(Rate(owner_of("key", key), per_key))
        return rates

    async def take(self, rates: Sequence[Rate]) -> dict[str, str]:
        """Count one request against each limit; return the headers of the tightest.

        Raises ApiError with 429 if one is reached; the request counts against none then.
        """
        taken: list[_Tokens] = []
        try:
            for rate in rates:
                taken.append(await self._take(rate))
        except BaseException:
            for tokens in taken:
                tokens.count += 1
            raise
        return self._headers(min(taken, key=self._remaining)) if taken else {}

    async def _take(self, rate: Rate) -> _Tokens:
        tokens = self._tokens.setdefault(rate.owner, _Tokens(rate))
        tokens.rate = rate
        if tokens.count < 1:
            async with tokens.lock:
                if tokens.count < 1:
                    await self._lease(tokens)
        if tokens.count < 1:
            raise self._rejection(tokens)
        tokens.count -= 1
        tokens.used_at = self._clock()
        return tokens

    async def _lease(self, tokens: _Tokens) -> None:
        """Take tokens from the bucket, unless it is known to be empty."""
        rate = tokens.rate
        if self._wait_s(tokens) > 0:
            return
        sent_at = self._clock()
        grant = await retry_unavailable(
            lambda: self._store.take_tokens(
                rate.owner,
                rate.lease_size,
                capacity_us=rate.per_minute * rate.interval_us,
                interval_us=rate.interval_us,
            )
        )
        tokens.count = grant.granted
        tokens.full_at = sent_at + grant.full_in_us / 1e6

    def _wait_s(self, tokens: _Tokens) -> float:
        """Return how long the bucket has no token; 0 or less: it has one."""
        rate = tokens.rate
        full_us = (rate.per_minute - 1) * rate.interval_us
        return tokens.full_at - self._clock() - full_us / 1e6

    def _remaining(self, tokens: _Tokens) -> float:
        """Return how many tokens the bucket and this process have together."""
        missing_s = max(0.0, tokens.full_at - self._clock())
        in_bucket = tokens.rate.per_minute - missing_s * 1e6 / tokens.rate.interval_us
        return max(0.0, min(float(tokens.rate.per_minute), in_bucket + tokens.count))

    def _rejection(self, tokens: _Tokens) -> ApiError:
        kind = tokens.rate.owner.partition(":")[0]
        return ApiError(
            429,
            f"the limit is {tokens.rate.per_minute} requests a minute for one {kind}",
            code="rate_limit_exceeded",
            wait_s=self._wait_s(tokens),
            headers=self._headers(tokens),
        )

    def _headers(self, tokens: _Tokens) -> dict[str, str]:
        """Source: the rate limit headers of the OpenAI API."""
        rate, remaining = tokens.rate, self._remaining(tokens)
        reset_s = (rate.per_minute - remaining) * rate.interval_us / 1e6
        return {
            "x-ratelimit-limit-requests": str(rate.per_minute),
            "x-ratelimit-remaining-requests": str(math.floor(remaining + 1e-3)),
            "x-ratelimit-reset-requests": f"{math.ceil(reset_s - 1e-3)}s",
        }

    # --- tokens that are not used ---------------------------------------------------------------

    @asynccontextmanager
    async def returning(self) -> AsyncIterator[None]:
        """Return unused tokens to their buckets during the body."""
        task = asyncio.get_running_loop().create_task(self._return_idle(), name="rate limits")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _return_idle(self) -> None:
        while True:
            await asyncio.sleep(IDLE_S)
            with suppress(ServiceFault):  # the buckets fill in a minute anyway
                await self.return_unused(IDLE_S)

    async def return_unused(self, idle_s: float) -> None:
        """Return the tokens that were not used for `idle_s`, and forget their owners."""
        now = self._clock()
        for owner, tokens in [*self._tokens.items()]:
            # An empty bucket is remembered: the next request is rejected without a statement.
            if now - tokens.used_at < idle_s or self._wait_s(tokens) > 0 or tokens.lock.locked():
                continue
            del self._tokens[owner]
            if tokens.count:
                interval_us = tokens.rate.interval_us
                await self._store.return_tokens(owner, tokens.count, interval_us=interval_us)
