"""The world of the engine's tests: a shop, its database, and processes that start and die.

A process is `Services` over a connection of its own. The places that it reaches call its
`Trouble`, which causes a fault at one of them.
"""

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.builders import untimed, user
from tests.waiting import HANG_S
from twelvefold.backoff import Backoff
from twelvefold.boot.workflows import with_started
from twelvefold.core.budget import Limits
from twelvefold.core.conversation.attachments import ALL_INPUTS
from twelvefold.core.events import (
    DEFAULT_OPTIONS,
    Entry,
    Event,
    RequestOptions,
    RunStarted,
    ToolError,
    ToolFailed,
    Usage,
)
from twelvefold.core.ids import LeaseToken, RunId, ThreadId, family_of
from twelvefold.core.models import DEFAULT_MODEL, ModelProfile
from twelvefold.core.ports import (
    Append,
    CallKey,
    Claim,
    Delta,
    Lease,
    Listener,
    Model,
    ModelReply,
    ModelRequest,
    NullListener,
    Principal,
    ReadOnly,
    RunRecord,
    StepTransaction,
    SyncReadOnly,
    SyncTransaction,
    ThreadRecord,
    Transaction,
)
from twelvefold.core.ports.budgets import Amount, Budget, Reservation, Used
from twelvefold.core.tools.tool import tool
from twelvefold.core.workflow import Workflow
from twelvefold.engine.commands import RunRequest, start_run, take
from twelvefold.engine.drive import Outcome, drive
from twelvefold.engine.held_run import HeldRun
from twelvefold.engine.lease import Clock
from twelvefold.engine.perform import FAULT
from twelvefold.engine.retry import RetryPolicy
from twelvefold.engine.services import Services, Timings
from twelvefold.engine.uninterrupted import ExitLimit
from twelvefold.errors import Conflict, StoreUnavailable, ToolRefused
from twelvefold.services.model.scripted import Script, Scripted, ScriptedModel
from twelvefold.services.store.sql.base import wall_clock_us
from twelvefold.services.store.sqlite import WORDS
from twelvefold.services.store.sqlite.store import SQLiteStore

SCHEMA = "create table bought (item text not null, who text not null);"
LIMITS = Limits(deadline_s=HANG_S, lease_s=HANG_S)
TIMINGS = Timings(
    retry=RetryPolicy(Backoff(first_s=0.001, longest_s=0.002), timeout_s=HANG_S),
    release_s=HANG_S,
    settlement_s=0.0,
    start_settlement_s=0.0,
)
FREQUENT_DELTAS = replace(TIMINGS, delta_s=0.001, delta_retry_s=0.001)
ANN = Principal("ann")


class Crash(GeneratorExit):
    """The process is gone: nothing after this has any effect."""


class Trouble:
    """Causes a fault at the n-th place that a process reaches, or at certain places.

    Places whose names begin with one of `spares` are not counted.
    """

    def __init__(
        self,
        happens: Callable[[], None] = lambda: None,
        *,
        at: int = 0,
        places: Collection[str] = (),
        times: int = 1,
        spares: tuple[str, ...] = (),
    ) -> None:
        self._happens = happens
        self._at = at
        self._places = places
        self._times = times
        self.times_caused = 0
        self._spares = spares
        self._passed = 0
        self._dead = False

    def reach(self, place: str) -> None:
        if self._dead:
            raise Crash(place)
        if self._spares and place.startswith(self._spares):
            return
        self._passed += 1
        if self._passed == self._at or place in self._places:
            self._strike()

    def die(self) -> None:
        """End the process here."""
        self._dead = True
        raise Crash

    def _strike(self) -> None:
        self._times -= 1
        if self._times < 0:
            return
        self.times_caused += 1
        try:
            self._happens()
        except Crash:
            self._dead = True
            raise


def kill() -> None:
    raise Crash


WITHOUT_DATABASE = ("an unsafe tool", "an idempotent tool", "a pure tool")
"""Places from which no database is used, so that none can be lost."""


def cut_off() -> None:
    raise StoreUnavailable("the database cannot be reached")


@dataclass
class World:
    """The effects outside the database."""

    shipped: list[str] = field(default_factory=list)
    notified: list[tuple[CallKey, str]] = field(default_factory=list)
    trouble: Trouble = field(default_factory=Trouble)

    def reset(self) -> None:
        self.shipped, self.notified, self.trouble = [], [], Trouble()

    async def reach(self, place: str) -> None:
        self.trouble.reach(place)
        await asyncio.sleep(0)  # where a cancellation arrives


world = World()


@tool
async def look(db: ReadOnly, item: str) -> dict[str, object]:
    """Look at an item."""
    await world.reach("a reading tool")
    row = await db.fetch_one("select count(*) as sold from bought where item = :item", item=item)
    assert row is not None
    return {"item": item, **row}


@tool(effect="pure")
async def weigh(item: str) -> int:
    """Weigh an item."""
    await world.reach("a pure tool")
    return len(item)


@tool
async def buy(tx: Transaction, who: Principal, item: str) -> str:
    """Buy an item."""
    insert = "insert into bought (item, who) values (:item, :who)"
    await world.reach("a transaction, before its rows")
    await tx.execute(insert, item=item, who=who.id)
    await world.reach("a transaction, after its rows")
    if item == "a dragon":
        raise ToolRefused("there are no dragons; look at the lamps")
    if item == "a curse":
        raise RuntimeError("cursed")
    return f"bought {item}"


@tool
def inspect(db: SyncReadOnly, item: str) -> int:
    """Inspect an item, in a thread."""
    world.trouble.reach("a thread that reads")
    row = db.fetch_one("select count(*) as sold from bought where item = :item", item=item)
    assert row is not None
    return len(item)


@tool
def order(tx: SyncTransaction, who: Principal, item: str) -> str:
    """Order an item, in a thread."""
    world.trouble.reach("a thread's transaction, before its rows")
    tx.execute("insert into bought (item, who) values (:item, :who)", item=item, who=who.id)
    world.trouble.reach("a thread's transaction, after its rows")
    if item == "a dragon":
        raise ToolRefused("there are no dragons; look at the lamps")
    if item == "a curse":
        raise RuntimeError("cursed")
    return f"ordered {item}"


@tool(effect="unsafe")
async def ship(item: str) -> str:
    """Ship an item."""
    await world.reach("an unsafe tool, before it acts")
    world.shipped.append(item)
    await world.reach("an unsafe tool, after it acted")
    return f"shipped {item}"


@tool
async def notify(key: CallKey, item: str) -> str:
    """Tell the owner of an item."""
    await world.reach("an idempotent tool, before it acts")
    world.notified.append((key, item))
    await world.reach("an idempotent tool, after it acted")
    return f"told {item}"


@tool(approval=True)
async def refund(tx: Transaction, who: Principal, item: str) -> str:
    """Give the money back."""
    await tx.execute("delete from bought where item = :item and who = :who", item=item, who=who.id)
    return f"refunded {item}"


SHOP = Workflow("shop", "Sell.", (look, weigh, inspect, buy, order, ship, notify, refund))


class TroubledStore(SQLiteStore):
    """The store of a process that may have a fault around every use of its database."""

    def __init__(self, path: str, trouble: Trouble) -> None:
        super().__init__(path)
        self._trouble = trouble

    def append(self, change: Append) -> Any:
        return self._append(change)

    @asynccontextmanager
    async def _append(self, change: Append) -> AsyncIterator[StepTransaction]:
        self._trouble.reach("before a step's transaction")
        async with super().append(change) as tx:
            self._trouble.reach("behind the fence")
            yield tx
            self._trouble.reach("before a step's commit")
        self._trouble.reach("after a step's commit")

    async def add_delta(self, thread: ThreadId, delta: Delta) -> None:
        self._trouble.reach("before a delta")
        await super().add_delta(thread, delta)
        self._trouble.reach("after a delta")

    async def claim(
        self,
        run: RunId,
        lease_s: float,
        token: LeaseToken | None = None,
        lock_wait_s: float = 0.0,
    ) -> Claim | None:
        self._trouble.reach("before a claim")
        claimed = await super().claim(run, lease_s, token, lock_wait_s)
        self._trouble.reach("after a claim")
        return claimed

    async def load(self, thread: ThreadId) -> ThreadRecord:
        self._trouble.reach("before a load")
        return await super().load(thread)

    async def record_usage(self, lease: Lease, usage: Usage) -> None:
        self._trouble.reach("before usage is recorded")
        await super().record_usage(lease, usage)
        self._trouble.reach("after usage is recorded")

    async def reserve(self, budget: Budget, reservation: Reservation) -> Used | None:
        self._trouble.reach("before a reservation")
        full = await super().reserve(budget, reservation)
        self._trouble.reach("after a reservation")
        return full

    async def settle(self, reservation: Reservation, cost: Amount) -> bool:
        self._trouble.reach("before a settlement")
        is_first = await super().settle(reservation, cost)
        self._trouble.reach("after a settlement")
        return is_first

    async def release(self, lease: Lease, **how: Any) -> bool:
        self._trouble.reach("before a release")
        cancel_asked = await super().release(lease, **how)
        self._trouble.reach("after a release")
        return cancel_asked


class TroubledModel:
    """A model whose process may have a fault before and after a reply."""

    def __init__(self, model: Model, trouble: Trouble, requests: list[ModelRequest]) -> None:
        self._model = model
        self._trouble = trouble
        self._requests = requests

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        self._requests.append(request)
        self._trouble.reach("before a reply")
        reply = await self._model.reply(request, listener)
        self._trouble.reach("amid a reply")
        return reply

    async def close(self) -> None:
        await self._model.close()


class FixedIds:
    """The same ids every time."""

    def __init__(self) -> None:
        self._made = 0

    def thread(self) -> ThreadId:
        self._made += 1
        return ThreadId(f"{self._made:044x}")

    def thread_in_family(self, of: ThreadId) -> ThreadId:
        self._made += 1
        return ThreadId(f"{family_of(of)}{self._made:024x}")


@dataclass
class RecordingListener:
    """A listener that records everything; `shown_count` counts the calls of `shown`."""

    entries: list[Entry] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    shown_count: int = 0

    def text(self, delta: str) -> None:
        self.texts.append(delta)

    def restarted(self, why: str) -> None:
        self.texts.clear()

    def recorded(self, entry: Entry) -> None:
        self.entries.append(entry)

    def shown(self) -> None:
        self.shown_count += 1


class Stage:
    """One database, and the processes on it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.requests: list[ModelRequest] = []
        self.timings = TIMINGS
        self._stores: list[SQLiteStore] = []
        self._passed_us = 0
        self._ids = FixedIds()

    def process(
        self,
        *replies: Scripted,
        model: Model | None = None,
        limits: Limits = LIMITS,
        workflow: Workflow = SHOP,
        trouble: Trouble | None = None,
        monotonic: Clock = time.monotonic,
        timings: Timings | None = None,
        accepts: frozenset[str] = ALL_INPUTS,
    ) -> Services:
        """Return a process with its own connection, whose model gives these replies in order."""
        trouble = trouble or Trouble()
        store = TroubledStore(str(self.path), trouble)
        self._add(store)
        troubled = TroubledModel(model or ScriptedModel(scripted(*replies)), trouble, self.requests)
        workflows = with_started({workflow.name: workflow})
        return Services(
            store,
            troubled,
            workflows,
            self._ids,
            limits,
            "1.0",
            monotonic,
            timings=timings or self.timings,
            exit_limit=ExitLimit(release_s=HANG_S),
            internal=frozenset(workflows) - {workflow.name},
            profiles={DEFAULT_MODEL: ModelProfile(accepts=accepts)},
        )

    async def entries(self, run: RunId) -> tuple[Entry, ...]:
        return (await self._store.load(run.thread)).entries

    async def journal(self, run: RunId) -> list[Event]:
        return [untimed(entry.event) for entry in await self.entries(run)]

    async def record(self, run: RunId) -> RunRecord:
        return await self._store.run(run)

    async def runs(self) -> list[RunId]:
        return [record.run for record in await self._store.runs(limit=100)]

    async def bought(self) -> list[str]:
        async with self._store.read() as db:
            return [row["item"] for row in await db.fetch_all("select item from bought order by 1")]

    async def forget_bought(self) -> None:
        async with self._store.write() as tx:
            await tx.execute("delete from bought")

    def let_time_pass(self, time_s: float) -> None:
        """Move the database's clock for all processes, also for those that start later."""
        self._passed_us += round(time_s * 1_000_000)
        for store in self._stores:
            self._set_clock(store)

    def _set_clock(self, store: SQLiteStore) -> None:
        passed_us = self._passed_us
        store._load({**WORDS, "now_us": f"({WORDS['now_us']} + {passed_us})"})
        store._now_us = lambda: wall_clock_us() + passed_us

    async def let_leases_run_out(self) -> None:
        async with self._store.write() as tx:
            await tx.execute("update runs set lease_until = 0")

    async def close(self) -> None:
        for store in self._stores:
            await store.close()

    @cached_property
    def _store(self) -> SQLiteStore:
        store = SQLiteStore(str(self.path))
        self._add(store)
        return store

    def _add(self, store: SQLiteStore) -> None:
        self._stores.append(store)
        self._set_clock(store)


def scripted(*replies: Scripted) -> Script:
    """Return a script that gives the first reply that is not in the conversation yet."""

    def script(request: ModelRequest) -> Scripted:
        own = sum(_is_the_models(item) for item in request.items)
        for reply in replies:
            if not own or isinstance(reply, Exception):
                return reply
            own -= len(reply.items if isinstance(reply, ModelReply) else reply)
        raise AssertionError("the model has no more replies")

    return script


def _is_the_models(item: dict[str, object]) -> bool:
    return item.get("role") == "assistant" or item["type"] == "function_call"


async def start(
    services: Services,
    text: str = "a lamp, please",
    thread: ThreadId | None = None,
    options: RequestOptions = DEFAULT_OPTIONS,
) -> HeldRun:
    return await start_run(
        services,
        RunRequest(
            workflow="shop", principal=ANN, items=[user(text)], thread=thread, options=options
        ),
    )


async def drive_new(services: Services, listener: Listener | None = None) -> Outcome:
    """Drive a new run until it rests."""
    return await drive(services, await start(services), listener or NullListener())


async def resume(services: Services, run: RunId) -> Outcome:
    """Drive a run that another process left until it rests."""
    return await drive(services, await take(services, run), NullListener())


async def take_over(stage: Stage, services: Services, run: RunId) -> HeldRun:
    """Claim a run for this process, while the one that holds it renews its lease."""
    while True:
        await stage.let_leases_run_out()
        with suppress(Conflict):  # a renewal came in between
            return await take(services, run)


def after_start(events: Sequence[Event]) -> list[Event]:
    """Return a journal without the entries that start its runs."""
    return [event for event in events if not isinstance(event, RunStarted)]


@contextmanager
def fast_directory() -> Iterator[Path]:
    """Return a directory in memory if possible: these databases need not survive a power cut."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as made:
        yield Path(made)


@asynccontextmanager
async def staged(template: Path) -> AsyncIterator[Stage]:
    """Return a stage with its own database, and reset the world."""
    world.reset()
    with fast_directory() as directory:
        stage = Stage(Path(shutil.copy(template, directory)))
        try:
            yield stage
        finally:
            await stage.close()


def fault(event: Event) -> tuple[str, str, ToolError]:
    """Return the call, the tool and the exception of a fault, without its place in the code."""
    assert isinstance(event, ToolFailed)
    assert (event.failure, event.message) == ("fault", FAULT)
    assert event.error is not None
    return event.call, event.tool, ToolError(event.error.type, event.error.message)
