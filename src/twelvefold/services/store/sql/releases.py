"""Which schema there is, and the ledger of the releases that were put in place on it."""

from twelvefold.core.ports import Release, Row, Schema
from twelvefold.errors import DuplicateRow, StoreUnavailable
from twelvefold.services.store.sql.base import Database

LEDGER = "0003"
"""The migration that made the ledger."""


class Releases(Database):
    """The methods of `twelvefold.core.ports.Store` that are about releases."""

    async def schema(self) -> Schema | None:
        async with self._reading() as db:
            if not await db.fetch(self._sql["version_table"], {}):
                return None
            if not (rows := await db.fetch(self._sql["level"], {})):
                return None
            level = str(rows[0]["version_num"])
            if level < LEDGER:
                return Schema(level, level)
            noted = await db.fetch(self._sql["serves"], {"level": level})
        return Schema(level, noted[0]["serves"] or level)

    async def add_release(self, release: Release) -> bool:
        last = await self._found("releases", limit=1)
        if last and _is_the_same(_release(last[0]), release):
            return False
        try:
            await self._written(
                "insert_release",
                number=last[0]["number"] + 1 if last else 1,
                release=release.id,
                version=release.version,
                commit=release.commit,
                level=release.level,
                serves=release.serves,
            )
        except DuplicateRow as error:
            raise StoreUnavailable(
                "another release is just being put in place"
            ).loggable() from error
        return True

    async def releases(self, *, limit: int) -> list[Release]:
        return [_release(row) for row in await self._found("releases", limit=limit)]


def _is_the_same(one: Release, other: Release) -> bool:
    return (one.id, one.version, one.commit, one.level) == (
        other.id,
        other.version,
        other.commit,
        other.level,
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
