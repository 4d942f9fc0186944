"""API keys and principals whose runs a worker leaves for a moment: their slots are taken."""

from collections.abc import Callable

from twelvefold.core import WaitingRun, owner_of

HOLD_S = 1.0
"""Then another process may have ended one of their runs. A run that ends here ends all holds."""


class ShareHolds:
    """The owners of taken slots. `now` returns monotonic seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._until: dict[str, float] = {}

    def __contains__(self, one: WaitingRun) -> bool:
        """Return whether the run is one of an owner that is held now."""
        owners = owner_of("principal", one.principal), owner_of("key", one.key_id)
        return any(self._until.get(owner, 0.0) > self._now() for owner in owners)

    def __len__(self) -> int:
        return len(self._until)

    def add(self, owner: str) -> None:
        """Leave the runs of an owner for `HOLD_S`."""
        self._until[owner] = self._now() + HOLD_S

    def clear(self) -> None:
        """Try the runs of all owners again."""
        self._until.clear()
