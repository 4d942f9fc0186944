"""API keys: made of 256 random bits, shown once, kept as their SHA-256."""

import hashlib
import secrets
from collections.abc import Sequence

from twelvefold.boot import now_us
from twelvefold.core.ports import SCOPES, ApiKey, Store
from twelvefold.errors import DuplicateRow, RequestError

PREFIX = "tw_"
"""So that whoever finds a key in a log or a commit knows what it opens."""
KEY_BYTES = 32


async def create_key(
    store: Store, name: str, principal: str, scopes: Sequence[str]
) -> tuple[str, ApiKey]:
    """Make a key; returns it, which nobody can find out again, and what is kept of it.

    Raises RequestError for a scope that there is none of, and if a key has this name.
    """
    if unknown := [scope for scope in scopes if scope not in SCOPES]:
        raise RequestError(f"no scope {unknown[0]!r}; there are {', '.join(SCOPES)}")
    token = PREFIX + secrets.token_urlsafe(KEY_BYTES)
    kept = ApiKey(
        id=f"key_{secrets.token_hex(8)}",
        name=name,
        principal=principal,
        scopes=tuple(scope for scope in SCOPES if scope in scopes),
        # A hash that is quick to make: there is nothing to guess at in 256 random bits.
        sha256=hashlib.sha256(token.encode()).hexdigest(),
        created_at_us=now_us(),
    )
    try:
        await store.add_key(kept)
    except DuplicateRow:
        raise RequestError(
            f"there is a key {name!r} already; revoke it first, or give this one another name"
        ) from None
    return token, kept
