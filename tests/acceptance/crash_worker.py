"""A process that drives one run and stops dead at a named place, for its parent to kill it.

The product knows nothing of this: the store and the model are wrapped here. The parent is told
by a pipe: `run` and the run's id, `at` and the place, `end` and how it ended. At its place the
process stands until it is told to go on, or is killed.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, cast

import twelvefold.services.store.mysql.connections
from twelvefold.boot import RandomIds
from twelvefold.core.budget import Limits
from twelvefold.core.events import Entry, Event
from twelvefold.core.ids import LeaseToken, RunId
from twelvefold.core.ports import (
    Append,
    Claim,
    Lease,
    Listener,
    ModelReply,
    ModelRequest,
    NewRun,
    NullListener,
    Principal,
    StepTransaction,
    Transaction,
)
from twelvefold.engine.commands import RunRequest, start_run, take
from twelvefold.engine.drive import drive
from twelvefold.engine.held_run import HeldRun
from twelvefold.engine.services import Services
from twelvefold.errors import Conflict, StaleRun
from twelvefold.services.model import open_model
from twelvefold.services.model.openai import OpenAIModel
from twelvefold.services.store.mysql.connection import MySQLConnection
from twelvefold.services.store.mysql.store import MySQLStore
from twelvefold.services.store.mysql.url import connect_arguments
from twelvefold.workflows.enrolment.workflow import workflow

LEASE_S = 1.0
SPECS = [tool.spec for tool in workflow.tools]  # made once, in the process that forks the others
if TYPE_CHECKING:
    Wire = Connection[str, str]
else:
    Wire = Connection
_WITHIN: ContextVar[str] = ContextVar("within", default="")
"""Whose transaction this is: a run's start, a step's, or nobody's that matters."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a process is to do: take up `run`, or start one if there is none.

    It stops at `halt`, as in `rows:2`: where the rows of the second step are written. With a
    `lease_s` of a minute no other process takes the run from it, however slow the machine is.
    """

    database_url: str
    model_url: str
    student: str
    wish: str
    run: RunId | None = None
    halt: str = ""
    apart: bool = False
    lease_s: float = LEASE_S


class Halt:
    """Stops the whole process the n-th time that it comes to a place."""

    def __init__(self, at: str, wire: Wire) -> None:
        self._place, _, number = at.partition(":")
        self._left = int(number or 1)
        self._wire = wire
        self.renewing = asyncio.Lock()

    async def reach_outside(self, place: str) -> None:
        """Reach a place outside a step, where a process that stands holds no row locked.

        A renewal has a transaction of its own: stopped in the middle of it, the process would
        keep everybody out for as long as it stands.
        """
        async with self.renewing:
            self.reach(place)

    def reach(self, place: str) -> None:
        if self.is_next(place):
            self._wire.send(f"at {place}")
            try:
                self._wire.recv()
            except EOFError:
                os._exit(1)  # the parent is gone
        if place == self._place:
            self._left -= 1

    def is_next(self, place: str) -> bool:
        return place == self._place and self._left == 1


class HaltingConnection(MySQLConnection):
    """Stops around the last packet: before it is sent, and before its answer is read."""

    halt: Halt

    async def _commit(self) -> None:
        within = _WITHIN.get()
        if not within:
            return await super()._commit()
        self.halt.reach(f"{within}_written")
        if not self.halt.is_next(f"{within}_sent"):
            self.halt.reach(f"{within}_sent")
            return await super()._commit()
        committing = asyncio.ensure_future(super()._commit())
        await asyncio.sleep(0)  # the packet is out, the answer is not in
        self.halt.reach(f"{within}_sent")
        return await committing


class WatchedTransaction:
    """A step's transaction that tells where it is; a tool writes to `rows`."""

    def __init__(self, tx: StepTransaction, rows: "Transaction | Apart", halt: Halt) -> None:
        self._tx = tx
        self._rows = rows
        self._halt = halt

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rows, name)

    @property
    def is_fenced(self) -> bool:
        return self._tx.is_fenced

    @property
    def mails(self) -> int:
        return self._tx.mails

    async def execute(self, statement: str, /, **values: Any) -> int:
        matched = await self._rows.execute(statement, **values)
        self._halt.reach("statement")
        return matched

    async def record(self, events: Sequence[Event]) -> tuple[Entry, ...]:
        if isinstance(self._rows, Apart):
            await self._rows.commit()
        self._halt.reach("rows")
        return await self._tx.record(events)


class Apart:
    """What an engine does that keeps its journal apart: the tool's rows are committed first.

    Only to see that the harness finds it out.
    """

    def __init__(self, store: MySQLStore) -> None:
        self._open = AsyncExitStack()
        self._store = store

    async def __aenter__(self) -> "Apart":
        self._tx = await self._open.enter_async_context(self._store.write())
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._open.__aexit__(*error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)

    def reading(self) -> Transaction:
        return self._tx

    async def commit(self) -> None:
        await self._open.aclose()


class HaltingStore(MySQLStore):
    """MySQL's store, stopping at the boundaries of its transactions."""

    def __init__(self, url: str, halt: Halt, *, apart: bool) -> None:
        super().__init__(connect_arguments(url), 4)
        self._halt = halt
        self._apart = apart

    async def start(
        self, new: NewRun, started: Event, lease_s: float | None
    ) -> tuple[Entry, Lease | None]:
        token = _WITHIN.set("start")
        entry_and_lease = await super().start(new, started, lease_s)
        _WITHIN.reset(token)
        await self._halt.reach_outside("start_done")
        return entry_and_lease

    async def claim(
        self,
        run: RunId,
        lease_s: float,
        token: LeaseToken | None = None,
        lock_wait_s: float = 0.0,
    ) -> Claim | None:
        claimed = await super().claim(run, lease_s, token, lock_wait_s)
        if claimed is not None:
            await self._halt.reach_outside("claimed")
        return claimed

    async def renew(self, lease: Lease, lease_s: float) -> bool:
        async with self._halt.renewing:
            return await super().renew(lease, lease_s)

    @asynccontextmanager
    async def append(self, change: Append) -> AsyncIterator[StepTransaction]:
        await self._halt.reach_outside("replied")
        token = _WITHIN.set("step")
        async with super().append(change) as tx:
            self._halt.reach("begun")
            async with Apart(self) if self._apart else nullcontext(tx) as rows:
                yield cast("StepTransaction", WatchedTransaction(tx, rows, self._halt))
        _WITHIN.reset(token)
        await self._halt.reach_outside("step_done")


class HaltingModel:
    """The real client, stopping before it asks."""

    def __init__(self, model: OpenAIModel, halt: Halt) -> None:
        self._model = model
        self._halt = halt

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        await self._halt.reach_outside("ask")
        return await self._model.reply(request, listener)

    async def close(self) -> None:
        await self._model.close()


def work(job: Job, wire: Wire) -> None:
    """The whole process. What went wrong in it is told from the database, not from its log."""
    logging.disable(logging.ERROR)
    asyncio.run(_work(job, wire))


async def _work(job: Job, wire: Wire) -> None:
    halt = Halt(job.halt, wire)
    HaltingConnection.halt = halt
    twelvefold.services.store.mysql.connections.MySQLConnection = HaltingConnection  # type: ignore[attr-defined]
    services = Services(
        HaltingStore(job.database_url, halt, apart=job.apart),
        HaltingModel(open_model(base_url=job.model_url, api_key="", model="mock"), halt),
        {workflow.name: workflow},
        RandomIds(),
        Limits(lease_s=job.lease_s),
        "crash",
    )
    try:
        driven = await _driven(services, job)
        wire.send(f"run {driven.run}")
        outcome = await drive(services, driven, NullListener())
        wire.send(f"end {outcome.status}")
    except (StaleRun, Conflict) as error:
        wire.send(f"end {type(error).__name__}")
    finally:
        await services.store.close()
        await services.model.close()


async def _driven(services: Services, job: Job) -> HeldRun:
    if job.run:
        return await take(services, job.run)
    said = {"type": "message", "role": "user", "content": job.wish}
    return await start_run(
        services, RunRequest(workflow=workflow.name, principal=Principal(job.student), items=[said])
    )
