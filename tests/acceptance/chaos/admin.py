"""The harness's own connection to the server, under an account that no fault is aimed at."""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncmy
from asyncmy.cursors import DictCursor
from asyncmy.errors import Error as DriverError
from asyncmy.errors import ProgrammingError

from twelvefold.errors import StoreUnavailable
from twelvefold.services.store.mysql.hosts import find_writable
from twelvefold.services.store.mysql.url import host_arguments

PAUSE_S = 0.1


class Admin:
    """One connection with autocommit, opened again when it is lost.

    Of several servers it is to the one that takes writes: another one may have old rows. `session`
    is a statement that each connection begins with.
    """

    def __init__(self, url: str, session: str = "") -> None:
        self._hosts = host_arguments(url)
        self._session = session
        self._connection: Any = None
        self._one_at_a_time = asyncio.Lock()

    async def rows(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        """The rows of a statement that may be repeated; waits for a server that is away."""
        async with self._one_at_a_time:
            while True:
                try:
                    return await self._asked(statement, values)
                except ProgrammingError:
                    raise
                except (DriverError, OSError, EOFError, RuntimeError):
                    await asyncio.sleep(PAUSE_S)

    async def attempt(self, statement: str) -> bool:
        """Run a statement once; False where it failed."""
        async with self._one_at_a_time:
            try:
                await self._asked(statement, ())
            except (DriverError, OSError, EOFError, RuntimeError):
                return False
            return True

    async def number(self, statement: str, *values: Any) -> int:
        """The one number that a statement selects."""
        (row,) = await self.rows(statement, *values)
        (value,) = row.values()
        return int(value or 0)

    async def _asked(self, statement: str, values: Sequence[Any]) -> list[dict[str, Any]]:
        try:
            if self._connection is None:
                self._connection = await self._connect()
            async with self._connection.cursor() as cursor:
                await cursor.execute(statement, tuple(values) or None)
                return list(await cursor.fetchall())
        except BaseException:
            # An answer that was not read would be taken for the next statement's.
            await self.close()
            raise

    async def _connect(self) -> Any:
        try:
            host = await find_writable(self._hosts)
        except StoreUnavailable as error:
            raise ConnectionError(str(error)) from error
        connection = await asyncmy.connect(**{**host, "cursor_cls": DictCursor, "autocommit": True})
        if self._session:
            async with connection.cursor() as cursor:
                await cursor.execute(self._session)
        return connection

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
