"""Fake connections of asyncmy that raise given errors."""

import asyncio
from typing import Any


class FakeDriver:
    """A connection and its cursor in one. It raises `faults` in order; None is an answer."""

    rowcount = 1
    lastrowid = 0
    description: Any = None
    max_packet = 0

    def __init__(self, *faults: BaseException | None, is_open: bool = True) -> None:
        self.connected = True
        self.is_sending = False
        self._faults = list(faults)
        self._is_open = is_open
        self.asked: list[str] = []

    def get_server_info(self) -> str:
        return "9.7.4"

    def cursor(self) -> "FakeDriver":
        return self

    async def execute(self, statement: str, values: object = None) -> None:
        self.asked.append(statement)
        self.is_sending = True
        if self._faults and (fault := self._faults.pop(0)):
            raise fault
        self.is_sending = False

    executemany = execute

    async def fetchall(self) -> list[tuple[Any, ...]]:
        return []

    async def ping(self, *, reconnect: bool) -> None:
        self.asked.append("PING")

    async def commit(self) -> None:
        await self.execute("COMMIT")

    async def rollback(self) -> None:
        await self.execute("ROLLBACK")

    def get_transaction_status(self) -> bool:
        return self._is_open if "PING" in self.asked else True

    def close(self) -> None:
        self.connected = False


class SilentFakeDriver(FakeDriver):
    """Accepts statements and never answers."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = asyncio.Event()

    async def execute(self, statement: str, values: object = None) -> None:
        self.asked.append(statement)
        self.is_sending = True
        self.sent.set()
        await asyncio.Event().wait()
