"""The port of shares: requests in a minute and runs at once, counted over all processes."""

from hashlib import sha256
from typing import Literal, NamedTuple, Protocol

from twelvefold.core.ids import RunId

Owner = Literal["key", "principal"]


def owner_of(kind: Owner, name: str) -> str:
    """Return the owner of a bucket or of slots: an API key by its id, or a principal."""
    # A principal's name is longer than the column, and not ASCII.
    id = name if kind == "key" else sha256(name.encode()).hexdigest()[:40]
    return f"{kind}:{id}"


class TokenGrant(NamedTuple):
    """How many tokens were taken from a bucket, and when it is full again if none is taken."""

    granted: int
    full_in_us: int


class ShareStore(Protocol):
    """Buckets and slots of owners, which are API keys and principals.

    Every method may raise StoreUnavailable.
    """

    async def take_tokens(
        self, owner: str, count: int, *, capacity_us: int, interval_us: int
    ) -> TokenGrant:
        """Take `count` tokens from the owner's bucket, or as many as there are.

        A token is added every `interval_us`, up to `capacity_us` / `interval_us` of them.
        """
        ...

    async def return_tokens(self, owner: str, count: int, *, interval_us: int) -> None:
        """Return tokens that were taken and not used."""
        ...

    async def take_slot(self, owner: str, limit: int, token: str, run: RunId | None) -> bool:
        """Take one of the owner's `limit` slots for a run; return whether one was free.

        The slot is taken for a few seconds, then as long as the run is driven. `run` None: it is
        named by `fill_slot`. `token` is new for each call. False also if another process has taken
        a slot for the run.
        """
        ...

    async def fill_slot(self, owner: str, token: str, run: RunId) -> None:
        """Name the run of a slot, which is claimed."""
        ...

    async def free_slot(self, owner: str, token: str) -> None:
        """Free a slot whose run was not claimed."""
        ...
