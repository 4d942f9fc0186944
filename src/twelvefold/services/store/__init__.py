"""The journal's store, picked by URL scheme: MySQL and MariaDB, or the embedded SQLite."""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from twelvefold.errors import SettingsError
from twelvefold.services.store.sqlite import MEMORY, sqlite_path

if TYPE_CHECKING:
    from twelvefold.core.ports import Store

__all__ = ["MEMORY", "MYSQL_SCHEMES", "open_store", "sqlite_path"]

MYSQL_SCHEMES = ("mysql", "mariadb")


async def open_store(url: str, *, pool_size: int = 10) -> "Store":
    """The store behind a URL; connections are opened on first use. Raises SettingsError."""
    scheme = urlsplit(url).scheme.partition("+")[0]
    if scheme == "sqlite":
        from twelvefold.services.store.sqlite.store import SQLiteStore

        return SQLiteStore(sqlite_path(url))
    if scheme in MYSQL_SCHEMES:
        # The driver costs a tenth of a second to import, which the embedded default need not pay.
        from twelvefold.services.store.mysql.store import MySQLStore
        from twelvefold.services.store.mysql.url import connect_arguments

        return MySQLStore(connect_arguments(url), pool_size)
    raise SettingsError(f"DATABASE_URL: scheme {scheme!r} is not known; use mysql or sqlite")
