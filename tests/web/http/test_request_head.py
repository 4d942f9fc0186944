"""Ambiguous request heads are rejected."""

import pytest

from tests.web.http.segments import answers_to, connecting
from twelvefold.web.http.errors import ApiError
from twelvefold.web.http.server.chunked_body import ChunkedBody
from twelvefold.web.http.server.framing import SINGLE_HEADERS, LengthBody, body_of, check_head
from twelvefold.web.http.server.framing_limits import FramingLimits

HOST = (b"host", b"localhost:8000")


def rejection(*headers: tuple[bytes, bytes], version: str = "1.1", url: bytes = b"/") -> str:
    with pytest.raises(ApiError) as caught:
        check_head(version, url, headers)
    assert (caught.value.status, caught.value.code) == (400, "malformed_request")
    return str(caught.value)


@pytest.mark.parametrize("name", sorted(SINGLE_HEADERS))
def test_a_repeated_single_header_is_rejected(name: bytes) -> None:
    headers = [HOST, (name, b"a"), (name, b"a")]
    if name == b"host":
        headers = headers[1:]

    assert rejection(*headers) == f"the header {name.decode()} is repeated; send it once"


def test_other_headers_may_be_repeated() -> None:
    check_head("1.1", b"/", [HOST, *[(b"accept", b"a")] * 2, *[(b"x-forwarded-for", b"a")] * 2])


def test_http_1_1_needs_a_host() -> None:
    assert rejection((b"accept", b"a")) == "the header host is missing"
    check_head("1.0", b"/", [])


@pytest.mark.parametrize(
    "host",
    [b"a b", b"a,b", b"a@b", b"a/b", b"a:b", b"[::1", b"a:1:2", b"\xff"],
)
def test_a_host_is_a_name_and_a_port(host: bytes) -> None:
    assert "must be a host and port" in rejection((b"host", host))


@pytest.mark.parametrize("host", [b"", b"a", b"a.b:80", b"a:", b"[::1]:8000", b"127.0.0.1", b"a_b"])
def test_every_valid_host_is_accepted(host: bytes) -> None:
    check_head("1.1", b"/", [(b"host", host)])


@pytest.mark.parametrize(
    "url", [b"http://evil/v1", b"http://localhost/", b"ftp://localhost:8000/", b"*", b"http://[/"]
)
def test_an_absolute_url_has_the_host_of_the_header(url: bytes) -> None:
    rejection(HOST, url=url)
    check_head("1.1", b"http://LOCALHOST:8000/v1", [HOST])


@pytest.mark.parametrize("version", ["0.9", "2.0", "1.2"])
def test_other_versions_are_rejected(version: str) -> None:
    rejection(HOST, version=version)


def test_the_head_determines_the_body() -> None:
    limits = FramingLimits()

    assert body_of("1.1", [HOST], limits) is None
    assert body_of("1.1", [(b"content-length", b"0")], limits) is None
    assert isinstance(body_of("1.1", [(b"content-length", b"1")], limits), LengthBody)
    assert isinstance(body_of("1.1", [(b"transfer-encoding", b"Chunked")], limits), ChunkedBody)


@pytest.mark.parametrize(
    ("version", "headers"),
    [
        ("1.1", [(b"content-length", b"-1")]),
        ("1.1", [(b"content-length", b"+1")]),
        ("1.1", [(b"content-length", b"1, 1")]),
        ("1.1", [(b"content-length", b"1" * 19)]),
        ("1.1", [(b"transfer-encoding", b"gzip, chunked")]),
        ("1.1", [(b"transfer-encoding", b"identity")]),
        ("1.0", [(b"transfer-encoding", b"chunked")]),
        ("1.1", [(b"transfer-encoding", b"chunked"), (b"content-length", b"1")]),
    ],
)
def test_an_ambiguous_body_length_is_rejected(
    version: str, headers: list[tuple[bytes, bytes]]
) -> None:
    with pytest.raises(ApiError) as caught:
        body_of(version, headers, FramingLimits())

    assert caught.value.status == 400


@pytest.mark.parametrize(
    "head",
    [
        b"GET /read HTTP/1.1\r\n\r\n",
        b"POST /read HTTP/1.1\r\nhost: a\r\nHost: a\r\n\r\n",
        b"POST /read HTTP/1.1\r\nhost: a\r\nauthorization: x\r\nAuthorization: y\r\n\r\n",
        b"POST /read HTTP/1.1\r\nhost: a\r\norigin: http://a\r\norigin: http://b\r\n\r\n",
        b"POST /read HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\nx",
        b"POST /read HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n",
        b"GET http://b/healthz HTTP/1.1\r\nhost: a\r\n\r\n",
    ],
)
async def test_an_ambiguous_request_is_not_executed(head: bytes) -> None:
    async with connecting() as connect:
        first, *rest = await answers_to(connect, [head + b"GET /healthz HTTP/1.1\r\n\r\n"])

    assert first.startswith("400 ")
    assert '"malformed_request"' in first
    assert rest == ["closed"]
