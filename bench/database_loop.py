"""The bare loop with tools on the database: SQLAlchemy over asyncmy, a transaction per tool."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from bench.academy import Database, Json
from bench.bare_loop import BareLoop, open_session
from bench.contender import Contender, Options, main
from bench.mysql import POOL_SIZE


class Connection:
    """Implements `bench.academy.Database`."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def fetch_one(self, statement: str, /, **values: Any) -> Json | None:
        rows = await self._connection.execute(_text(statement), values)
        row = rows.mappings().first()
        return dict(row) if row else None

    async def execute(self, statement: str, /, **values: Any) -> int:
        return (await self._connection.execute(_text(statement), values)).rowcount


@lru_cache
def _text(statement: str) -> TextClause:
    return text(statement)


@asynccontextmanager
async def open_database_loop(options: Options) -> AsyncIterator[Contender]:
    url = make_url(options.database_url).set(drivername="mysql+asyncmy")
    engine = create_async_engine(url, pool_size=POOL_SIZE, max_overflow=0, pool_timeout=600)

    @asynccontextmanager
    async def begin() -> AsyncIterator[Database]:
        async with engine.begin() as connection:
            yield Connection(connection)

    async with open_session() as session:
        yield BareLoop(session, options, begin)
    await engine.dispose()


if __name__ == "__main__":
    main(open_database_loop)
