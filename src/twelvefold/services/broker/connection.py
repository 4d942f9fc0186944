"""Opens connections to the broker, and repeats work with a new one when a connection fails.

aio-pika's own "robust" connection is not used: it does not notice a consumer that the broker has
cancelled, and it restores queues and consumers that this package chooses anew each time.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any
from urllib.parse import quote, urlsplit

import aio_pika
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError

from twelvefold.backoff import Backoff
from twelvefold.errors import BrokerUnavailable, SettingsError
from twelvefold.observe.log import get_logger
from twelvefold.secret_file import SecretFile

log = get_logger(__name__)
# aiormq logs each failed attempt with a traceback. `keep_connected` logs each outage once.
logging.getLogger("aiormq").setLevel(logging.CRITICAL)
CONNECT_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 1.0
HEARTBEAT_S = 15
"""A connection without data from the broker for about twice this time is closed."""
BACKOFF = Backoff(first_s=0.2, longest_s=10.0)
CLIENT_ERRORS = (AMQPError, ChannelInvalidStateError, OSError)


class Broker:
    """Opens connections to the broker of BROKER_URL; `password` replaces that of the URL."""

    def __init__(self, url: str, ca_file: str = "", password: SecretFile | None = None) -> None:
        parts = urlsplit(url)
        self._url = url
        self._password = password
        self._current_url()  # raises SettingsError if the file has no password
        self.host = parts.hostname or ""
        self._options: dict[str, Any] = {}
        if "heartbeat=" not in parts.query:
            self._options["heartbeat"] = HEARTBEAT_S
        self._tls = _tls_context(ca_file) if parts.scheme == "amqps" and ca_file else None

    @asynccontextmanager
    async def connection(self, purpose: str) -> AsyncIterator[AbstractConnection]:
        """Open a connection and close it after the body. Raises BrokerUnavailable.

        `purpose` names it in the broker's list of connections.
        """
        with self.faults():
            connection = await aio_pika.connect(
                self._current_url(),
                ssl_context=self._tls,
                timeout=CONNECT_TIMEOUT_S,
                client_properties={"connection_name": f"twelvefold {purpose}"},
                **self._options,
            )
        try:
            with self.faults():
                yield connection
        finally:
            with suppress(Exception), self.faults():
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await connection.close()

    def _current_url(self) -> str:
        if self._password is None:
            return self._url
        parts = urlsplit(self._url)
        user, _, host = parts.netloc.rpartition("@")
        login = f"{user.partition(':')[0]}:{quote(self._password.value(), safe='')}"
        return parts._replace(netloc=f"{login}@{host}").geturl()

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Raise each fault of the broker or the network as BrokerUnavailable."""
        try:
            yield
        except asyncio.CancelledError as error:
            # The client cancels what waits on a connection that it has lost.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise self.fault("the connection was lost") from error
        except TimeoutError as error:
            raise self.fault("no answer in time") from error
        except CLIENT_ERRORS as error:
            text = f"{type(error).__name__}: {error}".removesuffix(": ")
            raise self.fault(text) from error

    def fault(self, text: str) -> BrokerUnavailable:
        """Return the error of a broker that does not work."""
        return BrokerUnavailable(f"BROKER_URL: {self.host}: {text}").loggable()

    async def keep_connected(
        self, purpose: str, use: Callable[[AbstractConnection], Awaitable[None]]
    ) -> None:
        """Repeat `use` with a new connection whenever one fails, with growing pauses."""
        failures = 0
        while True:
            began_at = asyncio.get_running_loop().time()
            try:
                async with self.connection(purpose) as connection:
                    await use(connection)
            except BrokerUnavailable as error:
                if asyncio.get_running_loop().time() - began_at > BACKOFF.longest_s:
                    failures = 0  # the connection worked until now
                report = log.debug if failures else log.warning
                report("broker_unavailable", purpose=purpose, error=error)
            except Exception:
                log.exception("broker_client_failed", purpose=purpose)
            failures += 1
            await asyncio.sleep(BACKOFF.pause_s(failures))


def _tls_context(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"SSL_CERT_FILE: {ca_file!r} cannot be read: {error}") from error
