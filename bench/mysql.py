"""Connections of the bench to the database server, without Twelvefold."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import asyncmy
from asyncmy.constants.CLIENT import FOUND_ROWS

POOL_SIZE = 10
"""The default of DATABASE_POOL_SIZE."""


def connect_arguments(url: str) -> dict[str, Any]:
    """Return the driver's arguments for `mysql://user:password@host:port/database`."""
    parts = urlsplit(url)
    return {
        "host": parts.hostname,
        "port": parts.port or 3306,
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "database": parts.path.lstrip("/"),
        "charset": "utf8mb4",
        "client_flag": FOUND_ROWS,
    }


async def execute(
    url: str, *statements: str, many: Sequence[Sequence[Any]] = ()
) -> list[tuple[Any, ...]]:
    """Run statements in one transaction, the last for `many` values; return its rows."""
    connection = await asyncmy.connect(**connect_arguments(url))
    try:
        cursor = connection.cursor()
        *first, last = statements
        for statement in first:
            await cursor.execute(statement)
        await (cursor.executemany(last, many) if many else cursor.execute(last))
        rows = await cursor.fetchall()
        await connection.commit()
        return list(rows)
    finally:
        await connection.ensure_closed()
