"""What request handlers work with: the shared objects of the process, and the request's client."""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive

from twelvefold.config import Settings
from twelvefold.core import Principal, RequestOptions, RunId, Workflow
from twelvefold.engine import BudgetExhausted, HeldRun, MemoryBudget, Reservation, Services, cancel
from twelvefold.web.http import (
    AdmissionControl,
    ApiError,
    Authenticator,
    KeyWatch,
    RateLimiter,
    caller_of,
    too_many_runs,
)

if TYPE_CHECKING:
    from twelvefold.web.probes import Readiness
    from twelvefold.web.runs.executor import RunExecutor
    from twelvefold.web.runs.queue_limit import QueueLimiter
    from twelvefold.web.streaming.reader import RunNotifier

READ_BYTES, READ_SHARE_BYTES = 16 * 1024 * 1024, 4 * 1024 * 1024
"""Bytes of the conversations whose responses are read at the same time: in all, and of one
principal."""
WAITING_INPUT_BYTES = 262_144
"""The longest input that may wait for memory: no budget counts it while it waits."""
MEMORY_WAIT_S = 2.0
"""How long a turn waits for the memory that it needs."""


@dataclass(frozen=True, slots=True)
class Waits:
    """The waits of a web process, in seconds. Tests shorten them."""

    undriven_s: float = 30.0
    """Gives up on a run that no process has driven for this long, and that has no slot here."""
    check_driven_s: float = 5.0
    """How often a request checks a run that another process drives, or will drive."""
    check_undriven_s: float = 1.0
    """How often a request checks a run that no process drives."""
    stalled_s: float = 60.0
    """Disconnects a client that has received nothing for this long."""
    key_poll_s: float = 0.5
    """How often the key of a waiting request is checked; a lookup is cached for 2 s more."""
    thread_s: float = 5.0
    """How long a turn waits for the previous turn of its conversation."""
    take_s: float = 1.0
    """How long an answer to an approval request waits for a run that another process holds."""
    heartbeat_s: float = 15.0
    """The longest time without a byte on a stream; proxies close a connection after a minute."""
    unreadable_s: float = 75.0
    """Ends a stream whose journal was unreadable for this long: longer than a failover."""
    poll_journal_s: float = 0.2
    """How often the process polls for what other processes write."""
    poll_driven_here_s: float = 1.0
    """How often a reader reads without a notification, for what others write about a run here."""
    poll_driven_elsewhere_s: float = 5.0
    """How often a reader reads without a notification, in case the poll fails."""


WAITS = Waits()


def _read_budget() -> MemoryBudget:
    return MemoryBudget(READ_BYTES, READ_SHARE_BYTES)


@dataclass(frozen=True)
class Web:
    """The objects that the request handlers of one web process share."""

    services: Services
    settings: Settings
    authenticator: Authenticator
    executor: "RunExecutor"
    queue: "QueueLimiter"
    notifier: "RunNotifier"
    rate: RateLimiter
    admission: AdmissionControl
    readiness: "Readiness"
    keys: KeyWatch
    waits: Waits = WAITS
    reads: MemoryBudget = field(default_factory=_read_budget)
    """Bounds the bytes of the conversations whose responses are read."""
    wake: Callable[[], None] = lambda: None
    """Notifies the worker in this process of a queued run; does nothing without a worker."""
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the process is about to end: a stream ends after its current event, and a request
    that waits for a run waits only until the current step is over."""
    serving: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when requests are answered, for work that may wait until then."""

    def accepted_inputs(self, workflow: str, model: str = "") -> Collection[frozenset[str]]:
        """Return the inputs beside text that each model of a run takes.

        `model` is the one that the caller chose. Without a workflow: those of each model.
        """
        if found := self.services.workflows.get(workflow):
            return self.services.inputs(found, RequestOptions(model=model))
        return [profile.accepts for profile in self.services.profiles.values()]

    def start_drive(self, held: HeldRun, reservation: Reservation | None = None) -> None:
        """Start a task that drives a run, and notify the run's readers when it ends.

        The task keeps the reservation until then.
        """
        task = self.executor.start(held, self.notifier.listener(held.run), reservation)
        task.add_done_callback(lambda _: self.notifier.notify(held.run))

    async def cancel(self, run: RunId) -> None:
        """Cancel a run: at once if it is driven here, else after its current step.

        Raises NotFound.
        """
        await cancel(self.services, run)
        self.executor.stop(run)
        self.notifier.notify(run)


def web_of(request: Request) -> Web:
    """Return the process that handles a request."""
    web: Web = request.app.state.web
    return web


def offered_to(request: Request) -> Mapping[str, Workflow]:
    """Return the workflows that the request's key may start, by name."""
    caller, offered = caller_of(request), web_of(request).services.offered
    if caller.workflows is None:
        return offered
    return {name: one for name, one in offered.items() if name in caller.workflows}


# --- the client of a request --------------------------------------------------------------------


class ClientWatch:
    """Watches the client that waits for the response to a request whose body was read."""

    def __init__(self, request: Request) -> None:
        self._web = web_of(request)
        self._request = request

    async def check(self) -> None:
        """Raise ClientDisconnect if the client has disconnected, ApiError if its key is revoked."""
        if await self._request.is_disconnected():
            raise ClientDisconnect
        client = self._request.client
        address = client.host if client else ""
        await self._web.authenticator.authenticate(self._request.headers, address)

    async def ended(self) -> ApiError | None:
        """Return None when the client disconnects, or an error when its key is revoked."""
        disconnected = wait_for_disconnect(self._request.receive)
        revoked = self._web.keys.wait_until_revoked(self._request)
        _, revoked_task = await first_done(disconnected, revoked)
        return None if revoked_task.cancelled() else revoked_task.result()

    async def wait_for(self, work: Coroutine[Any, Any, None]) -> None:
        """Await the work as long as the client waits for it.

        Raises ClientDisconnect if the client disconnects, ApiError if its key is revoked.
        """
        working, ended = await first_done(work, self.ended())
        if not working.cancelled():
            working.result()
            return
        if error := ended.result():
            raise error
        raise ClientDisconnect


async def first_done(*works: Coroutine[Any, Any, Any]) -> list["asyncio.Task[Any]"]:
    """Run coroutines concurrently until one is done, cancel the others, and return all tasks."""
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    return tasks


async def wait_for_disconnect(receive: Receive) -> None:
    """Return when the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


# --- the memory of a turn -----------------------------------------------------------------------


class TurnMemory:
    """The bytes that one turn of a principal holds; `input_bytes` are in memory already."""

    def __init__(self, reservation: Reservation, input_bytes: int) -> None:
        self.reservation = reservation
        self._input_bytes = input_bytes

    async def hold(self, thread_bytes: int | None = None) -> None:
        """Hold the input, and a thread before it is loaded; None: its size is not known.

        Waits up to MEMORY_WAIT_S. Raises ApiError with 429 if there is no room then.
        """
        may_wait = self._input_bytes <= WAITING_INPUT_BYTES
        try:
            size = self._input_bytes + (thread_bytes or 0)
            await self.reservation.hold(size, wait_s=MEMORY_WAIT_S if may_wait else 0)
        except BudgetExhausted:
            raise too_many_runs(
                "the conversations in use take all the memory that they may"
            ) from None


@contextmanager
def turn_memory(
    budget: MemoryBudget, principal: Principal, input_bytes: int
) -> Iterator[TurnMemory]:
    """Yield a turn's memory, empty at first; it is released at the end unless a run keeps it."""
    with budget.reservation(principal.id) as reservation:
        yield TurnMemory(reservation, input_bytes)
