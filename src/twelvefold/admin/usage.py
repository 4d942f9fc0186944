"""The usage of runs that ended, for the command line."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from twelvefold.boot import now_us
from twelvefold.core import UsageFilter, UsageSum
from twelvefold.engine import Services, find_prices

MAX_BATCHES = 100
"""The most batches that are counted before the sums are read: about 15,000 runs."""


async def read_usage(services: Services, filter: UsageFilter, *, limit: int) -> Sequence[UsageSum]:
    """Return sums of usage, of the runs too that no worker has counted yet.

    Without a worker, for example on an embedded database, this counts them.
    """
    price = await find_prices(services)
    for _ in range(MAX_BATCHES):
        if not await services.store.count_usage(price):
            break
    return await services.store.usage(filter, limit=limit)


def last_days(days: int, now: int | None = None) -> tuple[str, str]:
    """Return the first and the last of the last days, today included, in UTC.

    `now` is in microseconds since 1970.
    """
    seconds = (now_us() if now is None else now) // 1_000_000
    today = datetime.fromtimestamp(seconds, UTC).date()
    return (today - timedelta(days=days - 1)).isoformat(), today.isoformat()
