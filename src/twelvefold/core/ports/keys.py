"""The port of API keys."""

from dataclasses import dataclass
from typing import Protocol

DEFAULT_SCOPES = ("runs", "approve", "signal")
"""The scopes of a key unless it is created with others: all that concern its principal alone."""
SCOPES = (*DEFAULT_SCOPES, "admin")
"""The permissions of a key, beside reading the data of its principal.

"runs": start, continue, cancel and delete runs. "approve": answer a call that waits for approval or
for an answer. "signal": send events to the runs of its principal. "admin": see and change the runs
of all principals, the outbox, keys and budgets.
"""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is stored: its SHA-256 in hex, never the key. Times are microseconds since 1970.

    `scopes` are among `SCOPES`.
    """

    id: str
    name: str
    principal: str
    scopes: tuple[str, ...]
    sha256: str
    created_at_us: int
    revoked_at_us: int | None = None


class KeyStore(Protocol):
    """API keys. Every method may raise StoreUnavailable."""

    async def add_key(self, key: ApiKey) -> None:
        """Store a key. Raises DuplicateRow if a key that is not revoked has the name."""
        ...

    async def keys(self) -> list[ApiKey]:
        """Return all keys, including revoked ones, oldest first."""
        ...

    async def find_key(self, sha256: str) -> ApiKey | None:
        """Return the key with this hash; None if there is none or it was revoked."""
        ...

    async def revoke_key(self, id: str) -> None:
        """Revoke a key; may be repeated. Raises NotFound."""
        ...
