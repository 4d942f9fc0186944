"""A mail server for tests: takes every mail, or answers as it is told, and keeps what it took.

It speaks as much SMTP as a client needs (RFC 5321), with STARTTLS and AUTH PLAIN where asked.
"""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Received:
    """A mail as it came in."""

    sender: str
    recipient: str
    content: bytes
    over_tls: bool = False
    user: str = ""

    @property
    def message(self) -> EmailMessage:
        return message_from_bytes(self.content.replace(b"\r\n", b"\n"), policy=policy.default)

    @property
    def id(self) -> str:
        return str(self.message["Message-ID"])


@dataclass
class Sink:
    """The server. `answers` has another reply for a command, as in {"RCPT": "550 no such user"};
    "" ends the connection, and `None` is silence. Each reply takes `pause_s`.

    "CONNECT" is the greeting, "." the end of a mail's content: an answer for it comes after the
    mail was kept. Taken mails are kept in `mails`, and in `maildir` where there is one.
    """

    tls: ssl.SSLContext | None = None
    implicit_tls: bool = False
    login: tuple[str, str] | None = None
    maildir: Path | None = None
    utf8: bool = True
    answers: dict[str, str | None] = field(default_factory=dict)
    mails: list[Received] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    connections: int = 0
    pause_s: float = 0.0
    port: int = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Sink"]:
        if self.maildir:
            for part in ("tmp", "new", "cur"):
                (self.maildir / part).mkdir(parents=True, exist_ok=True)
        tasks: set[asyncio.Task[Any]] = set()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            with suppress(ConnectionError, ssl.SSLError, asyncio.CancelledError):
                await _Session(self, reader, writer).run()
            writer.close()
            tasks.discard(task)

        server = await asyncio.start_server(
            connected, "127.0.0.1", 0, ssl=self.tls if self.implicit_tls else None, backlog=256
        )
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def url(self, query: str = "", *, login: str = "") -> str:
        scheme = "smtps" if self.implicit_tls else "smtp"
        return f"{scheme}://{f'{login}@' if login else ''}localhost:{self.port}{query}"

    def knows(self, user: str, password: str) -> bool:
        return (user, password) == self.login

    def keep(self, mail: Received) -> None:
        self.mails.append(mail)
        if self.maildir:
            name = f"{len(self.mails):06}"
            (self.maildir / "tmp" / name).write_bytes(mail.content)
            (self.maildir / "tmp" / name).rename(self.maildir / "new" / name)


class _Session:
    """One connection."""

    def __init__(
        self, sink: Sink, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._sink = sink
        self._reader = reader
        self._writer = writer
        self._tls = sink.implicit_tls
        self._user = ""
        self._sender = ""
        self._recipient = ""

    async def run(self) -> None:
        self._sink.connections += 1
        if not await self._say("CONNECT", "220 sink ESMTP"):
            return
        while line := await self._reader.readline():
            text = line.decode().rstrip("\r\n")
            self._sink.heard.append(text)
            if not await self._answer(text.split(" ")[0].upper(), text):
                return

    async def _answer(self, verb: str, text: str) -> bool:
        match verb:
            case "EHLO":
                return await self._say(verb, "\r\n".join(self._extensions()))
            case "STARTTLS":
                return await self._start_tls()
            case "AUTH":
                return await self._say(verb, self._logged_in(text))
            case "MAIL":
                self._sender = text.split("<")[1].split(">")[0]
                return await self._say(verb, "250 ok")
            case "RCPT":
                self._recipient = text.split("<")[1].split(">")[0]
                return await self._say(verb, "250 ok")
            case "DATA":
                return await self._take()
            case "QUIT":
                await self._say(verb, "221 bye")
                return False
            case _:
                return await self._say(verb, "250 ok")

    def _extensions(self) -> list[str]:
        offered = ["sink"]
        offered += ["STARTTLS"] * (self._sink.tls is not None and not self._tls)
        offered += ["AUTH PLAIN"] * (self._sink.login is not None)
        offered += ["SMTPUTF8"] * self._sink.utf8
        return [f"250-{one}" for one in offered[:-1]] + [f"250 {offered[-1]}"]

    async def _start_tls(self) -> bool:
        if not self._sink.tls or self._tls:
            return await self._say("STARTTLS", "502 not offered")
        if not await self._say("STARTTLS", "220 go ahead"):
            return False
        await self._writer.start_tls(self._sink.tls)
        self._tls = True
        return True

    def _logged_in(self, text: str) -> str:
        _, user, password = base64.b64decode(text.split(" ")[2]).decode().split("\0")
        if not self._sink.knows(user, password):
            return "535 no such login"
        self._user = user
        return "235 welcome"

    async def _take(self) -> bool:
        told = self._sink.answers.get("DATA", "354 go ahead")
        if told is None or not await self._say("DATA", "354 go ahead"):
            return told is not None
        if not told.startswith("354"):
            return True
        content = await self._reader.readuntil(b"\r\n.\r\n")
        mail = Received(self._sender, self._recipient, _undotted(content), self._tls, self._user)
        self._sink.keep(mail)
        return await self._say(".", "250 taken")

    async def _say(self, verb: str, usual: str) -> bool:
        said = self._sink.answers.get(verb, usual)
        if said is None:
            await asyncio.sleep(3600)
        if self._sink.pause_s:
            await asyncio.sleep(self._sink.pause_s)
        if not said:
            return False
        self._writer.write(f"{said}\r\n".encode())
        await self._writer.drain()
        return not said.startswith("421")


def _undotted(content: bytes) -> bytes:
    """The content without what the transport added. Source: RFC 5321, 4.5.2."""
    lines = content[: -len(b".\r\n")].split(b"\r\n")
    return b"\r\n".join(line[1:] if line.startswith(b".") else line for line in lines)
