"""The port of usage: tokens and cost of runs that ended, summed by day, workflow and principal."""

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from msgspec import Struct

from twelvefold.core.budget import Price

UsageGroup = Literal["day", "workflow", "principal"]
FindPrice = Callable[[str], Price | None]
"""Returns the price of a model by its name in MODELS or "default"; None if it is unknown."""


def no_price(model: str) -> Price | None:
    """Know no price."""
    return None


class UsageFilter(Struct, frozen=True):
    """Which usage to sum; "" leaves out a condition.

    The days, as `2026-11-30` in UTC, are those on which runs ended; both are included. There is one
    sum for each combination of `by`: the day, with at most one of the others, or one of the others.
    """

    first_day: str
    last_day: str
    by: tuple[UsageGroup, ...] = ("day",)
    workflow: str = ""
    principal: str = ""


class UsageSum(Struct, frozen=True):
    """The usage of runs that ended. A part that is no group of the sum is None.

    `failed` are those of the runs that failed. `micro_usd` is the cost of those whose price is
    known, None if it is known for none.
    """

    day: str | None = None
    workflow: str | None = None
    principal: str | None = None
    runs: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    micro_usd: int | None = None


class UsageStore(Protocol):
    """Sums of usage. Every method may raise StoreUnavailable."""

    async def count_usage(self, price: FindPrice) -> int:
        """Add runs that ended to the sums, each of them once; return how many.

        Adds a bounded number of runs, the first to end first. 0: all are counted, or another
        process counts them.
        """
        ...

    async def usage(self, filter: UsageFilter, *, limit: int) -> Sequence[UsageSum]:
        """Return the sums in the order of their days, or else those with the most tokens first."""
        ...
