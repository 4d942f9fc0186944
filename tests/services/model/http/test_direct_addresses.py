"""Direct connections: addresses, and TLS."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.services.model.http.certificates import issue
from tests.services.model.http.direct_client import TEXT, Client, serving
from tests.services.model.http.raw_server import (
    CHUNKED,
    HEAD,
    Exchange,
    RawServer,
    chunks,
    sends,
    whole,
)
from tests.waiting import HANG_S
from twelvefold.services.model.errors import RetryableError
from twelvefold.services.model.http import Endpoint, ServerUnreachable, pool


def resolving_to(*addresses: tuple[str, int]) -> Callable[..., list[Any]]:
    def getaddrinfo(*_: object, **__: object) -> list[Any]:
        getaddrinfo.calls += 1  # type: ignore[attr-defined]
        families = [socket.AF_INET6 if ":" in host else socket.AF_INET for host, _ in addresses]
        return [
            (family, socket.SOCK_STREAM, 6, "", address)
            for family, address in zip(families, addresses, strict=True)
        ]

    getaddrinfo.calls = 0  # type: ignore[attr-defined]
    return getaddrinfo


def patch_resolver(
    monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]
) -> Callable[..., list[Any]]:
    """Make both the event loop of asyncio and that of uvloop resolve any name to addresses."""
    found = resolving_to(*addresses)

    async def resolve(*_: object, **__: object) -> list[Any]:
        return found()

    monkeypatch.setattr(pool.ConnectionPool, "_lookup", resolve)
    return found


async def test_another_address_is_tried_if_one_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(sends(whole(b"one"))) as (server, _):
        patch_resolver(monkeypatch, ("::1", server.port), ("127.0.0.1", server.port))
        client = Client(
            Endpoint(f"http://models.internal:{server.port}/v1"), connect_timeout_s=HANG_S
        )
        assert await client.body() == b"one"
        await client.close()

    assert b"\r\nhost: models.internal:" in server.requests[0]


async def test_another_address_is_tried_if_one_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        port = silent.getsockname()[1]
        # The kernel ignores further connections to a full backlog.
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        async with serving(sends(whole(b"one"))) as (server, _):
            patch_resolver(monkeypatch, ("127.0.0.1", port), ("127.0.0.1", server.port))
            client = Client(Endpoint("http://models.internal/v1"), connect_timeout_s=HANG_S)
            assert await client.body() == b"one"
            await client.close()
        for filler in fillers:
            filler.close()


async def test_an_unreachable_server_is_reported_within_the_timeout() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        port = silent.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        client = Client(Endpoint(f"http://127.0.0.1:{port}/v1"), connect_timeout_s=0.2)
        with pytest.raises(ServerUnreachable, match=r"no connection in 0\.2 s"):
            await client.reply()
        await client.close()
        for filler in fillers:
            filler.close()


async def test_connections_opened_at_once_share_a_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(sends(whole(b"one"), pause_s=0.02)) as (server, _):
        found = patch_resolver(monkeypatch, ("127.0.0.1", server.port))
        client = Client(Endpoint("http://models.internal/v1"), connect_timeout_s=HANG_S)
        await asyncio.gather(*(client.body() for _ in range(20)))
        await client.close()

    assert found.calls == 1  # type: ignore[attr-defined]


async def test_connections_with_tls_are_reused(tmp_path: Path) -> None:
    issued = issue()
    trusted = str(issued.write(tmp_path / "trusted.pem"))
    handlers = (
        sends(whole(TEXT)),
        sends(CHUNKED + chunks(TEXT)),
        sends(HEAD + b"\r\n" + TEXT, close=True),
    )
    async with RawServer(*handlers, tls=issued.server_context(tmp_path)) as server:
        client = Client(Endpoint(server.url, ca_file=trusted), connect_timeout_s=HANG_S)
        bodies = [await client.body() for _ in range(4)]
        await client.close()
        await server.wait_closed()

    assert bodies == [TEXT] * 4
    assert server.connections == 2


async def test_a_tls_connection_that_breaks_within_a_body_is_reported(tmp_path: Path) -> None:
    issued = issue()
    trusted = str(issued.write(tmp_path / "trusted.pem"))
    cut = sends(HEAD + b"Content-Length: 501\r\n\r\n" + TEXT, close=True)
    async with RawServer(cut, tls=issued.server_context(tmp_path)) as server:
        client = Client(Endpoint(server.url, ca_file=trusted), connect_timeout_s=HANG_S)
        with pytest.raises(RetryableError, match="the connection broke during the reply"):
            await client.reply()
        await client.close()


async def test_certificates_are_loaded_before_the_first_request(tmp_path: Path) -> None:
    issued = issue()
    trusted = issued.write(tmp_path / "trusted.pem")
    async with RawServer(sends(whole(TEXT)), tls=issued.server_context(tmp_path)) as server:
        client = Client(Endpoint(server.url, ca_file=str(trusted)), connect_timeout_s=HANG_S)
        await asyncio.to_thread(client.prepare)
        trusted.unlink()
        body = await client.body()
        await client.close()

    assert body == TEXT


async def test_http_1_is_negotiated(tmp_path: Path) -> None:
    issued = issue()
    context = issued.server_context(tmp_path)
    context.set_alpn_protocols(["h2", "http/1.1"])
    chosen: list[str | None] = []

    async def respond(exchange: Exchange) -> None:
        tls: ssl.SSLObject = exchange.writer.get_extra_info("ssl_object")
        chosen.append(tls.selected_alpn_protocol())
        await exchange.send(whole(b""))

    async with RawServer(respond, tls=context) as server:
        trusted = str(issued.write(tmp_path / "trusted.pem"))
        client = Client(Endpoint(server.url, ca_file=trusted), connect_timeout_s=HANG_S)
        await client.reply()
        await client.close()

    assert chosen == ["http/1.1"]
