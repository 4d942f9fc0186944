"""Heads that could be read in two ways are refused."""

import pytest

from tests.web.http.segments import answers_to, connecting
from twelvefold.web.http.errors import ApiError
from twelvefold.web.http.server.framing import ChunkedBody, FramingLimits, LengthBody
from twelvefold.web.http.server.request_head import SINGLE, body_of, check_head

HOST = (b"host", b"localhost:8000")


def refused(*headers: tuple[bytes, bytes], version: str = "1.1", url: bytes = b"/") -> str:
    with pytest.raises(ApiError) as caught:
        check_head(version, url, headers)
    assert (caught.value.status, caught.value.code) == (400, "malformed_request")
    return str(caught.value)


@pytest.mark.parametrize("name", sorted(SINGLE))
def test_a_header_that_means_one_thing_is_sent_once(name: bytes) -> None:
    headers = [HOST, (name, b"a"), (name, b"a")]
    if name == b"host":
        headers = headers[1:]

    assert refused(*headers) == f"the header {name.decode()} is there twice; send it once"


def test_other_headers_may_be_repeated() -> None:
    check_head("1.1", b"/", [HOST, *[(b"accept", b"a")] * 2, *[(b"x-forwarded-for", b"a")] * 2])


def test_http_1_1_needs_a_host() -> None:
    assert refused((b"accept", b"a")) == "the header host is missing"
    check_head("1.0", b"/", [])


@pytest.mark.parametrize(
    "host",
    [b"a b", b"a,b", b"a@b", b"a/b", b"a:b", b"[::1", b"a:1:2", b"\xff"],
)
def test_a_host_is_a_name_and_a_port(host: bytes) -> None:
    assert "no host and port" in refused((b"host", host))


@pytest.mark.parametrize("host", [b"", b"a", b"a.b:80", b"a:", b"[::1]:8000", b"127.0.0.1", b"a_b"])
def test_every_host_of_a_url_is_taken(host: bytes) -> None:
    check_head("1.1", b"/", [(b"host", host)])


@pytest.mark.parametrize(
    "url", [b"http://evil/v1", b"http://localhost/", b"ftp://localhost:8000/", b"*", b"http://[/"]
)
def test_a_whole_url_names_the_host_of_the_header(url: bytes) -> None:
    refused(HOST, url=url)
    check_head("1.1", b"http://LOCALHOST:8000/v1", [HOST])


@pytest.mark.parametrize("version", ["0.9", "2.0", "1.2"])
def test_other_versions_are_refused(version: str) -> None:
    refused(HOST, version=version)


def test_the_head_announces_the_body() -> None:
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
def test_a_body_that_could_end_in_two_places_is_refused(
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
async def test_such_a_request_is_not_carried_out(head: bytes) -> None:
    async with connecting() as connect:
        first, *rest = await answers_to(connect, [head + b"GET /healthz HTTP/1.1\r\n\r\n"])

    assert first.startswith("400 ")
    assert '"malformed_request"' in first
    assert rest == ["closed"]
