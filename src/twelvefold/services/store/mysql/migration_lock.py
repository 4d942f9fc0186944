"""The lock of a migration: a row that one process holds until a time by the server's clock.

`GET_LOCK` holds at one node only, so two nodes of a cluster grant it at once. An UPDATE of one row
is certified by all of them. The lock of a process that was killed expires.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import asyncmy

from twelvefold.errors import StoreUnavailable
from twelvefold.services.store.mysql import login
from twelvefold.services.store.mysql.errors import keeps_connection

WAIT_S = 60.0
"""How long to wait while another process migrates the same database."""
HOLD_S = 30
"""How long the lock is held without a renewal."""
POLL_S = 0.5
TABLE = "twelvefold_migration_lock"
_EXISTS = (
    "SELECT 1 FROM information_schema.tables "  # noqa: S608 - constants of this module
    f"WHERE table_schema = DATABASE() AND table_name = '{TABLE}'"
)
_CREATE = (
    f"CREATE TABLE IF NOT EXISTS {TABLE} (id SMALLINT NOT NULL, "
    "token VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, "
    "expires_at BIGINT NOT NULL, PRIMARY KEY (id)) ENGINE=InnoDB"
)
_FILL = f"INSERT IGNORE INTO {TABLE} (id, token, expires_at) VALUES (1, '', 0)"  # noqa: S608 - as above
_TAKE = (
    f"UPDATE {TABLE} SET token = %s, expires_at = UNIX_TIMESTAMP() + {HOLD_S} "  # noqa: S608 - as above
    "WHERE id = 1 AND expires_at <= UNIX_TIMESTAMP()"
)
RENEW = (
    f"UPDATE {TABLE} SET expires_at = UNIX_TIMESTAMP() + {HOLD_S} "  # noqa: S608 - as above
    "WHERE id = 1 AND token = '{}'"
)
"""0 rows mean that another process holds the lock. `{}` is the token."""
_RELEASE = f"UPDATE {TABLE} SET token = '', expires_at = 0 WHERE id = 1 AND token = %s"  # noqa: S608 - as above


@asynccontextmanager
async def migration_lock(connect: Mapping[str, Any]) -> AsyncIterator[str]:
    """Hold the lock and renew it while the body runs; yields its token.

    Raises StoreUnavailable if another process holds it for `WAIT_S`, and the driver's errors.
    """
    token = secrets.token_hex(16)
    await _take(connect, token)
    renewing = asyncio.get_running_loop().create_task(_keep(connect, token))
    try:
        yield token
    finally:
        renewing.cancel()
        await asyncio.wait([renewing])
        with suppress(Exception):  # it expires
            await _run(connect, _RELEASE, token)


async def _take(connect: Mapping[str, Any], token: str) -> None:
    if not await _run(connect, _EXISTS):
        await _run(connect, _CREATE)
    await _run(connect, _FILL)
    loop = asyncio.get_running_loop()
    end = loop.time() + WAIT_S
    while not await _try_to_take(connect, token):
        if loop.time() > end:
            raise StoreUnavailable(f"another process still migrates after {WAIT_S:g} s")
        await asyncio.sleep(POLL_S)


async def _try_to_take(connect: Mapping[str, Any], token: str) -> bool:
    try:
        return await _run(connect, _TAKE, token) == 1
    except asyncmy.errors.Error as error:
        # Another node of the cluster has just granted it, or a lock of the row lasts.
        if keeps_connection(error):
            return False
        raise


async def _keep(connect: Mapping[str, Any], token: str) -> None:
    """Renew the lock; an attempt that fails is repeated before it expires."""
    while True:
        await asyncio.sleep(HOLD_S / 6)
        with suppress(Exception):
            await _run(connect, RENEW.format(token))


async def _run(connect: Mapping[str, Any], statement: str, *values: str) -> int:
    """Run and commit one statement on a new connection; return the number of rows."""
    raw = await login.connect(connect, autocommit=True)
    try:
        async with raw.cursor() as cursor:
            await cursor.execute(statement, values)
            return cast("int", cursor.rowcount)
    finally:
        await raw.ensure_closed()
