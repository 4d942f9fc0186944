"""`twelvefold keys`: make, list and revoke API keys."""

from collections.abc import Sequence

from twelvefold.admin.keys import create_key
from twelvefold.cli.command import DONE, CommandContext, command
from twelvefold.cli.output import print_json, print_table, tell, when
from twelvefold.core.ports import SCOPES, ApiKey


@command()
async def create(
    desk: CommandContext, *, name: str, principal: str | None, scopes: Sequence[str] | None
) -> int:
    """Print a new key, alone on standard output."""
    store = desk.services.store
    token, kept = await create_key(store, name, principal or name, scopes or SCOPES)
    print(token)
    scopes = " and ".join(kept.scopes)
    tell(f"{kept.id} acts for {kept.principal}, with {scopes}; the key is shown this once")
    return DONE


@command()
async def list_keys(desk: CommandContext, *, as_json: bool) -> int:
    """Print every key, without the keys themselves."""
    keys = await desk.services.store.keys()
    if as_json:
        for key in keys:
            print_json(_key_json(key))
    else:
        heads = ("ID", "NAME", "FOR", "SCOPES", "MADE (UTC)", "REVOKED (UTC)")
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
        when(key.created_at_us),
        when(key.revoked_at_us),
    )


@command()
async def revoke(desk: CommandContext, *, key_id: str) -> int:
    """End a key."""
    await desk.services.store.revoke_key(key_id)
    print(f"{key_id} is revoked")
    return DONE
