"""API keys: 256 random bits, shown once, stored as their SHA-256."""

import hashlib
import secrets
from collections.abc import Sequence

from twelvefold.boot import now_us
from twelvefold.core import SCOPES, ApiKey, Store
from twelvefold.errors import DuplicateRow, RequestError

PREFIX = "tw_"
"""Identifies a leaked key in a log or a commit, for people and secret scanners."""
KEY_BYTES = 32


async def create_key(
    store: Store, name: str, principal: str, scopes: Sequence[str]
) -> tuple[str, ApiKey]:
    """Create a key; return its token, which is not stored, and its record.

    Raises RequestError for an unknown scope, and if the name is in use.
    """
    if unknown := [scope for scope in scopes if scope not in SCOPES]:
        raise RequestError(f"no scope {unknown[0]!r}; there are {', '.join(SCOPES)}")
    token = PREFIX + secrets.token_urlsafe(KEY_BYTES)
    key = ApiKey(
        id=f"key_{secrets.token_hex(8)}",
        name=name,
        principal=principal,
        scopes=tuple(scope for scope in SCOPES if scope in scopes),
        # A fast hash is enough: 256 random bits cannot be guessed.
        sha256=hashlib.sha256(token.encode()).hexdigest(),
        created_at_us=now_us(),
    )
    try:
        await store.add_key(key)
    except DuplicateRow:
        raise RequestError(
            f"a key {name!r} exists; revoke it first, or choose another name"
        ) from None
    return token, key
