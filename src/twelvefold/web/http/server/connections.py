"""The open connections of one process: their limit, and the limits of what each receives.

A connection is *waiting* until it has sent a complete request head, and between two requests;
otherwise it is *busy*. At the limit, a new connection replaces the one that has waited longest.
If all are busy, the new connection is rejected. A client that sends its request too slowly loses
its connection.
"""

import asyncio
from collections.abc import Callable, Container
from dataclasses import dataclass, field

from twelvefold.web.http.client_address import client_of
from twelvefold.web.http.server.framing_limits import FramingLimits
from twelvefold.web.http.summary_log import SummaryLog
from twelvefold.web.http.token_buckets import TokenBuckets

CLIENT_DIVISOR = 2
"""One client may hold half of all connections."""


class ConnectionSlot:
    """The slot of one open connection. `close` is called to make room for another one."""

    def __init__(self, connections: "Connections", client: str, close: Callable[[], None]) -> None:
        self._connections = connections
        self.client = client
        self.close = close

    def set_waiting(self) -> None:
        """The connection is between two requests."""
        self._connections.set_waiting(self)

    def set_busy(self) -> None:
        """A request is in progress."""
        self._connections.set_busy(self)

    def release(self) -> None:
        """The connection is closed. A second call does nothing."""
        self._connections.remove(self)


class Connections:
    """Counts connections, in total and per client.

    One client may hold half of them. Addresses in `shared` are those of proxies, which connect for
    many clients and have no limit of their own.
    """

    def __init__(self, limit: int, shared: Container[str] = ()) -> None:
        self.limit = limit
        self._shared = shared
        self._client_limit = max(1, limit // CLIENT_DIVISOR)
        self._slots: dict[ConnectionSlot, None] = {}
        self._waiting: dict[ConnectionSlot, None] = {}
        self._by_client: dict[str, dict[ConnectionSlot, None]] = {}
        self._rejections = SummaryLog("connections_refused")
        self._evictions = SummaryLog("connections_closed_for_others")

    def __len__(self) -> int:
        return len(self._slots)

    def open(self, address: str, close: Callable[[], None]) -> ConnectionSlot | None:
        """Return the slot of a new, waiting connection; None if there is no room."""
        client = "" if address in self._shared else client_of(address)
        held = self._by_client.get(client, {})
        if client and len(held) >= self._client_limit and not self._make_room(held, "client"):
            return None
        if len(self._slots) >= self.limit and not self._make_room(self._waiting, "all"):
            return None
        slot = ConnectionSlot(self, client, close)
        self._slots[slot] = self._waiting[slot] = None
        self._by_client.setdefault(client, {})[slot] = None
        return slot

    def close_waiting(self) -> bool:
        """Close the connection that has waited longest. Returns False if none waits."""
        slot = next(iter(self._waiting), None)
        if slot is None:
            return False
        self._evict(slot)
        return True

    def set_waiting(self, slot: ConnectionSlot) -> None:
        """Make this the connection that has waited least."""
        if slot in self._slots:
            self._waiting.pop(slot, None)
            self._waiting[slot] = None

    def set_busy(self, slot: ConnectionSlot) -> None:
        """Do not close this connection to make room."""
        self._waiting.pop(slot, None)

    def remove(self, slot: ConnectionSlot) -> None:
        """Remove a closed connection."""
        if slot not in self._slots:
            return
        del self._slots[slot]
        self._waiting.pop(slot, None)
        held = self._by_client[slot.client]
        del held[slot]
        if not held:
            del self._by_client[slot.client]

    def _make_room(self, among: dict[ConnectionSlot, None], full: str) -> bool:
        slot = next((one for one in self._waiting if one in among), None)
        if slot is None:
            self._rejections.add(limit=self.limit, full=full)
            return False
        self._evictions.add(limit=self.limit, full=full)
        self._evict(slot)
        return True

    def _evict(self, slot: ConnectionSlot) -> None:
        self.remove(slot)
        slot.close()


# --- limits of one request ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReceiveLimits:
    """Limits for the client of one request.

    The head must arrive within `head_s`, the body within `body_s`, and `progress_bytes` of the body
    within each `progress_s`, except while the server does not read. Up to `discard_bytes` of a
    body are read and dropped after its request was answered, because some clients read the
    response only after they have sent everything. `linger_s` is how long a connection stays open
    after an error response, so that the client can read it. `rejections` are the malformed
    requests of one client that are answered immediately; further ones are answered after
    `rejection_delay_s`.
    """

    head_s: float = 15.0
    body_s: float = 60.0
    progress_s: float = 10.0
    progress_bytes: int = 1_024
    linger_s: float = 1.0
    discard_bytes: int = 256 * 1024 * 1024
    rejections: TokenBuckets = field(default_factory=lambda: TokenBuckets(20, 1))
    rejection_delay_s: float = 1.0
    framing: FramingLimits = field(default_factory=FramingLimits)


class ReceiveTimer:
    """Calls `expire` if the head or the body of a request arrives too slowly."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limits: ReceiveLimits,
        is_paused: Callable[[], bool],
        expire: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._limits = limits
        self._is_paused = is_paused
        self._expire = expire
        self._timer: asyncio.TimerHandle | None = None
        self._is_body = False
        self._body_deadline = 0.0
        self._received_bytes = 0

    def begin_head(self) -> None:
        """Start the timer of the head. Further calls for the same head do nothing."""
        if self._timer is None:
            self._timer = self._loop.call_later(self._limits.head_s, self._expire)

    def begin_body(self) -> None:
        """Start the timer of the body. Further calls for the same body do nothing."""
        if self._is_body:
            return
        self.end()
        self._is_body = True
        self._body_deadline = self._loop.time() + self._limits.body_s
        self._begin_window()

    def count(self, size: int) -> None:
        """Count received bytes of the body."""
        self._received_bytes += size

    def end(self) -> None:
        """Stop the timer: the request is complete."""
        self._is_body = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """Stop the timer and drop its callbacks: a reference cycle would keep the connection."""
        self.end()
        self._is_paused, self._expire = bool, _do_nothing

    def _begin_window(self) -> None:
        self._received_bytes = 0
        until = min(self._loop.time() + self._limits.progress_s, self._body_deadline)
        self._timer = self._loop.call_at(until, self._end_window)

    def _end_window(self) -> None:
        is_slow = self._received_bytes < self._limits.progress_bytes and not self._is_paused()
        if is_slow or self._loop.time() >= self._body_deadline:
            self._expire()
        else:
            self._begin_window()


def _do_nothing() -> None:
    """Replace `expire` after the connection is closed."""
