"""Sends mail over SMTP with a small pool of connections, and classifies the server's replies.

A mail is rejected permanently only if the reply is about the mail itself: 5xx to its recipient or
its content. The operator can correct a wrong login, sender or TLS setting, so the mail is retried.
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

from twelvefold.core import Mail
from twelvefold.errors import MailRejected, MailUnavailable, SettingsError
from twelvefold.secret_file import SecretFile, secret_value
from twelvefold.services.mail.message import build_envelope

READ_TIMEOUT_S = 30.0
"""Timeout to connect, and of each reply. RFC 5321, 4.5.3.2 allows minutes, but a worker waits."""
MAX_IDLE_S = 20.0
"""Age up to which an idle connection is reused; servers close theirs after a minute or more."""
MAX_IDLE_CONNECTIONS = 4
MESSAGE_TOO_LARGE = 552
LOGIN_CODES = (530, 534, 535, 538)
"""Replies about the login, which may be sent for any command. Source: RFC 4954, 6."""
SENDER_OR_MAILBOX = re.compile(r"\b5\.(1\.[78]|2\.2)\b")
"""Replies about the sender or a full mailbox, not about the mail. Source: RFC 3463."""
SECURITY_POLICY = re.compile(r"\b5\.7\.\d+\b")
"""Replies about a security policy. For a recipient they are about the client, not the content."""
ENHANCED_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?=\s|$)", re.ASCII)
"""An enhanced status code at the start of a reply. Source: RFC 3463."""
DEFAULT_PORTS = {"smtps": 465, "login": 587, "": 25}
STARTTLS = {"offered": None, "required": True, "off": False}


@dataclass(frozen=True, slots=True)
class SMTPServer:
    """Address and login of a mail server. `starttls` None: if the server offers it."""

    host: str
    port: int
    tls: bool = False
    starttls: bool | None = None
    user: str | None = None
    password: str | SecretFile = field(default="", repr=False)

    @classmethod
    def parse(cls, url: str, password: SecretFile | None = None) -> Self:
        """Parse SMTP_URL; `password` replaces its password. Raises SettingsError.

        With a login, STARTTLS is required by default: otherwise an attacker who removes the
        server's offer would receive the password.
        """
        parts = urlsplit(url)
        if password is not None:
            password.value()  # raises SettingsError if the file has none
        tls, login = parts.scheme == "smtps", parts.username is not None
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        starttls = query.pop("starttls", "required" if login else "offered")
        if query or starttls not in STARTTLS or parts.path not in ("", "/"):
            raise SettingsError(
                "SMTP_URL: after the port only ?starttls=offered, required or off is allowed"
            )
        return cls(
            host=parts.hostname or "",
            port=parts.port or DEFAULT_PORTS["smtps" if tls else "login" if login else ""],
            tls=tls,
            starttls=False if tls else STARTTLS[starttls],
            user=unquote(parts.username) if parts.username is not None else None,
            password=password or unquote(parts.password or ""),
        )


@dataclass(slots=True)
class _IdleConnection:
    client: SMTP
    since: float


class SMTPMailer:
    """Sends mail through one server, several mails concurrently.

    `tls` verifies certificates; the default is the system's list. `timeout_s` limits the
    connection and each reply.
    """

    def __init__(
        self,
        server: SMTPServer,
        sender: Address,
        tls: ssl.SSLContext | None = None,
        *,
        timeout_s: float = READ_TIMEOUT_S,
    ) -> None:
        self._server = server
        self._sender = sender
        self._tls = tls
        self._timeout_s = timeout_s
        self._idle: list[_IdleConnection] = []

    async def send(self, mail: Mail) -> None:
        """Send one mail. The server has accepted it when this returns.

        Raises MailUnavailable if a retry may succeed, or if it is unknown whether the server has
        accepted the mail; MailRejected if the server will never accept it.
        """
        envelope = build_envelope(mail, self._sender)
        options = ["SMTPUTF8"] if envelope.utf8 else []
        async with self._connection() as client:
            try:
                await client.sendmail(
                    envelope.sender, envelope.recipient, envelope.content, mail_options=options
                )
            except (SMTPException, OSError, ValueError) as error:
                raise _classify(error) from error

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
        """Provide a connection for one mail and return it to the pool unless it failed."""
        client = await self._take_idle() or await self._connect()
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
        if client.is_connected and len(self._idle) < MAX_IDLE_CONNECTIONS:
            self._idle.append(_IdleConnection(client, time.monotonic()))
        else:
            client.close()

    async def _take_idle(self) -> SMTP | None:
        """Return an idle connection that still responds, None if there is none."""
        while self._idle:
            idle = self._idle.pop()
            if time.monotonic() - idle.since < MAX_IDLE_S:
                with suppress(SMTPException, OSError):
                    await idle.client.rset()
                    return idle.client
            idle.client.close()
        return None

    async def _connect(self) -> SMTP:
        """Connect; once more if the login was refused and its file has another password."""
        password, tried_at = secret_value(self._server.password), time.monotonic()
        try:
            return await self._connect_once(password)
        except MailUnavailable as error:
            if not self._is_renewed(password, tried_at, error):
                raise
        return await self._connect_once(secret_value(self._server.password))

    def _is_renewed(self, password: str, tried_at: float, error: MailUnavailable) -> bool:
        file, code = self._server.password, getattr(error.__cause__, "code", 0)
        if isinstance(file, str) or code not in LOGIN_CODES:
            return False
        return file.is_replaced(password, tried_at)

    async def _connect_once(self, password: str) -> SMTP:
        server = self._server
        client = SMTP(
            hostname=server.host,
            port=server.port,
            username=server.user,
            password=password if server.user is not None else None,
            # The default is a lookup of this machine's name, which may be slow.
            local_hostname=self._sender.domain,
            timeout=self._timeout_s,
            use_tls=server.tls,
            start_tls=server.starttls,
            tls_context=self._tls,
        )
        try:
            await client.connect()
        except (SMTPException, OSError, ValueError) as error:
            failed = f"no connection to the mail server {server.host}:{server.port}"
            raise MailUnavailable(f"{failed}: {_describe(error)}").loggable(
                f"{failed}: {_describe_safely(error)}"
            ) from error
        return client


def _classify(error: Exception) -> MailUnavailable | MailRejected:
    """Return the exception for an error of the SMTP client."""
    refused: Exception = error
    if isinstance(error, SMTPRecipientsRefused) and error.recipients:
        refused = error.recipients[0]
    code = getattr(refused, "code", 0)
    message = f"the mail server refused it: {_describe(refused)}"
    logged = f"the mail server refused it: {_describe_safely(refused)}"
    if code in LOGIN_CODES or _is_about_client(error, message):
        return MailUnavailable(message).loggable(logged)
    match error:
        case SMTPRecipientsRefused() | SMTPDataError() if code >= 500:
            return MailRejected(message).loggable(logged)
        case SMTPSenderRefused() if code == MESSAGE_TOO_LARGE:
            return MailRejected(message).loggable(logged)
        case SMTPNotSupported() | ValueError():
            return MailRejected(message).loggable(logged)
        case _ if code:
            return MailUnavailable(message).loggable(logged)
        case _:
            failed = "the mail could not be sent"
            return MailUnavailable(f"{failed}: {_describe(error)}").loggable(
                f"{failed}: {_describe_safely(error)}"
            )


def _is_about_client(error: Exception, message: str) -> bool:
    """Return whether the reply is about the sender or the client, not about the mail."""
    if SENDER_OR_MAILBOX.search(message):
        return True
    is_recipient_refused = isinstance(error, SMTPRecipientsRefused)
    return is_recipient_refused and SECURITY_POLICY.search(message) is not None


def _describe_safely(error: Exception) -> str:
    """Describe an error without the server's text, which may quote an address."""
    if code := getattr(error, "code", 0):
        enhanced = ENHANCED_STATUS.match(str(getattr(error, "message", "")).strip())
        return f"SMTP {code} {enhanced[0]}" if enhanced else f"SMTP {code}"
    number = getattr(error, "errno", None)
    return os.strerror(number) if number and number > 0 else type(error).__name__


def _describe(error: Exception) -> str:
    """Describe an error on one line, by its type if it has no text."""
    code, text = getattr(error, "code", ""), getattr(error, "message", "") or str(error)
    return " ".join(f"{code} {text}".split()) or type(error).__name__
