"""Serves HTTP on uvicorn: sockets, TLS, and a graceful shutdown."""

import asyncio
import math
import socket
import ssl
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

from starlette.routing import BaseRoute
from uvicorn import Config
from uvicorn import Server as Uvicorn

from twelvefold.config import Settings
from twelvefold.engine import EXIT_S
from twelvefold.errors import SettingsError
from twelvefold.observe.log import get_logger
from twelvefold.web.app import ROUTES, create_app
from twelvefold.web.http import ApiError, TrustedAddresses, new_request_id
from twelvefold.web.http.server.connections import Connections, ConnectionSlot, ReceiveLimits
from twelvefold.web.http.server.file_limit import connection_limit, file_limit
from twelvefold.web.http.server.listener import Listener
from twelvefold.web.http.server.protocol import HTTPProtocol, encode_error
from twelvefold.web.http.server.stalled_clients import StalledClients
from twelvefold.web.process import drain
from twelvefold.web.state import Web

log = get_logger(__name__)
BACKLOG = 2_048
RECEIVE_LIMITS = ReceiveLimits()
CONNECTION_REJECTED = ApiError(
    503, "too many connections; try again in a moment", code="service_unavailable", wait_s=1
)
KEEP_ALIVE_S = 75
"""How long an idle connection stays open. Load balancers use 60 s: they must close first, because
a request on a connection that this server closes would be lost."""


async def serve(
    web: Web,
    sockets: Sequence[socket.socket],
    stop: asyncio.Event,
    tls: ssl.SSLContext | None = None,
    limits: ReceiveLimits = RECEIVE_LIMITS,
    routes: Sequence[BaseRoute] = ROUTES,
) -> None:
    """Serve requests until `stop` is set and all active requests and runs have ended.

    Closes the sockets.
    """
    server = _Server(_config(web, routes, tls), web, limits)
    async with asyncio.TaskGroup() as group:
        shutdown = group.create_task(_shut_down(server, web, stop))
        preparation = group.create_task(web.executor.prepare(after=web.serving))
        stalled_clients = StalledClients(server.open_connections, web.waits.stalled_s)
        polling = group.create_task(stalled_clients.poll())
        serving = group.create_task(server.serve(list(sockets)))
        await asyncio.wait([serving])
        stop.set()
        preparation.cancel()
        polling.cancel()
        await shutdown
    log.info("web_stopped")


async def _shut_down(server: "_Server", web: Web, stop: asyncio.Event) -> None:
    await stop.wait()
    server.should_exit = True
    await drain(web)


class _Server(Uvicorn):
    """uvicorn's server with listeners that limit the connections.

    It does not handle signals: uvicorn would raise them again after a clean shutdown.
    """

    def __init__(self, config: Config, web: Web, limits: ReceiveLimits) -> None:
        super().__init__(config)
        self._web = web
        self._limits = limits

    @property
    def open_connections(self) -> Collection[HTTPProtocol]:
        return cast("set[HTTPProtocol]", self.server_state.connections)

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self.lifespan.startup()
        settings = self._web.settings
        limit = connection_limit(settings, file_limit())
        connections = Connections(limit, TrustedAddresses(settings.trusted_proxies))
        listeners = [self._listener(listening, connections) for listening in sockets or []]
        for listener in listeners:
            listener.start(self.config.backlog)
        self.servers = cast("list[asyncio.Server]", listeners)
        self.started = True
        scheme = "https" if self.config.is_ssl else "http"
        for listening in sockets or []:
            log.info("web_ready", address=f"{scheme}://{_address(listening)}")
        log.info("connection_limit", connections=limit)
        self._web.serving.set()

    def _listener(self, listening: socket.socket, connections: Connections) -> Listener:
        return Listener(
            listening,
            connections,
            self._protocol,
            rejection=lambda: encode_error(CONNECTION_REJECTED, new_request_id()),
            tls=self.config.ssl,
        )

    def _protocol(self, slot: ConnectionSlot) -> HTTPProtocol:
        state = self.lifespan.state
        return HTTPProtocol(self.config, self.server_state, state, slot=slot, limits=self._limits)


def _config(web: Web, routes: Sequence[BaseRoute], tls: ssl.SSLContext | None) -> Config:
    settings = web.settings
    return Config(
        create_app(web, routes),
        http=HTTPProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        # Runs end before. This is for clients that do not read their responses, and for requests
        # that wait for a database that does not answer.
        timeout_graceful_shutdown=math.ceil(settings.grace_s + EXIT_S),
        ssl_context_factory=None if tls is None else lambda *_: tls,
    )


def bind_sockets(host: str, port: int) -> list[socket.socket]:
    """Return a bound socket for each address of the host; they do not listen yet.

    Raises SettingsError if one of them cannot be bound.
    """
    sockets: list[socket.socket] = []
    try:
        for family, address in _addresses(host, port):
            sockets.append(_bind(family, address))
    except OSError as error:
        for opened in sockets:
            opened.close()
        raise SettingsError(
            f"HOST, PORT: cannot listen at {host} port {port}: {error.strerror or error}"
        ) from error
    return sockets


def _addresses(host: str, port: int) -> Iterator[tuple[int, tuple[str, int]]]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, *_, address in dict.fromkeys(found):
        yield family, cast("tuple[str, int]", address)


def _bind(family: int, address: tuple[str, int]) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # `::` means every address, including those of IPv4.
            only = not (address[0] == "::" and socket.has_dualstack_ipv6())
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
        opened.bind(address)
        opened.setblocking(False)
    except BaseException:
        opened.close()
        raise
    return opened


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def load_tls(settings: Settings) -> ssl.SSLContext | None:
    """Return the TLS context of the settings, or None for plain HTTP. Raises SettingsError."""
    if not settings.tls_cert:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        # Without `password`, OpenSSL would prompt for it at the terminal.
        context.load_cert_chain(settings.tls_cert, settings.tls_key or None, password=lambda: b"")
    except (OSError, ValueError) as error:
        files = f"{settings.tls_cert}, {settings.tls_key or 'which has the key, too'}"
        raise SettingsError(f"TLS_CERT, TLS_KEY: {files}: {error}") from error
    return context
