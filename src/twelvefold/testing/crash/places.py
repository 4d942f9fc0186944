"""The places where a process is killed: around each commit, each reply and each row of a tool.

The store and the model of a process are wrapped here. The product knows nothing of it.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from twelvefold.core import (
    Append,
    Claim,
    Entry,
    Event,
    Lease,
    Listener,
    Model,
    ModelReplied,
    ModelReply,
    ModelRequest,
    NewRun,
    RunFinished,
    StepTransaction,
    Store,
)


class Places:
    """Reports each place that the process reaches, and kills the process at one of them.

    `kill_at` counts from 1; 0 kills at none.
    """

    def __init__(self, report: Callable[[str, str], None], kill_at: int) -> None:
        self._report = report
        self._kill_at = kill_at
        self._reached = 0
        self._steps = 0

    def next_step(self) -> str:
        """Return the name of the next step's transaction."""
        self._steps += 1
        return f"step {self._steps}"

    def reach(self, place: str) -> None:
        """Kill the process here if this is the place: nothing after it has any effect."""
        if self.is_next():
            self._report("place", place)
            os.kill(os.getpid(), signal.SIGKILL)
        self._reached += 1
        self._report("place", place)

    def is_next(self) -> bool:
        """Whether the process is killed at the next place."""
        return self._reached + 1 == self._kill_at


class CrashingStore:
    """A store that reaches places around its commits. Everything else is the store's own."""

    def __init__(self, store: Store, places: Places) -> None:
        self._store = store
        self._places = places

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def start(
        self, new: NewRun, started: Event, lease_s: float | None
    ) -> tuple[Entry, Lease | None]:
        self._places.reach("start: before the run is committed")
        result = await self._store.start(new, started, lease_s)
        self._places.reach("start: the run is committed")
        return result

    async def claim(self, *args: Any, **options: Any) -> Claim | None:
        claim = await self._store.claim(*args, **options)
        self._places.reach("claim: the run is claimed, its journal not read")
        return claim

    async def release(self, *args: Any, **options: Any) -> bool:
        self._places.reach("release: before the run is given back")
        result = await self._store.release(*args, **options)
        self._places.reach("release: the run is given back")
        return result

    @asynccontextmanager
    async def append(self, change: Append) -> AsyncIterator[StepTransaction]:
        step = self._places.next_step()
        self._places.reach(f"{step}: before its transaction")
        transaction = self._store.append(change)
        tx = await transaction.__aenter__()
        try:
            watched = WatchedTransaction(tx, self._places, step)
            yield watched
        except BaseException as error:
            if not await transaction.__aexit__(type(error), error, error.__traceback__):
                raise
            return
        await self._commit(transaction, f"{step}{watched.title}")

    async def _commit(self, transaction: Any, step: str) -> None:
        self._places.reach(f"{step}: before COMMIT")
        if self._places.is_next():
            # Its packet is sent and not answered: one turn of the loop sends it.
            asyncio.get_running_loop().create_task(transaction.__aexit__(None, None, None))
            await asyncio.sleep(0)
            self._places.reach(f"{step}: COMMIT sent, not answered")
        self._places.reach(f"{step}: COMMIT sent, not answered")
        await transaction.__aexit__(None, None, None)
        self._places.reach(f"{step}: committed")


class WatchedTransaction:
    """A step's transaction that reaches places around the rows of a tool and its entries."""

    def __init__(self, tx: StepTransaction, places: Places, step: str) -> None:
        self._tx = tx
        self._places = places
        self._step = step
        self._statements = 0
        self.title = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)

    async def execute(self, statement: Any, /, **values: Any) -> int:
        matched = await self._tx.execute(statement, **values)
        self._statements += 1
        self._places.reach(f"{self._step}: after statement {self._statements} of a tool")
        return matched

    async def record(self, events: Sequence[Event]) -> tuple[Entry, ...]:
        self.title = f" ({', '.join(map(_title_of, events)) or 'begins to wait'})"
        self._places.reach(f"{self._step}{self.title}: before its journal entries")
        return await self._tx.record(events)


def _title_of(event: Event) -> str:
    match event:
        case ModelReplied():
            return "reply"
        case RunFinished():
            return event.status
        case _:
            return getattr(event, "tool", "") or type(event).__name__


class CrashingModel:
    """A model that reaches a place before it is asked, and one when its reply is complete."""

    def __init__(self, model: Model, places: Places) -> None:
        self._model = model
        self._places = places

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        self._places.reach("model: before the request")
        reply = await self._model.reply(request, listener)
        self._places.reach("model: the reply is complete, not in the journal")
        return reply

    async def close(self) -> None:
        await self._model.close()
