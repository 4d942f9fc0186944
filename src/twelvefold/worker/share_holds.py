"""API keys and principals whose runs a worker leaves for a moment: their slots are taken."""

from collections.abc import Callable

from twelvefold.core import WaitingRun, owner_of

HOLD_S = 2.0
"""Then another process may have ended one of their runs. A run that ends here ends all holds.
Longer than the pause between two searches, so that the second one finds the runs of others."""
MAX_KEYS = 100
"""Keys whose runs a search leaves out in the database."""


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

    @property
    def keys(self) -> list[str]:
        """The ids of some API keys that are held now."""
        now, kind = self._now(), owner_of("key", "")
        held = [owner for owner, until in self._until.items() if until > now]
        return [one.removeprefix(kind) for one in held if one.startswith(kind)][:MAX_KEYS]

    def add(self, owner: str) -> None:
        """Leave the runs of an owner for `HOLD_S`."""
        self._until[owner] = self._now() + HOLD_S

    def clear(self) -> None:
        """Try the runs of all owners again."""
        self._until.clear()
