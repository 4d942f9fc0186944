"""Streams a response to its clients while its journal grows.

A run that appends to the journal notifies the readers in its process. A notification carries no
content: a reader reads the journal, so it works the same way live or later, in the process that
drives the run or in another one. One task polls the journal for entries of other processes, on
behalf of all readers here; a poll by each reader would multiply the load on the database by the
number of readers.

Clients get server-sent events. A slow client delays its own stream only: the stream buffers
nothing, since the journal has it all.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Container, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from typing import Any, cast
from weakref import WeakValueDictionary

import msgspec
from msgspec import structs
from starlette.types import Send

from twelvefold.config import Settings
from twelvefold.core import Entry, JournalDelta, Listener, RunId, RunStarted, Store, ThreadId
from twelvefold.errors import ServiceFault, StoreUnavailable
from twelvefold.observe.log import get_logger
from twelvefold.web.ids import ResponseId
from twelvefold.web.projection.objects import ResponseView, label_of
from twelvefold.web.projection.response import ResponseProjection, without_input
from twelvefold.web.schemas import Json, ToolItems
from twelvefold.web.state import WAITS, Waits, Web

log = get_logger(__name__)
RETRY_INTERVAL_S = 1.0
"""When to read a journal again that could not be read."""
DONE = b"data: [DONE]\n\n"
HEARTBEAT = b": still here\n\n"
INTERRUPTED = b": stream closed before the response ended; resume with GET and starting_after\n\n"
REVOKED = b": the API key is no longer valid; stream closed\n\n"
SSE_HEADERS = {
    # Without it nginx buffers the events until it has a page of them.
    "x-accel-buffering": "no",
    "cache-control": "no-store",
}
_encode = msgspec.json.Encoder().encode


class RunNotifier:
    """The subscriptions of one process, by run, and the runs that it drives."""

    def __init__(self, waits: Waits = WAITS) -> None:
        self.waits = waits
        self._subscriptions: dict[RunId, set[Subscription]] = {}
        # Only the drive of a run holds its listener, so an entry lasts as long as the drive.
        self._listeners: WeakValueDictionary[RunId, _NotifyingListener] = WeakValueDictionary()
        self._subscribed = asyncio.Event()

    def __len__(self) -> int:
        """The number of runs with subscriptions."""
        return len(self._subscriptions)

    def listener(self, run: RunId) -> Listener:
        """Return a listener for the drive of a run, which notifies the run's readers."""
        listener = _NotifyingListener(self, run)
        self._listeners[run] = listener
        return listener

    def notify(self, run: RunId) -> None:
        """Notify the readers of a run."""
        for subscription in self._subscriptions.get(run, ()):
            subscription.changed.set()

    def notify_threads(self, threads: Container[ThreadId]) -> None:
        """Notify the readers of all runs of these threads."""
        for run in self._subscriptions:
            if run.thread in threads:
                self.notify(run)

    def notify_all(self) -> None:
        """Notify every reader: the process drains."""
        for run in self._subscriptions:
            self.notify(run)

    @contextmanager
    def subscribe(self, run: RunId) -> "Iterator[Subscription]":
        """Subscribe to a run while the body runs."""
        subscription = Subscription(self, run)
        self._subscriptions.setdefault(run, set()).add(subscription)
        self._subscribed.set()
        try:
            yield subscription
        finally:
            subscriptions = self._subscriptions[run]
            subscriptions.discard(subscription)
            if not subscriptions:
                del self._subscriptions[run]

    def is_driven_here(self, run: RunId) -> bool:
        """Return whether a task of this process drives the run."""
        return run in self._listeners

    async def threads_to_poll(self) -> set[ThreadId]:
        """Return the threads whose runs are read here and driven elsewhere.

        Waits until this process has a reader.
        """
        while not self._subscriptions:
            self._subscribed.clear()
            await self._subscribed.wait()
        return {run.thread for run in self._subscriptions if not self.is_driven_here(run)}


class Subscription:
    """One reader's subscription. A change after `changed` was cleared is not lost."""

    def __init__(self, notifier: RunNotifier, run: RunId) -> None:
        self.changed = asyncio.Event()
        self._notifier = notifier
        self._run = run

    async def wait(self, at_most_s: float = math.inf) -> None:
        """Wait until the run changes or its journal should be read without a notification."""
        waits = self._notifier.waits
        is_here = self._notifier.is_driven_here(self._run)
        poll_s = waits.poll_driven_here_s if is_here else waits.poll_driven_elsewhere_s
        with suppress(TimeoutError):
            async with asyncio.timeout(min(poll_s, at_most_s)):
                await self.changed.wait()


class _NotifyingListener:
    """Notifies the readers of a run when its drive has written something that they can read."""

    def __init__(self, notifier: RunNotifier, run: RunId) -> None:
        self._notifier = notifier
        self._run = run

    def text(self, delta: str) -> None:
        """Do nothing: the delta is not in the journal yet."""

    def restarted(self, why: str) -> None:
        """Do nothing: the restart is not in the journal yet."""

    def recorded(self, entry: Entry) -> None:
        self._notifier.notify(self._run)

    def shown(self) -> None:
        self._notifier.notify(self._run)


# --- entries of other processes -----------------------------------------------------------------


@asynccontextmanager
async def poll_journal(store: Store, notifier: RunNotifier) -> AsyncIterator[None]:
    """Notify readers of entries that other processes write, while the body runs."""
    task = asyncio.get_running_loop().create_task(_poll(store, notifier), name="poll journal")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _poll(store: Store, notifier: RunNotifier) -> None:
    known: dict[ThreadId, tuple[int, int]] = {}
    while True:
        threads = await notifier.threads_to_poll()
        found = await _load_marks(store, threads)
        # Readers of a new thread, and all readers after a fault, may be behind: notify them too.
        changed = {thread for thread in threads if found.get(thread) != known.get(thread)}
        notifier.notify_threads(changed)
        known = found
        await asyncio.sleep(notifier.waits.poll_journal_s)


async def _load_marks(
    store: Store, threads: Collection[ThreadId]
) -> dict[ThreadId, tuple[int, int]]:
    """Return the marks of each thread. Empty if the store fails; a reader gives up on its own."""
    try:
        return await store.marks(threads)
    except ServiceFault as error:
        log.warning("journal_not_polled", error=error)
    except Exception:
        # No other task would restart the poll.
        log.exception("journal_poll_failed")
    return {}


# --- the reader of one response -----------------------------------------------------------------


class ResponseReader:
    """A response as far as it was read; `opening` is its first entry.

    `events` drops the input, which may be long. `unsent` are the events that it has not yielded.
    """

    def __init__(
        self, web: Web, id: ResponseId, view: ResponseView, opening: Entry, start: int
    ) -> None:
        self.id = id
        self.view = replace(view, started=without_input(view.started))
        self.opening = opening
        self.projection = ResponseProjection(id, self.view)
        # The entries of the thread before the run are not needed.
        self.projection.position = start - 1
        self.unsent: list[Json] = []
        self._web = web
        self._is_stopped = False

    @property
    def over(self) -> bool:
        return self.projection.over

    def stop(self) -> None:
        """End `events` before the response is over: nothing more of it can be read here."""
        self._is_stopped = True
        self._web.notifier.notify(self.id.run)

    async def read(self) -> None:
        """Read the new entries and deltas. Raises StoreUnavailable."""
        store, projection, again = self._web.services.store, self.projection, True
        while again:
            delta = await store.follow(
                self.id.run.thread, after=projection.position, deltas_after=projection.deltas_after
            )
            self.apply(delta)
            again = projection.behind

    def apply(self, delta: JournalDelta) -> None:
        """Apply the result of a read of the journal."""
        self.unsent += self.projection.apply(delta)

    async def events(self, *, while_draining: bool = False) -> AsyncGenerator[list[Json], None]:
        """Yield the events that each read has found, possibly none, until the response is over.

        Ends before that when the process drains, unless `while_draining`; when the journal could
        not be read for `Waits.unreadable_s`; and after `stop`.
        """
        now = asyncio.get_running_loop().time
        read_at = now()
        self.opening = structs.replace(self.opening, event=without_input(self.opening.event))
        with self._web.notifier.subscribe(self.id.run) as subscription:
            while not self._is_stopped:
                subscription.changed.clear()
                is_read = await self._try_read()
                read_at = now() if is_read else read_at
                events, self.unsent = self.unsent, []
                yield events
                drains = self._web.draining.is_set() and not while_draining
                if self.over or drains or now() - read_at >= self._web.waits.unreadable_s:
                    return
                await subscription.wait(math.inf if is_read else RETRY_INTERVAL_S)

    async def _try_read(self) -> bool:
        try:
            await self.read()
        except StoreUnavailable as error:
            log.warning("journal_not_read", response=str(self.id), error=error)
            return False
        return True


def build_view(
    settings: Settings,
    started: RunStarted,
    *,
    background: bool,
    tool_items: str = "",
) -> ResponseView:
    """Return how this process shows a run; `tool_items` "": as the run's own request wants it."""
    label, outputs = label_of(started.workflow, started.options), settings.tool_outputs
    chosen = tool_items or started.options.tool_items or settings.tool_items
    return ResponseView(label, cast("ToolItems", chosen), outputs, background, started)


# --- the stream of one client -------------------------------------------------------------------


def encode_event(event: Json) -> bytes:
    """Return an event of the Responses API; the field `event` repeats its type."""
    return b"event: %s\n" % event["type"].encode() + encode_data(event)


def encode_data(value: Any) -> bytes:
    """Return a value as the data of an event without a name."""
    body = _encode(value)
    # Clients that split lines at U+2028 and U+2029 would split the event.
    if b"\xe2\x80" in body:
        body = body.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
    return b"data: %s\n\n" % body


class SSEWriter:
    """Writes the stream of one client, with a heartbeat where nothing else is written.

    `write` raises OSError once the connection is closed.
    """

    def __init__(self, send: Send, heartbeat_s: float) -> None:
        self._send = send
        self._heartbeat_s = heartbeat_s
        self._now = asyncio.get_running_loop().time
        self._writing = asyncio.Lock()
        self._written_at = self._now()

    async def start(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Write the status line and the headers."""
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def write(self, piece: bytes, *, more: bool = True) -> None:
        """Write a piece of the body; `more` False: the last one."""
        async with self._writing:
            await self._write(piece, more)

    async def write_heartbeats(self) -> None:
        """Write a comment after each `heartbeat_s` without a byte, until the client leaves."""
        with suppress(OSError):
            while True:
                await asyncio.sleep(self._written_at + self._heartbeat_s - self._now())
                # A client that is slow to take the last piece gets no heartbeat behind it.
                async with self._writing:
                    if self._now() - self._written_at >= self._heartbeat_s:
                        await self._write(HEARTBEAT, more=True)

    async def _write(self, piece: bytes, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": piece, "more_body": more})
        self._written_at = self._now()
