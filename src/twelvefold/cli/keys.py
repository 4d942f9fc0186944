"""`twelvefold keys`: create, list, rotate and revoke API keys."""

from collections.abc import Sequence

from twelvefold.cli.command import DONE, CommandContext, command
from twelvefold.cli.output import format_time, print_json, print_list, print_notice
from twelvefold.core import DEFAULT_SCOPES, ApiKey
from twelvefold.engine.keys import (
    KeyLimits,
    check_limits,
    create_key,
    limit_key,
    revoke_key,
    rotate_key,
)

_HEADS = (
    *("ID", "NAME", "PRINCIPAL", "SCOPES", "ALLOWED"),
    *("CREATED (UTC)", "LAST USED (UTC)", "EXPIRES (UTC)", "REVOKED (UTC)"),
)


@command()
async def create(
    context: CommandContext,
    *,
    name: str,
    principal: str | None,
    scopes: Sequence[str] | None,
    expires_s: float | None,
    workflows: Sequence[str] | None,
    tools: Sequence[str] | None,
    rate_per_minute: int | None,
    max_runs: int | None,
    priority: int,
) -> int:
    """Print a new key. Standard output has nothing else."""
    services = context.services
    limits = KeyLimits(
        expires_s, _names(workflows), _names(tools), rate_per_minute, max_runs, priority
    )
    await check_limits(services, limits)
    chosen = scopes or DEFAULT_SCOPES
    token, key = await create_key(services.store, name, principal or name, chosen, limits)
    print(token)
    scopes = " and ".join(key.scopes)
    print_notice(f"{key.id} acts for {key.principal}, with {scopes}; the key is not shown again")
    return DONE


def _names(given: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if given is None else tuple(dict.fromkeys(given))


@command()
async def rotate(
    context: CommandContext, *, key_name: str, overlap_s: float, expires_s: float | None
) -> int:
    """Print a key's new secret. Standard output has nothing else."""
    token, key = await rotate_key(
        context.services, key_name, overlap_s=overlap_s, expires_s=expires_s
    )
    print(token)
    until = (
        f"works until {format_time(key.old_until_us)} UTC" if overlap_s else "is valid no longer"
    )
    print_notice(f"{key.id}: the secret before {until}; the new one is not shown again")
    return DONE


@command()
async def limit(
    context: CommandContext,
    *,
    key_name: str,
    rate_per_minute: int | None,
    max_runs: int | None,
    priority: int,
) -> int:
    """Change the share of a key."""
    limits = KeyLimits(rate_per_minute=rate_per_minute, max_runs=max_runs, priority=priority)
    key = await limit_key(context.services, key_name, limits)
    rate, runs = (key.rate_per_minute or "as many", key.max_runs or "as many")
    print(
        f"{key.id} has {rate} requests a minute, {runs} runs at once, priority {key.priority}"
        + ("" if key.rate_per_minute and key.max_runs else " (as many: as the settings say)")
    )
    return DONE


@command()
async def list_keys(context: CommandContext, *, limit: int, as_json: bool) -> int:
    """Print the newest keys without their secrets, oldest first."""
    newest = await context.services.store.keys(limit=limit + 1)
    keys = newest[:limit][::-1]
    if as_json:
        for key in keys:
            print_json(_key_json(key))
    else:
        print_list(_HEADS, map(_key_cells, keys), empty="no keys found")
    if len(newest) > limit:
        print_notice("there are older keys; --limit N lists more")
    return DONE


def _key_json(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "principal": key.principal,
        "scopes": key.scopes,
        "workflows": key.workflows,
        "tools": key.tools,
        "rate_per_minute": key.rate_per_minute,
        "max_runs": key.max_runs,
        "priority": key.priority,
        "created_at_us": key.created_at_us,
        "last_used_at_us": key.last_used_at_us,
        "expires_at_us": key.expires_at_us,
        "old_secret_until_us": key.old_until_us,
        "revoked_at_us": key.revoked_at_us,
    }


def _key_cells(key: ApiKey) -> Sequence[str]:
    return (
        key.id,
        key.name,
        key.principal,
        ", ".join(key.scopes),
        ", ".join((*(key.workflows or ()), *(key.tools or ()))) or "all",
        format_time(key.created_at_us),
        format_time(key.last_used_at_us),
        format_time(key.expires_at_us),
        format_time(key.revoked_at_us),
    )


@command()
async def revoke(context: CommandContext, *, key_id: str) -> int:
    """Revoke a key."""
    await revoke_key(context.services.store, key_id)
    print(f"{key_id} is revoked")
    return DONE
