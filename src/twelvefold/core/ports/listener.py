"""Observing a run in the process that drives it."""

from typing import Protocol

from twelvefold.core.events import Entry


class Listener(Protocol):
    """Observes one run. The methods are called in order and do not wait."""

    def text(self, delta: str) -> None:
        """A piece of the reply was received; with an output type no piece is reported."""

    def restarted(self, why: str) -> None:
        """The pieces so far are void; the reply is requested again."""

    def recorded(self, entry: Entry) -> None:
        """The journal holds this entry."""

    def shown(self) -> None:
        """Other processes can read the pieces so far."""


class NullListener:
    """A listener that does nothing."""

    def text(self, delta: str) -> None:
        """Ignore the piece."""

    def restarted(self, why: str) -> None:
        """Ignore it: no piece was shown."""

    def recorded(self, entry: Entry) -> None:
        """Ignore the entry."""

    def shown(self) -> None:
        """Ignore it."""
