"""One of the connections of the abusive tenant, and what it was answered."""

import asyncio
import random
from collections import Counter as Tally
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tests.acceptance.abuse.client import LOST, Answer, Connection, request

REOPEN_S = 0.05
ADDRESS = "127.0.0.2"
"""The abusive tenant's, so that what is counted by address is counted apart from the other's."""


@dataclass
class Target:
    """The service and the abusive tenant's keys; `found` has what was prepared, by name."""

    port: int
    key: str
    revoked_key: str
    threads: int
    item_bytes: int
    found: dict[str, Any] = field(default_factory=dict)


class Lane:
    """Acts repeatedly over one connection; `tally` counts the statuses and lost connections."""

    def __init__(self, target: Target, way: str, number: int) -> None:
        self.target = target
        self.number = number
        self.chance = random.Random(f"{way} {number}")
        self.connection = Connection(target.port, ADDRESS)
        self.tally: Tally[str] = Tally()
        self.memory: dict[str, Any] = {}

    async def ask(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, more: str = ""
    ) -> Answer:
        """Send a request and read its response."""
        own = self.target.key if key is None else key
        return await self.ask_raw(request(method, path, own, body, more))

    async def ask_raw(self, data: bytes) -> Answer:
        answer = await self.connection.ask(data)
        self.tally[str(answer.status)] += 1
        return answer

    async def leave(self, data: bytes, after_s: float) -> None:
        """Send a request, and close the connection a while later, whatever came by then."""
        await self.connection.send(data)
        await asyncio.sleep(after_s)
        self.tally["left"] += 1
        self.connection.close()

    async def repeat(self, act: "Act") -> None:
        """Act until cancelled; what the server closes is opened again."""
        try:
            while True:
                try:
                    await act(self)
                except LOST:
                    self.tally["lost"] += 1
                    self.connection.close()
                    await asyncio.sleep(REOPEN_S)
        finally:
            self.connection.close()


Act = Callable[[Lane], Awaitable[None]]
