"""Mail over SMTP: a few connections that are kept between mails, and what an answer means.

A mail is rejected for good only for what the server says of the mail itself: 5xx to its recipient
or its content. What it says of us (login, sender, no TLS) is the operator's to mend, so the mail
waits.
"""

import os
import re
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from email.headerregistry import Address
from typing import Self
from urllib.parse import parse_qsl, unquote, urlsplit

from aiosmtplib import (
    SMTP,
    SMTPDataError,
    SMTPException,
    SMTPNotSupported,
    SMTPRecipientsRefused,
    SMTPSenderRefused,
)

from twelvefold.core.ports import Mail
from twelvefold.errors import MailRejected, MailUnavailable, SettingsError
from twelvefold.services.mail.message import enveloped

ANSWER_S = 30.0
"""How long the server may take to connect, and for each answer. Source: RFC 5321, 4.5.3.2, which
allows minutes; a letter that waits is cheaper than a worker that does."""
KEPT_S = 20.0
"""How long an idle connection is used again; servers close theirs after a minute or more."""
KEPT = 4
TOO_LARGE = 552
OUR_CODES = (530, 534, 535, 538)
"""Said of a login, in reply to whatever comes first. Source: RFC 4954, 6."""
OURS = re.compile(r"\b5\.(1\.[78]|2\.2)\b")
"""The sender, or a full mailbox: nothing that is wrong with the mail. Source: RFC 3463."""
POLICY = re.compile(r"\b5\.7\.\d+\b")
"""Before the content was seen it is said of us: many servers keep it until the recipient."""
ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?=\s|$)", re.ASCII)
"""An enhanced status code in front of a server's words. Source: RFC 3463."""
PORTS = {"smtps": 465, "login": 587, "": 25}
STARTTLS = {"offered": None, "required": True, "off": False}


@dataclass(frozen=True, slots=True)
class Server:
    """Where mail is handed over. `starttls` None: when the server offers it."""

    host: str
    port: int
    tls: bool = False
    starttls: bool | None = None
    user: str | None = None
    password: str = field(default="", repr=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read SMTP_URL. Raises SettingsError.

        With a login, STARTTLS is required unless the URL says otherwise: who can take the offer
        away would be told the password.
        """
        parts = urlsplit(url)
        tls, login = parts.scheme == "smtps", parts.username is not None
        asked = dict(parse_qsl(parts.query, keep_blank_values=True))
        wish = asked.pop("starttls", "required" if login else "offered")
        if asked or wish not in STARTTLS or parts.path not in ("", "/"):
            raise SettingsError(
                "SMTP_URL: behind the port it has ?starttls=offered, required or off, or nothing"
            )
        return cls(
            host=parts.hostname or "",
            port=parts.port or PORTS["smtps" if tls else "login" if login else ""],
            tls=tls,
            starttls=False if tls else STARTTLS[wish],
            user=unquote(parts.username) if parts.username is not None else None,
            password=unquote(parts.password or ""),
        )


@dataclass(slots=True)
class _Kept:
    client: SMTP
    since: float


class SMTPMailer:
    """Sends mail through one server; several mails may be under way at once.

    `tls` is what certificates are checked against; the system's own unless given.
    """

    def __init__(self, server: Server, sender: Address, tls: ssl.SSLContext | None = None) -> None:
        self._server = server
        self._sender = sender
        self._tls = tls
        self._idle: list[_Kept] = []

    async def send(self, mail: Mail) -> None:
        """Hand one mail over; it has left when this returns.

        Raises MailUnavailable when it may be sent later, or may have left and nobody has said so;
        MailRejected when the server will never take it.
        """
        envelope = enveloped(mail, self._sender)
        options = ["SMTPUTF8"] if envelope.utf8 else []
        async with self._connection() as client:
            try:
                await client.sendmail(
                    envelope.sender, envelope.recipient, envelope.content, mail_options=options
                )
            except (SMTPException, OSError, ValueError) as error:
                raise _told(error) from error

    async def check(self) -> None:
        async with self._connection():
            pass

    async def close(self) -> None:
        while self._idle:
            client = self._idle.pop().client
            with suppress(SMTPException, OSError):
                await client.quit(timeout=1)
            client.close()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[SMTP]:
        """A connection for one mail; kept afterwards, unless something was wrong with it."""
        client = await self._kept() or await self._connected()
        try:
            yield client
        except MailRejected:
            self._keep(client)
            raise
        except BaseException:
            client.close()
            raise
        self._keep(client)

    def _keep(self, client: SMTP) -> None:
        if client.is_connected and len(self._idle) < KEPT:
            self._idle.append(_Kept(client, time.monotonic()))
        else:
            client.close()

    async def _kept(self) -> SMTP | None:
        """An idle connection that still answers."""
        while self._idle:
            kept = self._idle.pop()
            if time.monotonic() - kept.since < KEPT_S:
                with suppress(SMTPException, OSError):
                    await kept.client.rset()
                    return kept.client
            kept.client.close()
        return None

    async def _connected(self) -> SMTP:
        server = self._server
        client = SMTP(
            hostname=server.host,
            port=server.port,
            username=server.user,
            password=server.password if server.user is not None else None,
            # Instead of a look-up of this machine's name, which may be slow and says nothing.
            local_hostname=self._sender.domain,
            timeout=ANSWER_S,
            use_tls=server.tls,
            start_tls=server.starttls,
            tls_context=self._tls,
        )
        try:
            await client.connect()
        except (SMTPException, OSError, ValueError) as error:
            failed = f"no connection to the mail server {server.host}:{server.port}"
            raise MailUnavailable(f"{failed}: {_words(error)}").loggable(
                f"{failed}: {_kind(error)}"
            ) from error
        return client


def _told(error: Exception) -> MailUnavailable | MailRejected:
    """What an answer to a mail means for that mail."""
    refused: Exception = error
    if isinstance(error, SMTPRecipientsRefused) and error.recipients:
        refused = error.recipients[0]
    code = getattr(refused, "code", 0)
    said = f"the mail server refused it: {_words(refused)}"
    logged = f"the mail server refused it: {_kind(refused)}"
    of_us = OURS.search(said) or (isinstance(error, SMTPRecipientsRefused) and POLICY.search(said))
    if code in OUR_CODES or of_us:
        return MailUnavailable(said).loggable(logged)
    match error:
        case SMTPRecipientsRefused() | SMTPDataError() if code >= 500:
            return MailRejected(said).loggable(logged)
        case SMTPSenderRefused() if code == TOO_LARGE:
            return MailRejected(said).loggable(logged)
        case SMTPNotSupported() | ValueError():
            return MailRejected(said).loggable(logged)
        case _ if code:
            return MailUnavailable(said).loggable(logged)
        case _:
            failed = f"the mail did not get out: {_words(error)}"
            return MailUnavailable(failed).loggable(f"the mail did not get out: {_kind(error)}")


def _kind(error: Exception) -> str:
    """An error without the server's own words, which may quote an address."""
    if code := getattr(error, "code", 0):
        enhanced = ENHANCED.match(str(getattr(error, "message", "")).strip())
        return f"SMTP {code} {enhanced[0]}" if enhanced else f"SMTP {code}"
    number = getattr(error, "errno", None)
    return os.strerror(number) if number and number > 0 else type(error).__name__


def _words(error: Exception) -> str:
    """An error as a sentence on one line; some have no words of their own."""
    code, said = getattr(error, "code", ""), getattr(error, "message", "") or str(error)
    return " ".join(f"{code} {said}".split()) or type(error).__name__
