"""What a request handler works with, opened once per process and passed in through the app."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.requests import Request

from twelvefold.config import Settings
from twelvefold.core.ids import RunId
from twelvefold.core.ports import Principal
from twelvefold.engine.commands import cancel
from twelvefold.engine.held_run import HeldRun
from twelvefold.engine.services import Services
from twelvefold.engine.shares import BudgetExhausted, MemoryBudget, Reservation
from twelvefold.web.http.admission import AdmissionControl
from twelvefold.web.http.authentication import Authenticator
from twelvefold.web.http.client_watch import ClientWatch, KeyWatch
from twelvefold.web.http.errors import ApiError
from twelvefold.web.http.rate_limit import RateLimiter

if TYPE_CHECKING:
    from twelvefold.web.probes import Readiness
    from twelvefold.web.runs.executor import RunExecutor
    from twelvefold.web.runs.queue_limit import QueueLimiter
    from twelvefold.web.streaming.notifier import RunNotifier

READ_BYTES, READ_SHARE_BYTES = 16 * 1024 * 1024, 4 * 1024 * 1024
"""Bytes of the conversations whose responses are read at the same time: in all, and of one
principal."""
WAITING_INPUT_BYTES = 262_144
"""The longest input that may wait for memory: no budget counts it while it waits."""
MEMORY_WAIT_S = 2.0
"""How long a turn waits for the memory that it needs."""
RETRY_AFTER_S = 2.0
"""When a client whose turn was rejected should try again: about the time that a short run takes."""


@dataclass(frozen=True, slots=True)
class Waits:
    """The waits of a web process, in seconds. Tests shorten them.

    `undriven_s`: how long a request waits for a run that no process drives and that this process
    has no slot for. `check_driven_s`, `check_undriven_s`: how often a request checks its run; the
    first is for a run that another process drives or will drive.

    `stalled_s`: how long for a client that takes no byte of its answer. `key_poll_s`: between two
    checks of the key of a waiting request; a lookup is cached for two seconds more.

    `thread_s`: how long a turn waits for the run under way in its conversation. `take_s`: how long
    an answer to an approval request waits for a run that another process holds.

    `heartbeat_s`: the longest time without a byte on a stream; proxies close a connection after a
    minute without one. `unreadable_s`: how long a stream waits for a journal that cannot be read:
    longer than a database takes to restart; then its client should read elsewhere.

    `poll_journal_s`: between two polls for what other processes write, and so the longest delay of
    it. `poll_driven_here_s`, `poll_driven_elsewhere_s`: how often a reader reads its run's journal
    without a notification. The first is for what other processes write about a run that is driven
    here, the second for the case that the poll fails.
    """

    undriven_s: float = 30.0
    check_driven_s: float = 5.0
    check_undriven_s: float = 1.0
    stalled_s: float = 60.0
    key_poll_s: float = 0.5
    thread_s: float = 5.0
    take_s: float = 1.0
    heartbeat_s: float = 15.0
    unreadable_s: float = 30.0
    poll_journal_s: float = 0.2
    poll_driven_here_s: float = 1.0
    poll_driven_elsewhere_s: float = 5.0


WAITS = Waits()


def _read_budget() -> MemoryBudget:
    return MemoryBudget(READ_BYTES, READ_SHARE_BYTES)


@dataclass(frozen=True)
class Web:
    """One web process.

    `wake` notifies the worker in this process of a queued run; without a worker it does nothing.
    `serving` is set when requests are answered, for work that may wait until then.
    `draining` is set when the process is about to end: streams end after their current event,
    and a request that waits for a run waits only until the current step is over.
    `reads` bounds the bytes of the conversations whose responses are read.
    """

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
    wake: Callable[[], None] = lambda: None
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    serving: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def takes_images(self) -> bool:
        """Whether input may have images: only the demo model is sent them, and it ignores them."""
        return not self.settings.model_base_url

    def start_drive(self, held: HeldRun, reservation: Reservation | None = None) -> None:
        """Drive a run here and notify its readers when the drive ends.

        The drive keeps the reservation until then.
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


def client_watch(request: Request) -> ClientWatch:
    """Return the watch of the client that waits for this request's answer."""
    web = web_of(request)
    return ClientWatch(web.authenticator, web.keys, request)


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


def too_many_runs(reason: str) -> ApiError:
    """Return the error for a run that this process has no slot or no memory for."""
    message = f"{reason}; try again in a moment"
    return ApiError(429, message, code="too_many_runs", wait_s=RETRY_AFTER_S)
