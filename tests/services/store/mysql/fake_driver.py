"""Fake connections of asyncmy that raise given errors."""

import asyncio
from dataclasses import dataclass
from typing import Any


class FakeDriver:
    """A connection. Its statements raise `faults` in order; None is an answer."""

    server_status = 0

    def __init__(self, *faults: BaseException | None, is_open: bool = True) -> None:
        self.connected = True
        self._faults = list(faults)
        self._is_open = is_open
        self._left = 0
        self.asked: list[str] = []

    def get_server_info(self) -> str:
        return "9.7.4"

    def character_set_name(self) -> str:
        return "utf8mb4"

    def literal(self, value: object) -> str:
        return repr(value)

    async def query(self, packet: bytes) -> None:
        statements = packet.decode().split("\n;")
        self.asked += statements
        self._left = len(statements)
        await self.next_result()

    async def next_result(self) -> None:
        self._left -= 1
        if self._faults and (fault := self._faults.pop(0)):
            raise fault
        self._result = FakeResult(has_next=self._left > 0)

    async def ping(self, *, reconnect: bool) -> None:
        self.asked.append("PING")

    def get_transaction_status(self) -> bool:
        return self._is_open if "PING" in self.asked else True

    def close(self) -> None:
        self.connected = False


@dataclass
class FakeResult:
    """The result of one statement."""

    has_next: bool
    rows: Any = None
    description: Any = None
    affected_rows: int = 1
    insert_id: int = 0
    server_status: int = 0


class SilentFakeDriver(FakeDriver):
    """Accepts statements and never answers."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = asyncio.Event()

    async def query(self, packet: bytes) -> None:
        self.asked.append(packet.decode())
        self.sent.set()
        await asyncio.Event().wait()
