"""The open connections of one process, and their limit.

A connection is *waiting* until it has sent a complete request head, and between two requests;
otherwise it is *busy*. At the limit, a new connection replaces the one that has waited longest.
If all are busy, the new connection is rejected.
"""

from collections.abc import Callable, Container

from twelvefold.web.http.client_address import client_of
from twelvefold.web.http.summary_log import SummaryLog

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
