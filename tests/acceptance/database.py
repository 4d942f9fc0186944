"""A database of one's own, on whichever server there is."""

import asyncio
import os
import secrets
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from twelvefold.engine import retry_unavailable
from twelvefold.errors import StoreUnavailable

SERVER = os.environ.get("DATABASE_URL", "")
"""As it was before any test has set another one."""


@asynccontextmanager
async def private_database(url: str, name: str) -> AsyncIterator[str]:
    """The URL of a new, empty database on the same server; on SQLite, of a new file."""
    if url.startswith("sqlite"):
        with tempfile.TemporaryDirectory(prefix="twelvefold-") as folder:
            yield f"sqlite:///{folder}/{name}.db"
        return
    # The driver is imported for those who have a server for it.
    import asyncmy

    from twelvefold.services.store.mysql.hosts import find_writable
    from twelvefold.services.store.mysql.url import host_arguments

    async def execute(statement: str) -> None:
        try:
            connection = await asyncmy.connect(**await find_writable(host_arguments(url)))
        except (asyncmy.errors.Error, OSError) as error:
            raise StoreUnavailable(f"the database cannot be reached: {error}") from error
        try:
            await connection.cursor().execute(statement)
        finally:
            await connection.ensure_closed()

    # Without a database that takes writes now, as after a failover, it waits for one.
    await retry_unavailable(lambda: execute(f"create database {name} character set utf8mb4"))
    try:
        yield urlsplit(url)._replace(path=f"/{name}").geturl()
    finally:
        await retry_unavailable(lambda: execute(f"drop database {name}"))


@contextmanager
def empty_database(kind: str, here: Path) -> Iterator[str]:
    """The URL of an empty database for other processes: "sqlite", or "server" of DATABASE_URL."""
    if kind == "sqlite":
        yield f"sqlite:///{here}/twelvefold.db"
        return
    making = private_database(SERVER, f"empty_{secrets.token_hex(6)}")
    with asyncio.Runner() as runner:
        url = runner.run(making.__aenter__())
        try:
            yield url
        finally:
            runner.run(making.__aexit__(None, None, None))
