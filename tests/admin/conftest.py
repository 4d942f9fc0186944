"""Databases for one test."""

import asyncio
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import asyncmy
import pytest

from twelvefold.services.store.mysql.url import connect_arguments

SERVER = os.environ.get("DATABASE_URL", "")
"""Read before a test removes it from the environment."""


@contextmanager
def private_mysql() -> Iterator[str]:
    """Create an empty database on the server of DATABASE_URL, and drop it at the end."""
    if not SERVER.startswith(("mysql", "mariadb")):
        pytest.fail("DATABASE_URL names no MySQL: python -m tests.servers run -- pytest starts one")
    name = f"admin_{secrets.token_hex(6)}"
    asyncio.run(_on_server(f"create database {name} character set utf8mb4"))
    try:
        yield urlsplit(SERVER)._replace(path=f"/{name}").geturl()
    finally:
        asyncio.run(_on_server(f"drop database {name}"))


async def _on_server(statement: str) -> None:
    connection = await asyncmy.connect(**connect_arguments(SERVER))
    async with connection.cursor() as cursor:
        await cursor.execute(statement)
    await connection.ensure_closed()


@pytest.fixture
def mysql_url() -> Iterator[str]:
    with private_mysql() as url:
        yield url
