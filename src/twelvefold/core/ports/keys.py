"""The port of API keys."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

DEFAULT_SCOPES = ("runs", "approve", "signal")
"""The scopes of a key unless it is created with others: all that concern its principal alone."""
SCOPES = (*DEFAULT_SCOPES, "admin")
"""The permissions of a key, beside reading the data of its principal.

"runs": start, continue, cancel and delete runs. "approve": answer a call that waits for approval or
for an answer. "signal": send events to the runs of its principal. "admin": see and change the runs
of all principals, the outbox, keys and budgets.
"""

MAX_PRIORITY = 9
"""The highest priority of a key; 0 is the lowest, and that of a run without a key."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is stored: its SHA-256 in hex, never the key. Times are microseconds since 1970.

    `scopes` are among `SCOPES`. `workflows` and `tools` are the names of those that the key allows;
    None: all. `old_sha256` is the hash of the secret before the last rotation, which is valid until
    `old_until_us`. `last_used_at_us` may be some minutes old. `rate_per_minute` and `max_runs` are
    requests in a minute and runs at once; None: as the settings say. `priority` is 0 to
    `MAX_PRIORITY`.
    """

    id: str
    name: str
    principal: str
    scopes: tuple[str, ...]
    sha256: str
    created_at_us: int
    revoked_at_us: int | None = None
    expires_at_us: int | None = None
    workflows: tuple[str, ...] | None = None
    tools: tuple[str, ...] | None = None
    last_used_at_us: int | None = None
    old_sha256: str = ""
    old_until_us: int | None = None
    rate_per_minute: int | None = None
    max_runs: int | None = None
    priority: int = 0

    def end_us(self, sha256: str) -> int | None:
        """Return when the secret with this hash stops to be valid; None: never."""
        ends = (self.expires_at_us, self.old_until_us if sha256 == self.old_sha256 else None)
        return min((end for end in ends if end is not None), default=None)


class FoundKey(NamedTuple):
    """A key that is not revoked, found by a secret.

    `left_us` is how long the secret is valid by the database's clock, 0 or less if it has expired;
    None: without end.
    """

    key: ApiKey
    left_us: int | None = None


class KeyStore(Protocol):
    """API keys. Every method may raise StoreUnavailable."""

    async def add_key(self, key: ApiKey) -> None:
        """Store a key. Raises DuplicateRow if a key that is not revoked has the name."""
        ...

    async def has_keys(self) -> bool:
        """Return whether there is a key, also a revoked one."""
        ...

    async def keys(self, *, limit: int, after: str = "") -> list[ApiKey]:
        """Return keys, including revoked ones, newest first; those after the key with an id.

        Raises NotFound if there is no key `after`.
        """
        ...

    async def named_key(self, name: str) -> ApiKey:
        """Return the key with this name or id that is not revoked. Raises NotFound."""
        ...

    async def find_key(self, sha256: str) -> FoundKey | None:
        """Return the key of the secret with this hash; None if there is none or it was revoked."""
        ...

    async def limit_key(
        self, id: str, *, rate_per_minute: int | None, max_runs: int | None, priority: int
    ) -> None:
        """Change the share of a key. Raises NotFound, also for a revoked key."""
        ...

    async def max_runs(self, id: str) -> int | None:
        """Return how many runs of a key may be driven at once; None without a limit of its own."""
        ...

    async def rotate_key(
        self, id: str, sha256: str, *, overlap_us: int, expires_at_us: int | None
    ) -> None:
        """Give a key a new secret; the one before stays valid for `overlap_us`.

        A secret of an earlier rotation ends. Raises NotFound, also for a revoked key.
        """
        ...

    async def touch_key(self, id: str) -> None:
        """Record that a key is in use now; does nothing if there is no such key."""
        ...

    async def revoke_key(self, id: str) -> None:
        """Revoke a key; may be repeated. Raises NotFound."""
        ...
