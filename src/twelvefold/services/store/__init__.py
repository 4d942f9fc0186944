"""The store, chosen by the scheme of a URL: MySQL or MariaDB, or embedded SQLite."""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from twelvefold.errors import SettingsError
from twelvefold.services.store.mysql.server_urls import server_urls
from twelvefold.services.store.sqlite import MEMORY, sqlite_path

if TYPE_CHECKING:
    from twelvefold.core import Store
    from twelvefold.secret_file import SecretFile
    from twelvefold.services.store.mysql.hosts import HostReport

__all__ = ["MEMORY", "MYSQL_SCHEMES", "open_store", "report_hosts", "sqlite_path"]

MYSQL_SCHEMES = ("mysql", "mariadb")


async def report_hosts(url: str, password: "SecretFile | None" = None) -> "list[HostReport]":
    """Return the state of each host of a URL with several hosts; of one host, nothing."""
    if len(server_urls(url)) == 1:
        return []
    from twelvefold.services.store.mysql import hosts
    from twelvefold.services.store.mysql.url import host_arguments

    return await hosts.report_hosts(host_arguments(url, password))


async def open_store(
    url: str, *, pool_size: int = 10, password: "SecretFile | None" = None
) -> "Store":
    """Return the store of a URL. Connections are opened on first use. Raises SettingsError.

    `password` is that of a server, instead of the URL's.
    """
    scheme = urlsplit(server_urls(url)[0]).scheme.partition("+")[0]
    if scheme == "sqlite":
        from twelvefold.services.store.sqlite.store import SQLiteStore

        return SQLiteStore(sqlite_path(url))
    if scheme in MYSQL_SCHEMES:
        # The driver takes a tenth of a second to import, which SQLite does not need.
        from twelvefold.services.store.mysql.hosts import HostSelector
        from twelvefold.services.store.mysql.store import MySQLStore
        from twelvefold.services.store.mysql.url import host_arguments

        arguments = host_arguments(url, password)
        hosts = HostSelector(arguments) if len(arguments) > 1 else None
        return MySQLStore(arguments[0], pool_size, hosts=hosts)
    raise SettingsError(f"DATABASE_URL: scheme {scheme!r} is not known; use mysql or sqlite")
