"""The schema's level in SQL, and the ledger of the releases that were deployed on it."""

from twelvefold.core import Release, Row, Schema
from twelvefold.errors import DuplicateRow, StoreUnavailable
from twelvefold.services.store.sql.base import Database

LEDGER_REVISION = "0003"
"""The migration that makes the ledger."""


class Releases(Database):
    """Implements the methods of `twelvefold.core.ports.MaintenanceStore` on schema and releases."""

    async def schema(self) -> Schema | None:
        async with self._read_connection() as db:
            if not await db.fetch(self._sql["version_table"], {}):
                return None
            if not (rows := await db.fetch(self._sql["level"], {})):
                return None
            level = str(rows[0]["version_num"])
            if level < LEDGER_REVISION:
                return Schema(level, level, is_recorded=False)
            recorded = await db.fetch(self._sql["serves"], {"level": level})
        serves = recorded[0]["serves"]
        return Schema(level, serves or level, is_recorded=serves is not None)

    async def add_release(self, release: Release) -> bool:
        last = await self._fetch("releases", limit=1)
        if last and _is_same(_release(last[0]), release):
            return False
        try:
            await self._execute(
                "insert_release",
                number=last[0]["number"] + 1 if last else 1,
                release=release.id,
                version=release.version,
                commit=release.commit,
                level=release.level,
                serves=release.serves,
            )
        except DuplicateRow as error:
            raise StoreUnavailable("another release is being deployed").loggable() from error
        return True

    async def releases(self, *, limit: int) -> list[Release]:
        return [_release(row) for row in await self._fetch("releases", limit=limit)]


def _is_same(one: Release, other: Release) -> bool:
    return (one.id, one.version, one.commit, one.level, one.serves) == (
        other.id,
        other.version,
        other.commit,
        other.level,
        other.serves,
    )


def _release(row: Row) -> Release:
    return Release(
        id=row["release_id"],
        version=row["version"],
        commit=row["commit_id"],
        level=row["level"],
        serves=row["serves"],
        at_us=row["at_us"],
    )
