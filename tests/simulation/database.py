"""Databases for simulations. A used one is emptied and used again: its statements are prepared, and
preparing them takes longer than most simulations."""

import sqlite3
from collections.abc import Callable
from functools import cache

from twelvefold.services.store.migrate import HEAD, offline_sql
from twelvefold.services.store.sqlite.connection import regexp

SCHEMA = "CREATE TABLE orders (call_id text not null, item text not null);"
FINISHED = (
    "INSERT INTO twelvefold_releases (number, release_id, version, commit_id, level, serves, at_us)"
    f" VALUES (1, '1.0', '1.0', '', '{HEAD}', '{HEAD}', 0)"
)
"""No older release works on the database, so runs may wait."""


class Database:
    """An empty, migrated database in memory. `now_us` is the clock that its statements read."""

    def __init__(self, image: bytes) -> None:
        self.raw = sqlite3.connect(":memory:", isolation_level=None, cached_statements=512)
        self.raw.deserialize(image)
        self.raw.create_function("now_us", 0, lambda: self.now_us())
        self.raw.create_function("regexp", 2, regexp, deterministic=True)
        self.now_us: Callable[[], int] = lambda: 0
        names = self.raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        self._tables = [name for (name,) in names if name != "twelvefold_version"]

    def empty(self) -> None:
        self.raw.rollback()
        for table in self._tables:
            self.raw.execute(f"DELETE FROM {table}")
        self.raw.execute(FINISHED)


@cache
def _image(schema: str) -> bytes:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.executescript(offline_sql("sqlite://") + schema)
    db.execute(FINISHED)
    image: bytes = db.serialize()
    db.close()
    return image


@cache
def _shared() -> Database:
    return Database(_image(SCHEMA))


def new_database(schema: str) -> Database:
    """Return a new database."""
    return Database(_image(schema))


def shared_database() -> Database:
    """Return the shared database, empty: one simulation at a time uses it."""
    _shared().empty()
    return _shared()
