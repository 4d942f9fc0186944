"""A database of one's own, on whichever server there is."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from twelvefold.errors import StoreUnavailable


@asynccontextmanager
async def private_database(url: str, name: str) -> AsyncIterator[str]:
    """The URL of a new, empty database on the same server; on SQLite, of a new file."""
    if url.startswith("sqlite"):
        with tempfile.TemporaryDirectory(prefix="twelvefold-") as folder:
            yield f"sqlite:///{folder}/{name}.db"
        return
    # The driver is imported for those who have a server for it.
    import asyncmy

    from twelvefold.services.store.mysql_url import connect_arguments

    async def execute(statement: str) -> None:
        try:
            connection = await asyncmy.connect(**connect_arguments(url))
        except (asyncmy.errors.Error, OSError) as error:
            raise StoreUnavailable(f"the database cannot be reached: {error}") from error
        try:
            await connection.cursor().execute(statement)
        finally:
            await connection.ensure_closed()

    await execute(f"create database {name} character set utf8mb4")
    try:
        yield urlsplit(url)._replace(path=f"/{name}").geturl()
    finally:
        await execute(f"drop database {name}")
