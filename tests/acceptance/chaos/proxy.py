"""A TCP proxy between one worker and the database whose connections fail around a COMMIT.

It reads as much of the protocol as it needs: packets from the client, and of these the text of
COM_QUERY. Source: "Client/Server Protocol" in MariaDB's documentation. While it holds, the response
to a COMMIT arrives late, with some chance on each connection, and a lease renewal is not forwarded.
"""

import asyncio
import random
import re
import socket
import struct
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal

CommitFault = Literal[
    "cut_before",
    "cut_after",
    "delayed",
    "lost_before",
    "lost_after",
    "closed_to_server",
    "closed_to_client",
]
"""What happens to the connection of a COMMIT: before or after the COMMIT reached the server."""
COM_QUERY = 3
_COMMIT = re.compile(rb"(?:.*;)?\s*commit\s*\Z", re.IGNORECASE | re.DOTALL)
"""A packet with a COMMIT ends with it."""
_RENEWAL = re.compile(rb"\s*update\s+runs\s+set\s+lease_until\b", re.IGNORECASE)
CHANCE_OF_LATE = 0.6
CHANCE_OF_FAULT = 0.15
DELAY_S = (0.2, 2.0)
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing the socket resets the connection."""


class Proxy:
    """`late` and `held` count the COMMITs answered late and the renewals that were held.

    `faults` counts the COMMITs that met another fault.
    """

    def __init__(self, server_port: int, chance: random.Random) -> None:
        self._server_port = server_port
        self._chance = chance
        self._late_s = (0.0, 0.0)
        self._free = asyncio.Event()
        self._free.set()
        self.port = 0
        self.late = 0
        self.held = 0
        self.faults = 0
        self._kinds: Sequence[CommitFault] = ()
        self.is_over = asyncio.Event()

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
        """Forward responses to COMMIT immediately again, except for those that are late already."""
        self._late_s = (0.0, 0.0)

    def let_go(self) -> None:
        self._free.set()

    def begin_faults(self, kinds: Sequence[CommitFault]) -> None:
        """Apply one of these faults to a share of the COMMITs from now on."""
        self._kinds = kinds
        self.is_over.clear()

    def end_faults(self) -> None:
        """Forward on black-holed connections again, or end them."""
        self._kinds = ()
        self.is_over.set()

    def fault(self) -> CommitFault | None:
        """Return the fault of the COMMIT that was just sent."""
        if not self._kinds or self._chance.random() >= CHANCE_OF_FAULT:
            return None
        self.faults += 1
        return self._chance.choice(self._kinds)

    def delay_s(self) -> float:
        return self._chance.uniform(*DELAY_S)

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
        self._resets = False
        self._drops_answers = False

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
            for writer in (server[1], self._client[1]):
                if self._resets:
                    _reset(writer)
                writer.close()

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, group: asyncio.TaskGroup
    ) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = await reader.readexactly(4)
                payload = await reader.readexactly(int.from_bytes(head[:3], "little"))
                if head[3] == 0 and payload[:1] == bytes([COM_QUERY]):
                    await self._before(payload[1:], writer, group)
                writer.write(head + payload)
                await writer.drain()

    async def _before(
        self, statement: bytes, server: asyncio.StreamWriter, group: asyncio.TaskGroup
    ) -> None:
        if _RENEWAL.match(statement):
            await self._proxy.keep_renewal()
        elif not _COMMIT.match(statement):
            return
        elif late_s := self._proxy.lateness_s():
            self._answer_after(asyncio.sleep(late_s), group)
        elif fault := self._proxy.fault():
            await self._meet(fault, server, group)

    async def _meet(
        self, fault: CommitFault, server: asyncio.StreamWriter, group: asyncio.TaskGroup
    ) -> None:
        """Let the connection fail; when this returns, the COMMIT goes to the server."""
        match fault:
            case "cut_before":
                self._resets = True
                raise ConnectionResetError
            case "cut_after":
                self._resets = self._drops_answers = True
            case "delayed":
                await asyncio.sleep(self._proxy.delay_s())
                self._answer_after(asyncio.sleep(self._proxy.delay_s()), group)
            case "lost_before":
                await self._proxy.is_over.wait()
            case "lost_after":
                self._answer_after(self._proxy.is_over.wait(), group)
            case "closed_to_server":
                self._answers.clear()  # the client does not receive the end either
                server.write_eof()
                await self._proxy.is_over.wait()
                raise ConnectionResetError
            case "closed_to_client":
                self._answers.clear()
                self._client[1].write_eof()

    def _answer_after(self, wait: Coroutine[Any, Any, object], group: asyncio.TaskGroup) -> None:
        async def answer() -> None:
            await wait
            self._answers.set()

        self._answers.clear()
        group.create_task(answer())

    async def _replies(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(65_536):
                if self._drops_answers:
                    return
                await self._answers.wait()
                writer.write(chunk)
                await writer.drain()
            await self._answers.wait()


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
