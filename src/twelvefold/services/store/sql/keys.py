"""API keys in SQL. Only their hashes are stored; a revoked key stays in the table."""

import msgspec

from twelvefold.core import ApiKey, FoundKey, Row
from twelvefold.errors import NotFound
from twelvefold.services.store.sql.base import Database, ascii_id

_FIRST_PAGE = {"created_at": 2**62, "id": "~"}


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
            expires_at=key.expires_at_us,
            workflows=_encode_names(key.workflows),
            tools=_encode_names(key.tools),
            rate_per_minute=key.rate_per_minute,
            max_runs=key.max_runs,
            priority=key.priority,
        )

    async def has_keys(self) -> bool:
        return bool(await self._fetch("any_key"))

    async def keys(self, *, limit: int, after: str = "") -> list[ApiKey]:
        start = _FIRST_PAGE
        if after:
            rows = await self._fetch("key", id=ascii_id(after))
            if not rows:
                raise NotFound(f"no key {after!r}")
            start = {"created_at": rows[0]["created_at"], "id": after}
        return [_api_key(row) for row in await self._fetch("keys", limit=limit, **start)]

    async def named_key(self, name: str) -> ApiKey:
        for row in await self._fetch("named_key", name=name, id=ascii_id(name)):
            if name in (row["id"], row["name"]):  # MySQL ignores spaces at the end
                return _api_key(row)
        raise NotFound(f"no key {name!r}")

    async def find_key(self, sha256: str) -> FoundKey | None:
        rows = await self._fetch("find_key", sha256=sha256)
        if not rows:
            return None
        key = _api_key(rows[0])
        end_us = key.end_us(sha256)
        return FoundKey(key, None if end_us is None else end_us - int(rows[0]["now_us"]))

    async def rotate_key(
        self, id: str, sha256: str, *, overlap_us: int, expires_at_us: int | None
    ) -> None:
        values = {"sha256": sha256, "overlap_us": overlap_us, "expires_at": expires_at_us}
        if not await self._execute("rotate_key", id=id, **values):
            raise NotFound(f"no key {id!r}")

    async def limit_key(
        self, id: str, *, rate_per_minute: int | None, max_runs: int | None, priority: int
    ) -> None:
        values = {"rate_per_minute": rate_per_minute, "max_runs": max_runs, "priority": priority}
        if not await self._execute("limit_key", id=id, **values):
            raise NotFound(f"no key {id!r}")

    async def max_runs(self, id: str) -> int | None:
        rows = await self._fetch("key", id=id)
        return rows[0]["max_runs"] if rows else None

    async def touch_key(self, id: str) -> None:
        await self._execute("touch_key", id=id)

    async def revoke_key(self, id: str) -> None:
        values = {"id": ascii_id(id)}
        async with self._transaction() as db:
            if await db.execute(self._sql["revoke_key"], values):
                return
            if not await db.fetch(self._sql["key"], values):
                raise NotFound(f"no key {id!r}")


def _encode_names(names: tuple[str, ...] | None) -> str | None:
    return None if names is None else msgspec.json.encode(names).decode()


def _decode_names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else msgspec.json.decode(text, type=tuple[str, ...])


def _api_key(row: Row) -> ApiKey:
    return ApiKey(
        id=row["id"],
        name=row["name"],
        principal=row["principal"],
        scopes=tuple(row["scopes"].split()),
        sha256=row["sha256"],
        created_at_us=row["created_at"],
        revoked_at_us=row["revoked_at"],
        expires_at_us=row["expires_at"],
        workflows=_decode_names(row["workflows"]),
        tools=_decode_names(row["tools"]),
        last_used_at_us=row["last_used_at"],
        old_sha256=row["old_sha256"] or "",
        old_until_us=row["old_until"],
        rate_per_minute=row["rate_per_minute"],
        max_runs=row["max_runs"],
        priority=row["priority"] or 0,
    )
