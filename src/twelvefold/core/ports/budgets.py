"""The port of budgets: what the model calls of a scope may spend in a day or a month."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, NamedTuple, Protocol

import msgspec
from msgspec import Struct

from twelvefold.core.ids import RunId

Window = Literal["day", "month"]
WINDOWS: tuple[Window, ...] = ("day", "month")
Policy = Literal["refuse", "wait"]
DAY_US = 86_400_000_000
_KINDS = ("principal", "key", "workflow")
_ID_CHARS = 24


class Amount(NamedTuple):
    """Tokens, input and output, and their cost."""

    tokens: int = 0
    micro_usd: int = 0

    def plus(self, other: "Amount") -> "Amount":
        return Amount(self.tokens + other.tokens, self.micro_usd + other.micro_usd)


NOTHING = Amount()


class Spender(Struct, frozen=True):
    """Whose model call it is. `workflows`: that of the run, and that of the run of the caller."""

    principal: str
    key: str = ""
    workflows: tuple[str, ...] = ()


class BudgetScope(Struct, frozen=True):
    """What a budget covers: the model calls with all of these values. "" is any."""

    principal: str = ""
    key: str = ""
    workflow: str = ""

    def __str__(self) -> str:
        """Return the scope as text, for example `principal:ann workflow:support`, or `all`."""
        parts = ((kind, getattr(self, kind)) for kind in _KINDS)
        return " ".join(f"{kind}:{name}" for kind, name in parts if name) or "all"

    def covers(self, spender: Spender) -> bool:
        """Return whether a model call of this spender draws from the budget."""
        return (
            self.principal in ("", spender.principal)
            and self.key in ("", spender.key)
            and (not self.workflow or self.workflow in spender.workflows)
        )


class Period(NamedTuple):
    """A day or a month in UTC, in microseconds since 1970: its begin, and that of the next one."""

    began_us: int
    renews_us: int


@dataclass(frozen=True, slots=True)
class Budget:
    """What the model calls of a scope may spend in a day or a month. None means no limit.

    `policy` is for a run that finds it used up: "refuse" fails the run, "wait" lets it wait until
    the budget renews.
    """

    scope: BudgetScope
    window: Window
    tokens: int | None = None
    micro_usd: int | None = None
    policy: Policy = "refuse"

    @property
    def id(self) -> str:
        """The id: a scope has at most one budget a day and one a month."""
        parts = (self.scope.principal, self.scope.key, self.scope.workflow, self.window)
        return f"bud_{hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:_ID_CHARS]}"

    def period(self, now_us: int) -> Period:
        """Return the day or the month, in UTC, that a time belongs to."""
        now = datetime.fromtimestamp(now_us // 1_000_000, UTC)
        began = now.replace(hour=0, minute=0, second=0)
        if self.window == "day":
            return Period(_us(began), _us(began) + DAY_US)
        began = began.replace(day=1)
        year, month = divmod(began.year * 12 + began.month, 12)
        return Period(_us(began), _us(began.replace(year=year, month=month + 1)))


def _us(time: datetime) -> int:
    return round(time.timestamp()) * 1_000_000


class Reservation(NamedTuple):
    """What a model call may spend of a budget, until it is settled.

    `attempt` is unique among the calls for the entry at `position` of the run. `period_us` is the
    begin of the budget's period, which the call is charged to.
    """

    run: RunId
    position: int
    attempt: str
    budget: str
    period_us: int
    amount: Amount


class Used(NamedTuple):
    """What a budget's period has been charged, and what is reserved for calls in progress."""

    spent: Amount = NOTHING
    reserved: Amount = NOTHING

    @property
    def total(self) -> Amount:
        return self.spent.plus(self.reserved)


class BudgetStore(Protocol):
    """Budgets, and what was spent of them. Every method may raise StoreUnavailable (repeat it)."""

    async def budgets(self) -> tuple[int, Sequence[Budget]]:
        """Return the server's time in microseconds since 1970, and all budgets by scope."""
        ...

    async def set_budget(self, budget: Budget) -> None:
        """Add a budget, or replace the one with its id; runs that wait for it look again."""
        ...

    async def remove_budget(self, id: str) -> None:
        """Remove a budget; runs that wait for it look again. Raises NotFound.

        What was spent of it stays, for a budget that is set again.
        """
        ...

    async def look_again(self, run: RunId, renews_us: int) -> None:
        """Let a run look again that waits until this time; another run stays as it is."""
        ...

    async def used(self, periods: Collection[tuple[str, int]]) -> Mapping[tuple[str, int], Used]:
        """Return what was used of budgets, by id and begin of the period; without those unused."""
        ...

    async def reserve(self, budget: Budget, reservation: Reservation) -> Used | None:
        """Reserve an amount if the budget has room for it; None if that is done, or was before.

        Otherwise returns what is used, and changes nothing.
        """
        ...

    async def settle(self, reservation: Reservation, cost: Amount) -> bool:
        """Replace a reservation by what the call has cost; False if it was settled before."""
        ...

    async def reservations(self, run: RunId) -> Sequence[Reservation]:
        """Return the reservations of a run that are not settled."""
        ...

    async def charge_lost(self) -> int:
        """Charge in full the calls of runs that are over, some at once; return how many."""
        ...
