"""The server: malformed requests, timeouts, TLS and shutdown."""

import asyncio
import json
import re
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.loop_clock import LoopClock, pass_time_until
from tests.web.doubles import Keys, web_on
from tests.web.http.raw_client import (
    GET,
    RawClient,
    RunningServer,
    error_of,
    run_server,
    serve_web,
)
from twelvefold.config import Settings
from twelvefold.errors import SettingsError
from twelvefold.web.http.server.connections import ReceiveLimits
from twelvefold.web.http.token_buckets import TokenBuckets
from twelvefold.web.server import RECEIVE_LIMITS, _address, bind_sockets, load_tls


async def test_a_connection_serves_one_request_after_another() -> None:
    async with run_server() as server:
        client = await server.connect()

        answers = [await client.request(GET) for _ in range(3)]

    assert [one.status for one in answers] == [200, 200, 200]
    assert "server" not in answers[0].headers


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/1.1\r\nhost: a\r\nno colon\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"GET /\xc3\xbc HTTP/1.1\r\n\r\n",
    ],
)
async def test_a_malformed_request_gets_an_error_object(data: bytes) -> None:
    async with run_server() as server:
        client = await server.connect()

        answer = await client.request(data)

        assert answer.status == 400
        assert error_of(answer)["code"] == "malformed_request"
        assert await client.read_to_end() == b""
        assert (await (await server.connect()).request(GET)).status == 200


async def test_trailers_are_dropped() -> None:
    async with run_server() as server:
        client = await server.connect()

        answer = await client.request(
            b"POST /read HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
            b"2\r\n{}\r\n0\r\nauthorization: Bearer x\r\nx-filler: " + b"x" * 9_000 + b"\r\n\r\n"
        )

    assert (answer.status, answer.body) == (200, b"2")


async def test_an_upgrade_with_an_unknown_transfer_coding_is_400() -> None:
    async with run_server() as server:
        client = await server.connect()

        answer = await client.request(
            b"POST /read HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: foo\r\n"
            b"transfer-encoding: gzip\r\n\r\n"
        )

    assert answer.status == 400


async def test_blank_lines_do_not_keep_a_connection_open() -> None:
    async with run_server() as server:
        client = await server.connect()
        assert (await client.request(GET)).status == 200
        await client.send(b"\r\n")

        assert await read_while_time_passes(client) == [b""]


async def read_while_time_passes(*clients: RawClient) -> list[bytes]:
    """Return what each client reads until the server closes its connection."""
    reads = [asyncio.create_task(client.read_to_end()) for client in clients]
    await pass_time_until(lambda: all(one.done() for one in reads))
    return [await one for one in reads]


async def test_endless_headers_are_431() -> None:
    async with run_server() as server:
        client = await server.connect()
        await client.send(b"GET / HTTP/1.1\r\nhost: a\r\n")
        line = b"x-filler: " + b"x" * 10_000 + b"\r\n"
        for _ in range(8):
            await client.send(line)
            await asyncio.sleep(0.01)

        answer = await client.read_response()

    assert answer.status == 431
    assert "65536 bytes" in error_of(answer)["message"]


async def test_a_request_that_arrives_too_slowly_ends_the_connection() -> None:
    async with run_server() as server:
        silent, slow, stuck = [await server.connect() for _ in range(3)]
        await slow.send(b"GET / HT")
        await stuck.send(b"POST /read HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n12345")

        assert await read_while_time_passes(silent, slow, stuck) == [b"", b"", b""]


async def test_the_receive_timeouts_do_not_end_idle_connections_or_long_responses() -> None:
    async with run_server() as server:
        idle, reading = await server.connect(), await server.connect()
        await idle.request(GET)
        await reading.send(b"GET /ticks HTTP/1.1\r\nhost: a\r\n\r\n")
        await reading.reader.readuntil(b"tick\n\n")
        LoopClock().let_pass(RECEIVE_LIMITS.body_s + 1)  # the longest of them
        await reading.reader.readuntil(b"tick\n\n")

        assert (await idle.request(GET)).status == 200
        assert not reading.reader.at_eof()
        server.stop.set()
        assert (await reading.read_to_end()).endswith(b"retry: 100\n\n\r\n0\r\n\r\n")


@pytest.mark.parametrize("framing", ["content-length: 8000000", "transfer-encoding: chunked"])
async def test_after_a_body_that_is_too_long_the_connection_serves_the_next_request(
    framing: str,
) -> None:
    async with run_server(max_body_bytes=100_000) as server:
        client = await server.connect()
        await client.send(f"POST /read HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n".encode())
        for _ in range(80):
            piece = b"x" * 100_000
            await client.send(piece if "length" in framing else b"186a0\r\n" + piece + b"\r\n")
        if "chunked" in framing:
            await client.send(b"0\r\n\r\n")

        refused, fine = await client.read_response(), await client.request(GET)

    assert (refused.status, error_of(refused)["code"]) == (413, "request_too_large")
    assert fine.status == 200


async def test_expect_100_continue_gets_413_before_the_body_is_sent() -> None:
    async with run_server(max_body_bytes=100_000) as server:
        client = await server.connect()

        answer = await client.request(
            b"POST /read HTTP/1.1\r\nhost: a\r\n"
            b"expect: 100-continue\r\ncontent-length: 8000000\r\n\r\n"
        )

    assert answer.status == 413


async def test_the_bytes_read_of_a_rejected_body_are_limited() -> None:
    limits = ReceiveLimits(discard_bytes=1_000_000)
    async with run_server(limits=limits, max_body_bytes=100_000) as server:
        client = await server.connect()
        await client.send(b"POST /read HTTP/1.1\r\nhost: a\r\ncontent-length: 8000000\r\n\r\n")

        while not client.writer.is_closing():
            await client.send(b"x" * 100_000)
            await asyncio.sleep(0)


async def test_an_upgrade_request_is_answered_in_http_1_1() -> None:
    async with run_server() as server:
        client = await server.connect()

        for _ in range(2):
            answer = await client.request(
                b"POST /read HTTP/1.1\r\nhost: a\r\nupgrade: h2c\r\n"
                b"connection: upgrade, http2-settings\r\n"
                b"http2-settings: AAMAAABkAAQAAP__\r\ncontent-length: 2\r\n\r\n{}"
            )
            assert (answer.status, answer.body) == (200, b"2")
        assert (await client.request(GET)).status == 200


async def test_only_trusted_proxies_may_forward_addresses() -> None:
    forwarded = b"x-forwarded-for: 203.0.113.7\r\nx-forwarded-proto: https\r\n"
    said = b"GET /client HTTP/1.1\r\nhost: a\r\n" + forwarded + b"\r\n"

    async with run_server() as server:
        untrusted = await (await server.connect()).request(said)
    async with serving_behind("10.0.0.0/8") as server:
        other = await (await server.connect()).request(said)
    async with serving_behind("10.0.0.0/8", "127.0.0.1") as server:
        trusted = await (await server.connect()).request(said)

    assert json.loads(untrusted.body) == ["127.0.0.1", "http"]
    assert json.loads(other.body) == ["127.0.0.1", "http"]
    assert json.loads(trusted.body) == ["203.0.113.7", "https"]


@asynccontextmanager
async def serving_behind(*proxies: str) -> AsyncIterator[RunningServer]:
    """Serve with trusted proxies, which without a key `Authenticator.create` would reject."""
    trusting = Settings(trusted_proxies=proxies)
    async with (
        web_on(Keys()) as web,
        serve_web(replace(web, settings=trusting)) as server,
    ):
        yield server


async def test_a_shutdown_lets_a_stream_finish_its_event_and_accepts_no_connection() -> None:
    async with run_server() as server:
        client = await server.connect()
        await client.send(b"GET /ticks HTTP/1.1\r\nhost: a\r\n\r\n")
        await client.reader.readuntil(b"tick\n\n")

        server.stop.set()
        rest = await client.read_to_end()
        await server.ended

        assert rest.endswith(b"retry: 100\n\n\r\n0\r\n\r\n")
        with pytest.raises(OSError, match="Connect"):
            await server.connect()


async def test_an_idle_server_shuts_down_immediately() -> None:
    async with run_server(grace_s=3_600) as server:
        idle = await server.connect()
        await idle.request(GET)

        server.stop.set()
        await server.ended
        assert await idle.read_to_end() == b""


async def test_the_log_has_the_address(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with run_server() as server:
        await (await server.connect()).request(GET)

    (ready,) = (one for one in caplog.records if one.getMessage() == "web_ready")
    assert ready.__dict__["fields"] == {"address": f"http://127.0.0.1:{server.port}"}


def test_a_port_in_use_is_a_settings_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(SettingsError, match=rf"HOST, PORT: .* 127.0.0.1 port {port}: .*in use"):
            bind_sockets("127.0.0.1", port)


def test_a_host_of_another_machine_is_a_settings_error() -> None:
    with pytest.raises(SettingsError, match=r"HOST, PORT: cannot listen at 203\.0\.113\.1"):
        bind_sockets("203.0.113.1", 8_000)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost, and its key."""
    directory = tmp_path_factory.mktemp("tls")
    cert, key = directory / "cert.pem", directory / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*command, "-out", cert, "-keyout", key], check=True, capture_output=True)
    return cert, key


async def test_requests_over_tls_are_served(certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    trusting = ssl.create_default_context(cafile=str(cert))

    async with run_server(tls_cert=str(cert), tls_key=str(key)) as server:
        client = await server.connect(ssl=trusting, server_hostname="localhost")
        answer = await client.request(b"GET /client HTTP/1.1\r\nhost: a\r\n\r\n")

    assert json.loads(answer.body) == ["127.0.0.1", "https"]


async def test_half_open_handshakes_do_not_block_others(certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    trusting = ssl.create_default_context(cafile=str(cert))

    async with run_server(tls_cert=str(cert), tls_key=str(key), max_connections=8) as server:
        half = [await server.connect() for _ in range(30)]
        for client in half[::2]:
            await client.send(b"\x16\x03\x01\x02\x00")
        client = await server.connect(ssl=trusting, server_hostname="localhost")

        assert (await client.request(GET)).status == 200
        assert await half[0].read_to_end() == b""


def test_an_unreadable_certificate_is_a_settings_error(
    certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    cert, key = certificate
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("nothing")

    for tls_cert, tls_key in ((cert, wrong), (wrong, key), (cert, tmp_path / "no"), (cert, "")):
        with pytest.raises(SettingsError, match=r"TLS_CERT, TLS_KEY: "):
            load_tls(Settings(tls_cert=str(tls_cert), tls_key=str(tls_key)))
    assert load_tls(Settings()) is None


def test_addresses_are_logged_as_in_urls() -> None:
    (listening,) = bind_sockets("127.0.0.1", 0)
    with listening:
        assert re.fullmatch(r"127\.0\.0\.1:\d+", _address(listening))


async def test_many_malformed_requests_are_answered_with_a_delay() -> None:
    limits = ReceiveLimits(rejections=TokenBuckets(1, 0.001), rejection_delay_s=3_600)
    async with run_server(limits=limits) as server:
        first, second = await server.connect(), await server.connect()
        assert (await first.request(b"not HTTP\r\n\r\n")).status == 400
        late = asyncio.create_task(second.request(b"not HTTP\r\n\r\n"))

        assert (await (await server.connect()).request(GET)).status == 200
        assert not late.done()

        await pass_time_until(late.done)
        assert (await late).status == 400


async def test_a_client_that_disconnects_before_a_delayed_response_gets_none() -> None:
    limits = ReceiveLimits(rejections=TokenBuckets(0.5, 0.001), rejection_delay_s=0)
    async with run_server(limits=limits) as server:
        client = await server.connect()
        await client.send(b"not HTTP\r\n\r\n")
        client.writer.transport.abort()

        assert (await (await server.connect()).request(GET)).status == 200
