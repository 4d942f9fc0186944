"""API keys: 256 random bits, shown once, stored as their SHA-256."""

import hashlib
import secrets
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from twelvefold.core import SCOPES, ApiKey, Store, Workflow, name_problem
from twelvefold.engine.services import Services
from twelvefold.errors import DuplicateRow, RequestError
from twelvefold.observe.log import get_logger

log = get_logger(__name__)
PREFIX = "tw_"
"""Identifies a leaked key in a log or a commit, for people and secret scanners."""
KEY_BYTES = 32
SECOND_US = 1_000_000


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """How a key is limited beside its scopes; None: not at all, or as the settings say.

    `expires_s` is from now on. `workflows` and `tools` are the names of those that it allows.
    `rate_per_minute`, `max_runs` and `priority` as in ApiKey.
    """

    expires_s: float | None = None
    workflows: tuple[str, ...] | None = None
    tools: tuple[str, ...] | None = None
    rate_per_minute: int | None = None
    max_runs: int | None = None
    priority: int = 0


NO_LIMITS = KeyLimits()


async def create_key(
    store: Store,
    name: str,
    principal: str,
    scopes: Sequence[str],
    limits: KeyLimits = NO_LIMITS,
) -> tuple[str, ApiKey]:
    """Create a key; return its token, which is not stored, and its record.

    Raises RequestError for an invalid name or principal, an unknown scope, and if the name is in
    use.
    """
    if problem := name_problem("name", name) or name_problem("principal", principal):
        raise RequestError(problem)
    if unknown := [scope for scope in scopes if scope not in SCOPES]:
        raise RequestError(f"no scope {unknown[0]!r}; there are {', '.join(SCOPES)}")
    token, now = _new_token(), _now_us()
    key = ApiKey(
        id=f"key_{secrets.token_hex(8)}",
        name=name,
        principal=principal,
        scopes=tuple(scope for scope in SCOPES if scope in scopes),
        sha256=_hash_of(token),
        created_at_us=now,
        expires_at_us=_expiry_us(now, limits.expires_s),
        workflows=limits.workflows,
        tools=limits.tools,
        rate_per_minute=limits.rate_per_minute,
        max_runs=limits.max_runs,
        priority=limits.priority,
    )
    try:
        await store.add_key(key)
    except DuplicateRow:
        raise RequestError(
            f"a key {name!r} exists; revoke it first, or choose another name"
        ) from None
    log.info("key_created", key=key.id, principal=principal, scopes=" ".join(key.scopes))
    return token, key


async def check_limits(services: Services, limits: KeyLimits) -> None:
    """Check the limits of a new key.

    Raises RequestError for a workflow or a tool that this release does not have, and
    MigrationUnfinished while processes of an older release, which would not apply the limits, may
    work on the database.
    """
    if limits == NO_LIMITS:
        return
    await services.gate.check("an API key with an expiry, with limits or with a priority")
    workflows = services.workflows
    _check_names("workflow", limits.workflows, services.offered)
    _check_names("tool", limits.tools, _tool_names(workflows.values()))


async def rotate_key(
    services: Services, name: str, *, overlap_s: float = 0.0, expires_s: float | None = None
) -> tuple[str, ApiKey]:
    """Give a key a new secret; return it, and the key's new record.

    The secret before works for `overlap_s` more; one of an earlier rotation ends. `expires_s`: the
    key expires then; None: as before. `name` may be its id. Raises NotFound, RequestError if the
    key has expired and would stay so, and MigrationUnfinished as `check_limits` does.
    """
    await services.gate.check("an API key with two secrets")
    key = await services.store.named_key(name)
    token, now = _new_token(), _now_us()
    expires_at_us = key.expires_at_us if expires_s is None else _expiry_us(now, expires_s)
    if expires_at_us is not None and expires_at_us <= now:
        raise RequestError(f"key {key.name!r} has expired; give it another expiry")
    await services.store.rotate_key(
        key.id, _hash_of(token), overlap_us=int(overlap_s * SECOND_US), expires_at_us=expires_at_us
    )
    log.info("key_rotated", key=key.id, principal=key.principal, overlap_s=overlap_s)
    return token, await services.store.named_key(key.id)


async def limit_key(services: Services, name: str, limits: KeyLimits) -> ApiKey:
    """Change the requests, runs and priority of a key to those of `limits`; return the key.

    `name` may be its id. Raises NotFound, and MigrationUnfinished as `check_limits` does.
    """
    await services.gate.check("an API key with limits or with a priority")
    key = await services.store.named_key(name)
    share = {"rate_per_minute": limits.rate_per_minute, "max_runs": limits.max_runs}
    await services.store.limit_key(key.id, **share, priority=limits.priority)
    log.info("key_limited", key=key.id, principal=key.principal)
    return await services.store.named_key(key.id)


async def revoke_key(store: Store, id: str) -> None:
    """Revoke a key; may be repeated. Raises NotFound."""
    await store.revoke_key(id)
    log.info("key_revoked", key=id)


def _now_us() -> int:
    """Return the time of this machine's clock: seconds do not matter for an expiry."""
    return time.time_ns() // 1_000


def _new_token() -> str:
    return PREFIX + secrets.token_urlsafe(KEY_BYTES)


def _hash_of(token: str) -> str:
    """Return the hash of a token. A fast one is enough: 256 random bits cannot be guessed."""
    return hashlib.sha256(token.encode()).hexdigest()


def _expiry_us(now: int, expires_s: float | None) -> int | None:
    return None if expires_s is None else now + int(expires_s * SECOND_US)


def _check_names(kind: str, names: Collection[str] | None, known: Collection[str]) -> None:
    for name in names or ():
        if name not in known:
            raise RequestError(f"no {kind} {name!r}; there are {', '.join(known) or 'none'}")


def _tool_names(workflows: Collection[Workflow]) -> list[str]:
    return list(dict.fromkeys(tool.name for one in workflows for tool in one.tools))
