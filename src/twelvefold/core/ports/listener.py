"""Who sees a run while it goes on, in the process that drives it."""

from typing import Protocol

from twelvefold.core.events import Entry


class Listener(Protocol):
    """Who wants to see a run as it goes on. Called in order, never awaited."""

    def text(self, delta: str) -> None:
        """A piece of the reply has come in."""

    def restarted(self, why: str) -> None:
        """The reply so far is void; it is asked for again."""

    def recorded(self, entry: Entry) -> None:
        """The journal has this now."""

    def shown(self) -> None:
        """The deltas so far can be read by others now."""


class NullListener:
    """A listener that does nothing."""

    def text(self, delta: str) -> None:
        """Nobody reads along."""

    def restarted(self, why: str) -> None:
        """Nothing was shown."""

    def recorded(self, entry: Entry) -> None:
        """The journal is enough."""

    def shown(self) -> None:
        """The journal is enough."""
