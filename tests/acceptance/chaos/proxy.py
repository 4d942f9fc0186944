"""A TCP proxy between one worker and MariaDB that can answer late.

It reads as much of the protocol as it needs: packets from the client, and of these the text of
COM_QUERY. Source: "Client/Server Protocol" in MariaDB's documentation. While it holds, the answer
to a COMMIT comes late, with some chance on each connection, and a lease renewal is not forwarded.
"""

import asyncio
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

COM_QUERY = 3
_COMMIT = re.compile(rb"(?:.*;)?\s*commit\s*\Z", re.IGNORECASE | re.DOTALL)
"""A packet with a COMMIT ends with it."""
_RENEWAL = re.compile(rb"\s*update\s+runs\s+set\s+lease_until\b", re.IGNORECASE)
CHANCE_OF_LATE = 0.6


class Proxy:
    """`late` and `held` count the COMMITs answered late and the renewals that were held."""

    def __init__(self, server_port: int, chance: random.Random) -> None:
        self._server_port = server_port
        self._chance = chance
        self._late_s = (0.0, 0.0)
        self._free = asyncio.Event()
        self._free.set()
        self.port = 0
        self.late = 0
        self.held = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Proxy"]:
        tasks: set[asyncio.Task[None]] = set()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            with suppress(OSError, asyncio.CancelledError):
                await _Connection(self, reader, writer).run(self._server_port)
            writer.close()
            tasks.discard(task)

        server = await asyncio.start_server(connected, "127.0.0.1", 0, backlog=256)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def hold(self, late_s: tuple[float, float]) -> None:
        """From now on answer COMMITs so late, and keep renewals until `let_go`."""
        self._late_s = late_s
        self._free.clear()

    def stop_delaying(self) -> None:
        """Answer COMMITs at once again, but for those that are late already."""
        self._late_s = (0.0, 0.0)

    def let_go(self) -> None:
        self._free.set()

    @property
    def holds(self) -> bool:
        return not self._free.is_set()

    def lateness_s(self) -> float:
        """How late the answer to a COMMIT that was just sent is to come; 0 for not at all."""
        if not (self.holds and self._late_s[1]) or self._chance.random() >= CHANCE_OF_LATE:
            return 0.0
        self.late += 1
        return self._chance.uniform(*self._late_s)

    async def keep_renewal(self) -> None:
        if self.holds:
            self.held += 1
            await self._free.wait()


class _Connection:
    """One client's connection and the one to the server that belongs to it."""

    def __init__(
        self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._proxy = proxy
        self._client = reader, writer
        self._answers = asyncio.Event()
        self._answers.set()

    async def run(self, server_port: int) -> None:
        """Forward until either side ends; then both do."""
        server = await asyncio.open_connection("127.0.0.1", server_port)
        try:
            async with asyncio.TaskGroup() as group:
                both = {
                    group.create_task(self._requests(self._client[0], server[1], group)),
                    group.create_task(self._replies(server[0], self._client[1])),
                }
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                raise ConnectionResetError  # ends the other one, too
        except* OSError:
            pass
        finally:
            server[1].close()

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, group: asyncio.TaskGroup
    ) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = await reader.readexactly(4)
                payload = await reader.readexactly(int.from_bytes(head[:3], "little"))
                if head[3] == 0 and payload[:1] == bytes([COM_QUERY]):
                    await self._before(payload[1:], group)
                writer.write(head + payload)
                await writer.drain()

    async def _before(self, statement: bytes, group: asyncio.TaskGroup) -> None:
        if _RENEWAL.match(statement):
            await self._proxy.keep_renewal()
        elif _COMMIT.match(statement) and (late_s := self._proxy.lateness_s()):
            self._answers.clear()
            group.create_task(self._answer_after(late_s))

    async def _answer_after(self, late_s: float) -> None:
        await asyncio.sleep(late_s)
        self._answers.set()

    async def _replies(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(65_536):
                await self._answers.wait()
                writer.write(chunk)
                await writer.drain()
