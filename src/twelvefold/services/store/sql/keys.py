"""API keys in SQL. Only their hashes are stored; a revoked key stays in the table."""

from twelvefold.core import ApiKey, Row
from twelvefold.errors import NotFound
from twelvefold.services.store.sql.base import Database


class Keys(Database):
    """Implements `twelvefold.core.ports.KeyStore`."""

    async def add_key(self, key: ApiKey) -> None:
        await self._execute(
            "insert_key",
            id=key.id,
            name=key.name,
            principal=key.principal,
            scopes=" ".join(key.scopes),
            sha256=key.sha256,
            created_at=key.created_at_us,
        )

    async def keys(self) -> list[ApiKey]:
        return [_api_key(row) for row in await self._fetch("keys")]

    async def find_key(self, sha256: str) -> ApiKey | None:
        rows = await self._fetch("find_key", sha256=sha256)
        return _api_key(rows[0]) if rows else None

    async def revoke_key(self, id: str) -> None:
        async with self._transaction() as db:
            if await db.execute(self._sql["revoke_key"], {"id": id}):
                return
            if not await db.fetch(self._sql["key"], {"id": id}):
                raise NotFound(f"no key {id!r}")


def _api_key(row: Row) -> ApiKey:
    return ApiKey(
        id=row["id"],
        name=row["name"],
        principal=row["principal"],
        scopes=tuple(row["scopes"].split()),
        sha256=row["sha256"],
        created_at_us=row["created_at"],
        revoked_at_us=row["revoked_at"],
    )
