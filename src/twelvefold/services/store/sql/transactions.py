"""Transactions outside a step, and SQLAlchemy in those of tools."""

import sys
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

from twelvefold.core import ToolReadOnly, Transaction
from twelvefold.services.store.connection import Connection
from twelvefold.services.store.sql.base import Database
from twelvefold.services.store.sql_text import Dialect
from twelvefold.services.store.transaction import SQLReadOnly, SQLTransaction

if TYPE_CHECKING:
    from twelvefold.services.store.sqlalchemy_bridge import SQLAlchemyBridge


class Transactions(Database):
    """Implements `read` and `write` of `twelvefold.core.ports.RunStore`."""

    def __init__(
        self, dialect: Dialect, words: Mapping[str, str], now_us: Callable[[], int]
    ) -> None:
        super().__init__(dialect, words, now_us)
        self._bridge: SQLAlchemyBridge | None = None

    @abstractmethod
    def _tool_read_connection(self) -> AbstractAsyncContextManager[Connection]:
        """Open a connection for a tool's statements, on which the database rejects writes."""

    def prepare(self) -> None:
        """Prepare SQLAlchemy if a workflow has imported it."""
        if "sqlalchemy" in sys.modules:
            self._get_bridge().prepare(self._dialect)

    def _get_bridge(self) -> "SQLAlchemyBridge":
        # Only tools that use SQLAlchemy pay for its import.
        from twelvefold.services.store.sqlalchemy_bridge import SQLAlchemyBridge

        if self._bridge is None:
            self._bridge = SQLAlchemyBridge()
        return self._bridge

    @asynccontextmanager
    async def read(self) -> AsyncIterator[ToolReadOnly]:
        async with self._tool_read_connection() as db:
            tx = SQLReadOnly(db, self._get_bridge)
            try:
                yield tx
            finally:
                await tx.close()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Transaction]:
        async with self._tool_transaction() as db:
            tx = SQLTransaction(db, self._get_bridge, self._sql)
            try:
                yield tx
                await tx.finish()
            finally:
                await tx.close()
