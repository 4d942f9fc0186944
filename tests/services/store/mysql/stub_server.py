"""A MySQL server that can run a step of the store, and fails where a test wants it to.

Source: the client/server protocol in MySQL's internals manual.
"""

import asyncio
import re
import struct
from collections.abc import Callable, Sequence
from typing import Self

CAPABILITIES = 0x0108A20D  # protocol 4.1, transactions, secure, plugin names, no packet for EOF
IN_TRANSACTION, AUTOCOMMIT, MORE_RESULTS = 1, 2, 8
QUIT, QUERY, PING = 1, 3, 14
Answer = Callable[["Session", str], bytes | None]
"""A packet for a statement; None to hang up."""


class StubServer:
    """Answers OK to every statement, except for those that match a pattern of `fails`."""

    def __init__(self, version: str = "8.0.99-stub") -> None:
        self.version = version
        self.statements: list[str] = []
        self.connected = asyncio.Event()
        self._rules: list[tuple[re.Pattern[str], Answer]] = []
        self._greeting: bytes | None = None
        self._sessions: list[Session] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"mysql://ann:secret@127.0.0.1:{port}/shop"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.heal()
        self._server.close()
        self.hang_up()
        await self._server.wait_closed()

    def fails(self, pattern: str, answer: Answer) -> None:
        """Answer statements that match with this instead of OK."""
        self._rules.append((re.compile(pattern), answer))

    def refuses_connections(self, packet: bytes) -> None:
        """Send this as the greeting; send none if it is empty."""
        self._greeting = packet

    def hang_up(self) -> None:
        """Close all connections."""
        for session in self._sessions:
            session.hang_up()

    def heal(self) -> None:
        self._rules, self._greeting = [], None

    def answer(self, session: "Session", statement: str) -> bytes | None:
        self.statements.append(statement)
        for pattern, answer in self._rules:
            if pattern.search(statement):
                return answer(session, statement)
        return session.ok(statement)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = Session(self, reader, writer)
        self._sessions.append(session)
        self.connected.set()
        try:
            await session.run(self._greeting)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has gone
        finally:
            session.hang_up()


class Session:
    """One connection."""

    def __init__(
        self, server: StubServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._status = 0
        self._more = 0
        self._number = 0

    async def run(self, greeting: bytes | None) -> None:
        if greeting == b"":
            await self._read()
        self._send(0, greeting or _greeting(self._server.version))
        if greeting is not None:
            return
        await self._read()
        self._send(2, _ok(0, self._status))
        while True:
            packet = await self._read()
            if packet[0] == QUIT:
                return
            if packet[0] == PING:
                self._send(1, _ok(0, self._status))
                continue
            if not self._run_packet(packet[1:].decode().split("\n;")):
                return

    def _run_packet(self, statements: Sequence[str]) -> bool:
        """Answer the statements of a packet up to the first error; False to hang up."""
        self._number = 0
        for left, statement in zip(range(len(statements) - 1, -1, -1), statements, strict=True):
            self._more = MORE_RESULTS if left else 0
            answer = self._server.answer(self, statement)
            if answer is None:
                return False
            if answer:
                self._number += 1
                self._send(self._number, answer)
            if answer[:1] == b"\xff":
                break
        self._more = 0
        return True

    def ok(self, statement: str) -> bytes:
        """Return the greeting of a healthy server."""
        match = re.match(r"SET AUTOCOMMIT = (\d)|(COMMIT|ROLLBACK)|(SHOW VARIABLES)", statement)
        if match and match[3]:
            self.rows(["Variable_name", "Value"], [("max_allowed_packet", "16777216")])
            return b""
        if match and match[1]:
            self._status = AUTOCOMMIT * int(match[1])
        elif match:
            self._status &= ~IN_TRANSACTION
        elif not self._status & AUTOCOMMIT and not statement.startswith("SET"):
            self._status |= IN_TRANSACTION
        return _ok(1, self._status | self._more)

    def rows(self, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Send a complete result."""
        packets = [bytes([len(names)]), *(_column(name) for name in names)]
        packets += [b"".join(_text(value) for value in row) for row in rows]
        packets.append(b"\xfe\0\0" + struct.pack("<HH", self._status | self._more, 0))
        for packet in packets:
            self._number += 1
            self._send(self._number, packet)

    def hang_up(self) -> None:
        self._writer.close()

    async def _read(self) -> bytes:
        head = await self._reader.readexactly(4)
        return await self._reader.readexactly(int.from_bytes(head[:3], "little"))

    def _send(self, number: int, payload: bytes) -> None:
        self._writer.write(len(payload).to_bytes(3, "little") + bytes([number % 256]) + payload)


def error(number: int, state: str = "HY000", text: str = "an error of the stub") -> bytes:
    return b"\xff" + struct.pack("<H", number) + b"#" + state.encode() + text.encode()


def _ok(rows: int, status: int) -> bytes:
    return bytes([0, rows, 0]) + struct.pack("<HH", status, 0)


def _greeting(version: str) -> bytes:
    low, high = CAPABILITIES & 0xFFFF, CAPABILITIES >> 16
    packet = b"\x0a" + version.encode() + b"\0" + struct.pack("<I", 7) + b"saltsalt\0"
    packet += struct.pack("<HBHHB", low, 45, 0, high, 21) + b"\0" * 10
    return packet + b"saltsaltsalt\0mysql_native_password\0"


def _column(name: str) -> bytes:
    texts = b"".join(_text(text) for text in ("def", "", "", "", name, ""))
    return texts + b"\x0c" + struct.pack("<HIBHBH", 45, 1024, 0xFD, 0, 0, 0)


def _text(value: str) -> bytes:
    raw = value.encode()
    return bytes([len(raw)]) + raw
