"""Faults of the database server: its limits, its disk, its end."""

import asyncio
import re
import time
from typing import Any, ClassVar

import asyncmy
from asyncmy.errors import Error as DriverError

from tests.acceptance.chaos.arena import ACCOUNT, Arena
from tests.acceptance.chaos.disk import SmallDisk
from tests.acceptance.chaos.scenes.scene import FAULT_S, Scene
from tests.acceptance.chaos.terms import IN_TURN, LEASE_S, Terms
from twelvefold.services.store.mysql.url import connect_arguments

SHARES = (0.3, 1.0, 0.5)
"""Which part of the application's connections the server ends, again and again, in each fault."""
ENDS = 8
"""How often in each fault: without that, few new connections would be opened."""


class AccountLimit(Scene):
    """MAX_USER_CONNECTIONS of the application's account is lowered: error 1226."""

    name: ClassVar[str] = "account-limit"

    def __init__(self) -> None:
        super().__init__(Terms())

    async def faults(self, arena: Arena) -> None:
        for share in SHARES:
            await _limit_account(arena, arena.chance.choice((2, 4, 6)))
            try:
                for _ in range(ENDS):
                    await _end_connections(arena, share)
                    await asyncio.sleep(FAULT_S / ENDS)
            finally:
                await _limit_account(arena, 0)
            await arena.recover()

    def seen(self, arena: Arena) -> int:
        return _named_in_logs(arena, "1226")


async def _limit_account(arena: Arena, connections: int) -> None:
    await arena.admin.rows(f"alter user {ACCOUNT}@'%' with max_user_connections {connections}")


class DiskFull(Scene):
    """The file system of the database's tables is full: error 1114 or 1021.

    Where nothing may be mounted, the tables are in a system tablespace with a maximum size, and
    a table of the scene fills that.
    """

    name: ClassVar[str] = "disk-full"

    def __init__(self, *, mount: bool) -> None:
        self._disk = SmallDisk() if mount else None
        options = () if mount else TABLESPACE_OPTIONS
        settings = () if mount else ("set global innodb_file_per_table = off",)
        super().__init__(Terms(IN_TURN, options, settings, notes=5, disk=self._disk))

    async def faults(self, arena: Arena) -> None:
        for _ in SHARES:
            await self._fill(arena)
            # Deleted rows and rollbacks free space.
            for _ in range(int(FAULT_S)):
                await asyncio.sleep(1)
                await self._fill(arena)
            await self._free(arena)
            await arena.recover()

    async def _fill(self, arena: Arena) -> None:
        if self._disk:
            await asyncio.to_thread(self._disk.fill)
            return
        # Rows that fit into a page: pages of their own may use what InnoDB keeps for rollbacks.
        await arena.admin.attempt("create table if not exists filler (note varchar(7000) not null)")
        for rows in (400, 40, 4, 1):
            values = ", ".join(["(repeat('x', 7000))"] * rows)
            while await arena.admin.attempt(f"insert into filler values {values}"):
                pass

    async def _free(self, arena: Arena) -> None:
        if self._disk:
            self._disk.free()
        await _restore(arena)
        if not self._disk:
            await arena.admin.attempt("drop table if exists filler")

    def seen(self, arena: Arena) -> int:
        return _named_in_logs(arena, "1114", "1021")


async def _restore(arena: Arena) -> None:
    """Start the server again if it has aborted: InnoDB does where a rollback finds no room."""
    if not await arena.admin.attempt("select 1"):
        arena.notes.append("MariaDB had aborted, and was started again")
        await asyncio.to_thread(arena.mariadb.kill)
        await asyncio.to_thread(arena.mariadb.start)


TABLESPACE_OPTIONS = (
    "--innodb-data-file-path=ibdata1:12M:autoextend:max:64M",
    "--innodb-undo-tablespaces=3",
)


class ServerFull(Scene):
    """All of the server's connections are taken by others: error 1040."""

    name: ClassVar[str] = "server-full"

    def __init__(self) -> None:
        super().__init__(Terms(server_settings=("set global max_connections = 80",)))

    async def faults(self, arena: Arena) -> None:
        others: list[Any] = []
        for share in SHARES:
            try:
                for _ in range(ENDS):
                    await _end_connections(arena, share)
                    await _take_all(arena, others)
                    await asyncio.sleep(FAULT_S / ENDS)
            finally:
                for one in others:
                    one.close()
                others.clear()
            await arena.recover()

    def seen(self, arena: Arena) -> int:
        return _named_in_logs(arena, "1040")


async def _take_all(arena: Arena, others: list[Any]) -> None:
    """Connect under the application's account until the server accepts no more."""
    arguments = connect_arguments(arena.app_url())
    while True:
        try:
            others.append(await asyncmy.connect(**arguments))
        except (DriverError, OSError, EOFError, RuntimeError):
            return


class ServerKilled(Scene):
    """MariaDB is ended by SIGKILL and started again, three times."""

    name: ClassVar[str] = "server-killed"

    def __init__(self) -> None:
        super().__init__()
        self._kills = 0

    async def faults(self, arena: Arena) -> None:
        for away_s in (0.0, 1.5 * LEASE_S, 1.0):
            await asyncio.sleep(arena.chance.uniform(4, 8))
            await asyncio.to_thread(arena.mariadb.kill)
            arena.counter.outage_us = time.time_ns() // 1000
            self._kills += 1
            await asyncio.sleep(away_s)
            await asyncio.to_thread(arena.mariadb.start)
            arena.counter.outage_us = None
            await arena.recover()

    def seen(self, arena: Arena) -> int:
        return self._kills


async def _end_connections(arena: Arena, share: float) -> None:
    """End a part of the application's connections, as an administrator or a time limit does."""
    rows = await arena.admin.rows(
        "select id from information_schema.processlist where user = %s", ACCOUNT
    )
    for row in arena.chance.sample(rows, round(share * len(rows))):
        await arena.admin.attempt(f"kill {row['id']}")


def _named_in_logs(arena: Arena, *codes: str) -> int:
    """How many lines of the workers' and web's logs have one of these error numbers."""
    number = re.compile(rf"\b({'|'.join(codes)})\b")
    return sum(number.search(line) is not None for line in arena.log_lines().splitlines())
