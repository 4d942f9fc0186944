"""The budgets that cover a run, as this process has read them, and the prices that they need.

A process reads all budgets at most every `CACHE_TTL_S`, so a new one takes effect after that time
at the latest. Without budgets nothing else is read or imported.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from twelvefold.core import DEFAULT_MODEL, Price, Thread
from twelvefold.core.ports.budgets import Budget, Spender
from twelvefold.engine.lease import Clock
from twelvefold.errors import PriceUnknown

CACHE_TTL_S = 10.0
ReadBudgets = Callable[[], Awaitable[tuple[int, Sequence[Budget]]]]
FindPrice = Callable[[str], Price | None]


def unknown(model: str) -> Price | None:
    """Return that no price is known."""
    return None


NO_BUDGETS: tuple[Budget, ...] = ()


class BudgetBook:
    """The budgets of the database. `read` returns them with the server's time.

    `find_price` returns the price of a model by its name in MODELS or "default", None if it is
    unknown; it may import a large data set, so it is called in a thread.
    """

    def __init__(self, read: ReadBudgets, find_price: FindPrice, monotonic: Clock) -> None:
        self._read = read
        self._find_price = find_price
        self._monotonic = monotonic
        self._budgets: Sequence[Budget] = ()
        self._read_at: float | None = None
        self._clock_us = 0
        self._reading = asyncio.Lock()
        self._prices: dict[str, Price | None] = {}

    async def covering(self, caller: Thread | Spender) -> Sequence[Budget]:
        """Return the budgets that the model calls of a run, or of a spender, draw from."""
        if not self._is_fresh:
            async with self._reading:
                if not self._is_fresh:
                    await self.refresh()
        if not self._budgets:
            return NO_BUDGETS
        spender = caller if isinstance(caller, Spender) else _spender_of(caller)
        return [one for one in self._budgets if one.scope.covers(spender)]

    async def refresh(self) -> None:
        """Read the budgets again."""
        sent_at = self._monotonic()
        now_us, self._budgets = await self._read()
        self._clock_us = now_us - round(sent_at * 1_000_000)
        self._read_at = sent_at

    @property
    def now_us(self) -> int:
        """The server's time, in microseconds since 1970, as known since the last reading."""
        return self._clock_us + round(self._monotonic() * 1_000_000)

    @property
    def _is_fresh(self) -> bool:
        return self._read_at is not None and self._monotonic() - self._read_at < CACHE_TTL_S

    async def price(self, model: str, budgets: Sequence[Budget]) -> Price | None:
        """Return a model's price if one of the budgets is in USD. Raises PriceUnknown."""
        in_usd = next((one for one in budgets if one.micro_usd is not None), None)
        if in_usd is None:
            return None
        if model not in self._prices:
            self._prices[model] = await asyncio.to_thread(self._find_price, model)
        price = self._prices[model]
        if price is None:
            raise PriceUnknown(unknown_price(model, in_usd))
        return price


def unknown_price(model: str, budget: Budget) -> str:
    """Return the error of a budget in USD that covers a model without a price."""
    setting = "OPENAI_PRICE" if model == DEFAULT_MODEL else f"the price of {model!r} in MODELS"
    return f"the budget of {budget.scope} is in USD, and a price is unknown: set {setting}"


def _spender_of(thread: Thread) -> Spender:
    from twelvefold.core.spending import spender_of  # only a process with budgets needs it

    return spender_of(thread)
