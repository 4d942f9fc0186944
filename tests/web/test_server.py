"""The listening process: what it makes of bytes that are no request, and how it ends."""

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

from tests.web.doubles import Keys, web_on
from tests.web.wires import GET, OURS, Serving, error_of, serving, serving_of
from twelvefold.config import Settings
from twelvefold.errors import SettingsError
from twelvefold.web import app as web_app
from twelvefold.web import server
from twelvefold.web.http.server.receiving import ReceiveLimits
from twelvefold.web.http.token_buckets import TokenBuckets
from twelvefold.web.server import bound, tls_of

QUICK = ReceiveLimits(head_s=0.1, body_s=0.1)


@pytest.fixture(autouse=True)
def _routes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_app, "ROUTES", [*web_app.ROUTES, *OURS])


async def test_a_connection_serves_one_request_after_another() -> None:
    async with serving() as it:
        wire = await it.connected()

        answers = [await wire.ask(GET) for _ in range(3)]

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
async def test_what_is_no_http_request_has_an_envelope(data: bytes) -> None:
    async with serving() as it:
        wire = await it.connected()

        answer = await wire.ask(data)

        assert answer.status == 400
        assert error_of(answer)["code"] == "malformed_request"
        assert await wire.rest() == b""
        assert (await (await it.connected()).ask(GET)).status == 200


async def test_trailers_are_dropped() -> None:
    async with serving() as it:
        wire = await it.connected()

        answer = await wire.ask(
            b"POST /read HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
            b"2\r\n{}\r\n0\r\nauthorization: Bearer x\r\nx-filler: " + b"x" * 9_000 + b"\r\n\r\n"
        )

    assert (answer.status, answer.body) == (200, b"2")


async def test_another_protocol_in_a_coding_that_nobody_knows_is_no_request() -> None:
    async with serving() as it:
        wire = await it.connected()

        answer = await wire.ask(
            b"POST /read HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: foo\r\n"
            b"transfer-encoding: gzip\r\n\r\n"
        )

    assert answer.status == 400


async def test_what_is_no_request_keeps_no_connection() -> None:
    async with serving(limits=QUICK) as it:
        wire = await it.connected()
        assert (await wire.ask(GET)).status == 200
        await wire.send(b"\r\n")

        assert await wire.rest() == b""


async def test_headers_without_end_are_refused() -> None:
    async with serving() as it:
        wire = await it.connected()
        await wire.send(b"GET / HTTP/1.1\r\nhost: a\r\n")
        line = b"x-filler: " + b"x" * 10_000 + b"\r\n"
        for _ in range(8):
            await wire.send(line)
            await asyncio.sleep(0.01)

        answer = await wire.answer()

    assert answer.status == 431
    assert "65536 bytes" in error_of(answer)["message"]


async def test_who_takes_for_ever_to_send_is_left() -> None:
    async with serving(limits=QUICK) as it:
        silent, slow, stuck = [await it.connected() for _ in range(3)]
        await slow.send(b"GET / HT")
        await stuck.send(b"POST /read HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n12345")

        assert [await one.rest() for one in (silent, slow, stuck)] == [b"", b"", b""]


async def test_an_idle_connection_and_a_long_answer_outlive_that() -> None:
    async with serving(limits=QUICK) as it:
        idle, reading = await it.connected(), await it.connected()
        await idle.ask(GET)
        await reading.send(b"GET /ticks HTTP/1.1\r\nhost: a\r\n\r\n")
        await asyncio.sleep(0.2)

        assert (await idle.ask(GET)).status == 200
        assert not reading.reader.at_eof()
        it.stop.set()
        assert (await reading.rest()).endswith(b"retry: 100\n\n\r\n0\r\n\r\n")


@pytest.mark.parametrize("framing", ["content-length: 8000000", "transfer-encoding: chunked"])
async def test_after_a_body_that_was_too_long_the_connection_serves_the_next(
    framing: str,
) -> None:
    async with serving(max_body_bytes=100_000) as it:
        wire = await it.connected()
        await wire.send(f"POST /read HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n".encode())
        for _ in range(80):
            piece = b"x" * 100_000
            await wire.send(piece if "length" in framing else b"186a0\r\n" + piece + b"\r\n")
        if "chunked" in framing:
            await wire.send(b"0\r\n\r\n")

        refused, fine = await wire.answer(), await wire.ask(GET)

    assert (refused.status, error_of(refused)["code"]) == (413, "request_too_large")
    assert fine.status == 200


async def test_a_client_that_waits_to_be_asked_is_told_before_it_sends() -> None:
    async with serving(max_body_bytes=100_000) as it:
        wire = await it.connected()

        answer = await wire.ask(
            b"POST /read HTTP/1.1\r\nhost: a\r\n"
            b"expect: 100-continue\r\ncontent-length: 8000000\r\n\r\n"
        )

    assert answer.status == 413


async def test_a_body_that_was_refused_is_not_read_for_ever() -> None:
    limits = ReceiveLimits(discard_bytes=1_000_000)
    async with serving(limits=limits, max_body_bytes=100_000) as it:
        wire = await it.connected()
        await wire.send(b"POST /read HTTP/1.1\r\nhost: a\r\ncontent-length: 8000000\r\n\r\n")

        async with asyncio.timeout(10):
            while not wire.writer.is_closing():
                await wire.send(b"x" * 100_000)
                await asyncio.sleep(0)


async def test_who_asks_for_another_protocol_is_answered_in_this_one() -> None:
    async with serving() as it:
        wire = await it.connected()

        for _ in range(2):
            answer = await wire.ask(
                b"POST /read HTTP/1.1\r\nhost: a\r\nupgrade: h2c\r\n"
                b"connection: upgrade, http2-settings\r\n"
                b"http2-settings: AAMAAABkAAQAAP__\r\ncontent-length: 2\r\n\r\n{}"
            )
            assert (answer.status, answer.body) == (200, b"2")
        assert (await wire.ask(GET)).status == 200


async def test_forwarded_addresses_are_believed_of_trusted_proxies_alone() -> None:
    forwarded = b"x-forwarded-for: 203.0.113.7\r\nx-forwarded-proto: https\r\n"
    said = b"GET /who HTTP/1.1\r\nhost: a\r\n" + forwarded + b"\r\n"

    async with serving() as it:
        untrusted = await (await it.connected()).ask(said)
    async with serving_behind("10.0.0.0/8") as it:
        other = await (await it.connected()).ask(said)
    async with serving_behind("10.0.0.0/8", "127.0.0.1") as it:
        trusted = await (await it.connected()).ask(said)

    assert json.loads(untrusted.body) == ["127.0.0.1", "http"]
    assert json.loads(other.body) == ["127.0.0.1", "http"]
    assert json.loads(trusted.body) == ["203.0.113.7", "https"]


@asynccontextmanager
async def serving_behind(*proxies: str) -> AsyncIterator[Serving]:
    """A server that would want a key if it were opened in the usual way."""
    trusting = Settings(trusted_proxies=proxies)
    async with (
        web_on(Keys()) as web,
        serving_of(replace(web, settings=trusting)) as it,
    ):
        yield it


async def test_an_end_lets_a_stream_finish_its_event_and_refuses_new_connections() -> None:
    async with serving() as it:
        wire = await it.connected()
        await wire.send(b"GET /ticks HTTP/1.1\r\nhost: a\r\n\r\n")
        await wire.reader.readuntil(b"tick\n\n")

        it.stop.set()
        rest = await wire.rest()
        async with asyncio.timeout(2):
            await it.ended

        assert rest.endswith(b"retry: 100\n\n\r\n0\r\n\r\n")
        with pytest.raises(OSError, match="Connect"):
            await it.connected()


async def test_an_idle_server_ends_at_once() -> None:
    async with serving() as it:
        idle = await it.connected()
        await idle.ask(GET)

        it.stop.set()
        async with asyncio.timeout(1):
            await it.ended
        assert await idle.rest() == b""


async def test_the_log_says_where_it_listens(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with serving() as it:
        await (await it.connected()).ask(GET)

    (ready,) = (one for one in caplog.records if one.getMessage() == "web_ready")
    assert ready.__dict__["fields"] == {"address": f"http://127.0.0.1:{it.port}"}


def test_a_port_that_is_taken_is_told_in_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(SettingsError, match=rf"HOST, PORT: .* 127.0.0.1 port {port}: .*in use"):
            bound("127.0.0.1", port)


def test_a_host_that_is_none_is_told_in_a_sentence() -> None:
    with pytest.raises(SettingsError, match=r"HOST, PORT: cannot listen at 203\.0\.113\.1"):
        bound("203.0.113.1", 8_000)


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


async def test_tls_is_spoken_directly(certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    trusting = ssl.create_default_context(cafile=str(cert))

    async with serving(tls_cert=str(cert), tls_key=str(key)) as it:
        wire = await it.connected(ssl=trusting, server_hostname="localhost")
        answer = await wire.ask(b"GET /who HTTP/1.1\r\nhost: a\r\n\r\n")

    assert json.loads(answer.body) == ["127.0.0.1", "https"]


async def test_half_open_handshakes_keep_nobody_out(certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    trusting = ssl.create_default_context(cafile=str(cert))

    async with serving(tls_cert=str(cert), tls_key=str(key), max_connections=8) as it:
        half = [await it.connected() for _ in range(30)]
        for wire in half[::2]:
            await wire.send(b"\x16\x03\x01\x02\x00")
        wire = await it.connected(ssl=trusting, server_hostname="localhost")

        assert (await wire.ask(GET)).status == 200
        assert await half[0].rest() == b""


def test_a_certificate_that_cannot_be_read_is_told_in_a_sentence(
    certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    cert, key = certificate
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("nothing")

    for tls_cert, tls_key in ((cert, wrong), (wrong, key), (cert, tmp_path / "no"), (cert, "")):
        with pytest.raises(SettingsError, match=r"TLS_CERT, TLS_KEY: "):
            tls_of(Settings(tls_cert=str(tls_cert), tls_key=str(tls_key)))
    assert tls_of(Settings()) is None


def test_addresses_are_shown_as_urls_have_them() -> None:
    (listening,) = bound("127.0.0.1", 0)
    with listening:
        assert re.fullmatch(r"127\.0\.0\.1:\d+", server._shown(listening))


async def test_malformed_requests_that_are_many_are_answered_later() -> None:
    limits = ReceiveLimits(refusals=TokenBuckets(1, 0.001), refusal_delay_s=0.2)
    async with serving(limits=limits) as it:
        first, second = await it.connected(), await it.connected()
        assert (await first.ask(b"not HTTP\r\n\r\n")).status == 400
        late = asyncio.create_task(second.ask(b"not HTTP\r\n\r\n"))

        assert (await (await it.connected()).ask(GET)).status == 200
        assert not late.done()

        assert (await late).status == 400


async def test_a_client_that_leaves_before_a_late_answer_gets_none() -> None:
    limits = ReceiveLimits(refusals=TokenBuckets(0.5, 0.001), refusal_delay_s=0)
    async with serving(limits=limits) as it:
        wire = await it.connected()
        await wire.send(b"not HTTP\r\n\r\n")
        wire.writer.transport.abort()

        assert (await (await it.connected()).ask(GET)).status == 200
