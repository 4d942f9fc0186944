"""The workload of the simulation: plans of turns, and the tools that they call.

An item names one call, as `plan.turn.reply.index`, so that every effect can be found again.
"""

import asyncio
import json
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from tests.simulation.faults import PROCESSES
from twelvefold.core.events import Item
from twelvefold.core.ids import RunId
from twelvefold.core.ports import CallKey, ReadOnly, Transaction
from twelvefold.core.tools.tool import tool
from twelvefold.core.waiting import Wait
from twelvefold.core.workflow import Workflow
from twelvefold.errors import ToolRefused
from twelvefold.services.model.items import message

TIMEOUT_S = 8.0
"""Of tools with an effect outside the database, some of which take longer."""


@dataclass(frozen=True)
class PlannedCall:
    """One call. `how` is "", "refuse" or "raise"."""

    tool: str
    item: str
    how: str = ""
    takes_s: float = 0.0

    def as_item(self) -> Item:
        arguments = {"item": self.item, "how": self.how, "takes_s": self.takes_s}
        return {
            "type": "function_call",
            "call_id": f"call_{self.item}",
            "name": self.tool,
            "arguments": json.dumps(arguments),
        }


@dataclass(frozen=True)
class Turn:
    """One run: replies that call tools, then one that is text.

    `foreground`: the process that starts it and drives it itself; None: any worker takes it.
    """

    name: str
    replies: tuple[tuple[PlannedCall, ...], ...]
    stream: bool
    cancel_after_s: float | None
    foreground: int | None = None

    def reply(self, index: int) -> list[Item]:
        if index < len(self.replies):
            return [call.as_item() for call in self.replies[index]]
        return [message(f"All of {self.name} is done, and this is what there is to say about it.")]

    @property
    def calls(self) -> Sequence[PlannedCall]:
        return [call for reply in self.replies for call in reply]


@dataclass(frozen=True)
class Plan:
    """A thread: its turns, one after another."""

    starts_at_s: float
    turns: tuple[Turn, ...]


def plans_of(seed: int) -> tuple[Plan, ...]:
    rng = random.Random(f"plans {seed}")
    return tuple(_plan(rng, number) for number in range(rng.choice([1, 2, 2, 3])))


def _plan(rng: random.Random, number: int) -> Plan:
    turns = [_turn(rng, f"{number}.{turn}") for turn in range(rng.choice([1, 1, 1, 2]))]
    return Plan(round(rng.uniform(0, 8), 2), tuple(turns))


def _turn(rng: random.Random, name: str) -> Turn:
    replies = tuple(_reply(rng, f"{name}.{index}") for index in range(rng.randint(1, 4)))
    cancel = round(rng.uniform(0, 40), 2) if rng.random() < 0.12 else None
    stream = rng.random() < 0.3
    foreground = rng.randrange(PROCESSES) if rng.random() < 0.25 else None
    return Turn(name, replies, stream, cancel, foreground)


def _reply(rng: random.Random, name: str) -> tuple[PlannedCall, ...]:
    count = rng.choice([1, 1, 1, 2, 3])
    return tuple(_call(rng, f"{name}.{index}") for index in range(count))


def _call(rng: random.Random, item: str) -> PlannedCall:
    name = rng.choice(
        [
            "order",
            "order",
            "post",
            "ship",
            "ship",
            "pay",
            "pay",
            "stock",
            "weigh",
            "refund",
            "recall",
            "label",
            "doze",
            "expect",
        ]
    )
    how = rng.choices(["", "refuse", "raise"], [18, 1, 1])[0]
    takes_s = rng.choice([0, 0, 0.05, 0.3, 1.0, 3.0])
    if name in ("ship", "pay") and rng.random() < 0.05:
        takes_s = 10.0
    return PlannedCall(name, item, how, takes_s)


# --- the world outside the database ---------------------------------------------------------------


@dataclass(frozen=True)
class Start:
    """A call outside the database that has begun. `lease`: the server's state of it then."""

    item: str
    tool: str
    run: RunId
    process: str
    at_s: float
    lease: str


@dataclass
class Outside:
    """The effects outside the database."""

    starts: dict[str, list[Start]] = field(default_factory=lambda: defaultdict(list))
    keys: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    raised: set[str] = field(default_factory=set)
    ran: Counter[str] = field(default_factory=Counter)
    retried: Counter[str] = field(default_factory=Counter)
    """How often a person has settled a call with "retry"."""
    paid: Counter[str] = field(default_factory=Counter)
    """Replies of the model, by turn and index."""
    mails: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """When each mail was accepted."""
    faults_s: list[float] = field(default_factory=list)
    """When the mail server failed."""


class Stage(Protocol):
    """The part of a simulation that the tools use."""

    outside: Outside

    def begun(self, tool: str, item: str) -> None:
        """Record that a call outside the database begins now."""
        ...


_stages: list[Stage] = []
"""The running simulation is the last one."""


def enter(stage: Stage) -> None:
    _stages.append(stage)


def leave() -> None:
    _stages.pop()


def _ran(item: str) -> None:
    _stages[-1].outside.ran[item] += 1


def _end(item: str, how: str) -> str:
    if how == "refuse":
        raise ToolRefused("not today")
    if how == "raise":
        _stages[-1].outside.raised.add(item)
        raise RuntimeError("broken")
    return f"done {item}"


@tool
async def order(tx: Transaction, item: str, how: str, takes_s: float) -> str:
    """Order an item: a row, for which there is no unique key."""
    _ran(item)
    await tx.execute("INSERT INTO orders (call_id, item) VALUES (:item, :item)", item=item)
    await _takes(takes_s)
    return _end(item, how)


@tool
async def post(tx: Transaction, item: str, how: str, takes_s: float) -> str:
    """Order an item and confirm it by mail."""
    _ran(item)
    await tx.execute("INSERT INTO orders (call_id, item) VALUES (:item, :item)", item=item)
    await tx.send_mail("ann@example.com", item, "It is on its way.")
    await _takes(takes_s)
    return _end(item, how)


@tool(approval=True)
async def refund(tx: Transaction, item: str, how: str, takes_s: float) -> str:
    """Order a refund, once a person allows it."""
    _ran(item)
    await tx.execute("INSERT INTO orders (call_id, item) VALUES (:item, :item)", item=item)
    return _end(item, how)


@tool
async def stock(db: ReadOnly, item: str, how: str, takes_s: float) -> str:
    """Count the orders."""
    _ran(item)
    row = await db.fetch_one("SELECT count(*) AS orders FROM orders WHERE item < :item", item=item)
    assert row is not None
    await _takes(takes_s)
    return _end(item, how)


@tool(effect="pure")
async def weigh(item: str, how: str, takes_s: float) -> str:
    """Weigh an item."""
    _ran(item)
    await _takes(takes_s)
    return _end(item, how)


@tool(effect="unsafe", timeout_s=TIMEOUT_S)
async def ship(item: str, how: str, takes_s: float) -> str:
    """Ship an item."""
    _stages[-1].begun("ship", item)
    await _takes(takes_s)
    return _end(item, how)


@tool(effect="unsafe", timeout_s=TIMEOUT_S)
def label(item: str, how: str, takes_s: float) -> str:
    """Print a label: a plain function, which runs in a thread."""
    _stages[-1].begun("label", item)
    return _end(item, how)


@tool(effect="unsafe", approval=True, timeout_s=TIMEOUT_S)
async def recall(item: str, how: str, takes_s: float) -> str:
    """Recall an item, once a person allows it."""
    _stages[-1].begun("recall", item)
    await _takes(takes_s)
    return _end(item, how)


@tool(timeout_s=TIMEOUT_S)
async def pay(key: CallKey, item: str, how: str, takes_s: float) -> str:
    """Pay for an item; the key makes several tries one payment."""
    _stages[-1].outside.keys[item].add(key)
    _stages[-1].begun("pay", item)
    await _takes(takes_s)
    return _end(item, how)


@tool(effect="pure")
async def doze(item: str, how: str, takes_s: float) -> str | Wait:
    """Wait for a time, after which the call has its result."""
    _ran(item)
    return Wait(until=timedelta(seconds=takes_s)) if not how else _end(item, how)


@tool(effect="pure")
async def expect(item: str, how: str, takes_s: float) -> str | Wait:
    """Wait for the event of the item."""
    _ran(item)
    return Wait(event=item) if not how else _end(item, how)


async def _takes(seconds: float) -> None:
    if seconds:
        await asyncio.sleep(seconds)


SHOP = Workflow(
    "shop",
    "Sell.",
    (order, post, refund, stock, weigh, ship, label, recall, pay, doze, expect),
)


def by_name(plans: Sequence[Plan]) -> Mapping[str, Turn]:
    return {turn.name: turn for plan in plans for turn in plan.turns}
