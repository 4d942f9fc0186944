"""`twelvefold keys`: create, list and revoke API keys."""

from collections.abc import Sequence

from twelvefold.admin.keys import create_key
from twelvefold.cli.command import DONE, CommandContext, command
from twelvefold.cli.output import format_time, print_json, print_notice, print_table
from twelvefold.core import DEFAULT_SCOPES, ApiKey


@command()
async def create(
    context: CommandContext, *, name: str, principal: str | None, scopes: Sequence[str] | None
) -> int:
    """Print a new key. Standard output has nothing else."""
    store = context.services.store
    token, key = await create_key(store, name, principal or name, scopes or DEFAULT_SCOPES)
    print(token)
    scopes = " and ".join(key.scopes)
    print_notice(f"{key.id} acts for {key.principal}, with {scopes}; the key is not shown again")
    return DONE


@command()
async def list_keys(context: CommandContext, *, as_json: bool) -> int:
    """Print all keys without their secrets."""
    keys = await context.services.store.keys()
    if as_json:
        for key in keys:
            print_json(_key_json(key))
    else:
        heads = ("ID", "NAME", "PRINCIPAL", "SCOPES", "CREATED (UTC)", "REVOKED (UTC)")
        print_table(heads, map(_key_cells, keys))
    return DONE


def _key_json(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "principal": key.principal,
        "scopes": key.scopes,
        "created_at_us": key.created_at_us,
        "revoked_at_us": key.revoked_at_us,
    }


def _key_cells(key: ApiKey) -> Sequence[str]:
    return (
        key.id,
        key.name,
        key.principal,
        ", ".join(key.scopes),
        format_time(key.created_at_us),
        format_time(key.revoked_at_us),
    )


@command()
async def revoke(context: CommandContext, *, key_id: str) -> int:
    """Revoke a key."""
    await context.services.store.revoke_key(key_id)
    print(f"{key_id} is revoked")
    return DONE
