"""The open connections of one process: how many there may be, and which one makes room.

A connection is *waiting* until it has sent a whole request head, and again between two requests;
otherwise it is *busy*. Where the limit is reached, the connection that has waited longest is closed
for a new one. While all are busy, a new one is refused.
"""

from collections.abc import Callable, Container

from twelvefold.web.http.client_address import client_of
from twelvefold.web.http.summary_log import SummaryLog

SHARE = 2
"""One client may hold this part of all connections: half of them."""


class Place:
    """One connection among the open ones. `close` is what ends it to make room."""

    def __init__(self, connections: "Connections", client: str, close: Callable[[], None]) -> None:
        self._connections = connections
        self.client = client
        self.close = close

    def wait(self) -> None:
        """Between two requests, or before the first one's head is complete."""
        self._connections.set_waiting(self)

    def work(self) -> None:
        """A request is in progress."""
        self._connections.set_busy(self)

    def leave(self) -> None:
        """The connection is closed. Leaving twice does nothing."""
        self._connections.remove(self)


class Connections:
    """Counts connections, in all and for each client address.

    A client may hold a half of them. Addresses in `shared` are proxies, which stand for many
    clients: they are not bounded by that.
    """

    def __init__(self, limit: int, shared: Container[str] = ()) -> None:
        self.limit = limit
        self._shared = shared
        self._share = max(1, limit // SHARE)
        self._places: dict[Place, None] = {}
        self._waiting: dict[Place, None] = {}
        self._by_client: dict[str, dict[Place, None]] = {}
        self._refused = SummaryLog("connections_refused")
        self._closed = SummaryLog("connections_closed_for_others")

    def __len__(self) -> int:
        return len(self._places)

    def open(self, address: str, close: Callable[[], None]) -> Place | None:
        """Take a place for a new connection, waiting at first; None if there is no room."""
        client = "" if address in self._shared else client_of(address)
        held = self._by_client.get(client, {})
        if client and len(held) >= self._share and not self._make_room(held, "client"):
            return None
        if len(self._places) >= self.limit and not self._make_room(self._waiting, "all"):
            return None
        place = Place(self, client, close)
        self._places[place] = self._waiting[place] = None
        self._by_client.setdefault(client, {})[place] = None
        return place

    def close_waiting(self) -> bool:
        """Close the connection that has waited longest; False if none waits."""
        place = next(iter(self._waiting), None)
        if place is None:
            return False
        self._evict(place)
        return True

    def set_waiting(self, place: Place) -> None:
        """Put the place behind all others that wait."""
        if place in self._places:
            self._waiting.pop(place, None)
            self._waiting[place] = None

    def set_busy(self, place: Place) -> None:
        """Do not close this one for others."""
        self._waiting.pop(place, None)

    def remove(self, place: Place) -> None:
        """Forget a connection that is closed."""
        if place not in self._places:
            return
        del self._places[place]
        self._waiting.pop(place, None)
        held = self._by_client[place.client]
        del held[place]
        if not held:
            del self._by_client[place.client]

    def _make_room(self, among: dict[Place, None], full: str) -> bool:
        place = next((one for one in self._waiting if one in among), None)
        if place is None:
            self._refused.add(limit=self.limit, full=full)
            return False
        self._closed.add(limit=self.limit, full=full)
        self._evict(place)
        return True

    def _evict(self, place: Place) -> None:
        self.remove(place)
        place.close()
