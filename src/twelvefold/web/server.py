"""The listening process: sockets, TLS, and an end in good order. uvicorn does the rest."""

import asyncio
import math
import socket
import ssl
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

from uvicorn import Config
from uvicorn import Server as Uvicorn

from twelvefold.config import Settings
from twelvefold.engine.shield import EXIT_S
from twelvefold.errors import SettingsError
from twelvefold.observe.log import get_logger
from twelvefold.web.app import create_app
from twelvefold.web.http.client_address import TrustedAddresses
from twelvefold.web.http.errors import ApiError
from twelvefold.web.http.middleware import new_request_id
from twelvefold.web.http.server.connections import Connections, Place
from twelvefold.web.http.server.file_limit import connection_limit, file_limit
from twelvefold.web.http.server.listener import Listener
from twelvefold.web.http.server.protocol import Protocol, whole_answer
from twelvefold.web.http.server.receiving import ReceiveLimits
from twelvefold.web.http.server.stalled import StalledClients
from twelvefold.web.state import Web

log = get_logger(__name__)
BACKLOG = 2_048
RECEIVE_LIMITS = ReceiveLimits()
FULL = ApiError(
    503, "too many connections; try again in a moment", code="service_unavailable", wait_s=1
)
IDLE_S = 75
"""How long an idle connection is kept: longer than the 60 s that load balancers keep theirs, so
that it is they who close it, and none sends a request into a closing one."""


async def serve(
    web: Web,
    sockets: Sequence[socket.socket],
    stop: asyncio.Event,
    tls: ssl.SSLContext | None = None,
    limits: ReceiveLimits = RECEIVE_LIMITS,
) -> None:
    """Answer requests until `stop` is set and everything in hand has come to its end.

    Closes the sockets.
    """
    server = _Server(_config(web, tls), web, limits)
    async with asyncio.TaskGroup() as group:
        ending = group.create_task(_stopped(server, web, stop))
        preparing = group.create_task(_prepared(web))
        stalled = StalledClients(server.open_connections, web.waits.stalled_s)
        dropping = group.create_task(stalled.poll())
        await server.serve(list(sockets))
        stop.set()
        preparing.cancel()
        dropping.cancel()
        await ending
    log.info("web_stopped")


async def _prepared(web: Web) -> None:
    """Not before requests are answered: it may take a second."""
    await web.serving.wait()
    await web.executor.prepare()


async def _stopped(server: "_Server", web: Web, stop: asyncio.Event) -> None:
    await stop.wait()
    log.info("web_stopping", runs=web.executor.in_flight, grace_s=web.settings.grace_s)
    web.draining.set()
    web.notifier.notify_all()
    # For requests too, which may wait for a database that does not answer.
    web.services.exit_limit.begin(web.settings.grace_s)
    server.should_exit = True
    await web.executor.drain(web.settings.grace_s)


class _Server(Uvicorn):
    """uvicorn's server with our own listeners, which bound the connections.

    Leaves signals to its caller: uvicorn would raise them again after a clean end.
    """

    def __init__(self, config: Config, web: Web, limits: ReceiveLimits) -> None:
        super().__init__(config)
        self._web = web
        self._limits = limits

    @property
    def open_connections(self) -> Collection[Protocol]:
        return cast("set[Protocol]", self.server_state.connections)

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self.lifespan.startup()
        settings = self._web.settings
        limit = connection_limit(settings, file_limit())
        connections = Connections(limit, TrustedAddresses(settings.trusted_proxies))
        listeners = [self._listener(one, connections) for one in sockets or []]
        for listener in listeners:
            listener.start(self.config.backlog)
        self.servers = cast("list[asyncio.Server]", listeners)
        self.started = True
        scheme = "https" if self.config.is_ssl else "http"
        for one in sockets or []:
            log.info("web_ready", address=f"{scheme}://{_shown(one)}")
        log.info("connection_limit", connections=limit)
        self._web.serving.set()

    def _listener(self, listening: socket.socket, connections: Connections) -> Listener:
        return Listener(
            listening,
            connections,
            self._protocol,
            refusal=lambda: whole_answer(FULL, new_request_id()),
            tls=self.config.ssl,
        )

    def _protocol(self, place: Place) -> Protocol:
        state = self.lifespan.state
        return Protocol(self.config, self.server_state, state, place=place, limits=self._limits)


def _config(web: Web, tls: ssl.SSLContext | None) -> Config:
    settings = web.settings
    return Config(
        create_app(web),
        http=Protocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        backlog=BACKLOG,
        timeout_keep_alive=IDLE_S,
        # The drives end before; this is for clients that do not read their answers, and requests
        # that wait for a database that does not answer.
        timeout_graceful_shutdown=math.ceil(settings.grace_s + EXIT_S),
        ssl_context_factory=None if tls is None else lambda *_: tls,
    )


def bound(host: str, port: int) -> list[socket.socket]:
    """A socket for each address of the host, not listening yet.

    Raises SettingsError where one cannot be had.
    """
    sockets: list[socket.socket] = []
    try:
        for family, address in _addresses(host, port):
            sockets.append(_bound(family, address))
    except OSError as error:
        for one in sockets:
            one.close()
        raise SettingsError(
            f"HOST, PORT: cannot listen at {host} port {port}: {error.strerror or error}"
        ) from error
    return sockets


def _addresses(host: str, port: int) -> Iterator[tuple[int, tuple[str, int]]]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, *_, address in dict.fromkeys(found):
        yield family, cast("tuple[str, int]", address)


def _bound(family: int, address: tuple[str, int]) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # `::` means every address, those of IPv4 included; any other means just itself.
            only = not (address[0] == "::" and socket.has_dualstack_ipv6())
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
        made.bind(address)
        made.setblocking(False)
    except BaseException:
        made.close()
        raise
    return made


def _shown(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def tls_of(settings: Settings) -> ssl.SSLContext | None:
    """The certificate to serve with; None for plain HTTP. Raises SettingsError."""
    if not settings.tls_cert:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        # A key with a password would have OpenSSL ask for it at a terminal that is not there.
        context.load_cert_chain(settings.tls_cert, settings.tls_key or None, password=lambda: b"")
    except (OSError, ValueError) as error:
        where = f"{settings.tls_cert}, {settings.tls_key or 'which has the key, too'}"
        raise SettingsError(f"TLS_CERT, TLS_KEY: {where}: {error}") from error
    return context
