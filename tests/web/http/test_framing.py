"""The responses do not depend on how the bytes are split into segments."""

import asyncio
import sys
from types import FrameType

import pytest

from tests.web.http.segments import TURNS, Connect, answers_to, connecting, cuts
from twelvefold.web.http.server.chunked_body import ChunkedBody
from twelvefold.web.http.server.framing_limits import FramingLimits

SMALL = FramingLimits(
    blank_bytes=4,
    request_line_bytes=40,
    header_count=4,
    head_bytes=120,
    chunk_line_bytes=16,
    chunk_extension_bytes=20,
    chunk_count=4,
    chunk_bytes=8,
    trailer_bytes=30,
    trailer_count=3,
)
HEAD = b"POST /read HTTP/1.1\r\nhost: a\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
NEXT = b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n"
FINE = '200 {"status":"ok"}'


def long_head(length: int, method: bytes = b"GET /healthz") -> bytes:
    """Return a request without a body whose head has `length` bytes."""
    start = method + b" HTTP/1.1\r\nhost: a\r\nx: "
    return start + b"x" * (length - len(start) - 4) + b"\r\n\r\n"


def with_headers(count: int) -> bytes:
    more = b"".join(b"x%d: y\r\n" % number for number in range(count - 1))
    return b"GET /healthz HTTP/1.1\r\nhost: a\r\n" + more + b"\r\n"


def line_of(length: int) -> bytes:
    """Return a request whose first line has `length` bytes with its line end."""
    return b"GET /healthz?" + b"q" * (length - 24) + b" HTTP/1.1\r\nhost: a\r\n\r\n"


async def same_answers(connect: Connect, data: bytes) -> list[str]:
    """Return the responses to these bytes, and check that no split changes them."""
    expected, *others = [await answers_to(connect, segments) for segments in cuts(data)]
    for other in others:
        assert other == expected
    return expected


@pytest.mark.parametrize(
    ("data", "statuses"),
    [
        (NEXT + NEXT, ["200", "200", "open"]),
        (b"\r\n" + NEXT + b"\r\n" + NEXT, ["200", "200", "open"]),
        (b"\r\n\r\n\r\n" + NEXT, ["400", "closed"]),
        (HEAD + b"content-length: 5\r\n\r\nabcde" + NEXT, ["200 5", "200", "open"]),
        (HEAD + b"content-length: 0\r\n\r\n" + NEXT, ["200 0", "200", "open"]),
        (HEAD + b"content-length: 4\r\n\r\n\r\n\r\n" + NEXT, ["200 4", "200", "open"]),
        (NEXT + b"no request\r\n\r\n" + NEXT, ["200", "400", "closed"]),
        (HEAD + b"connection: close\r\n\r\n" + NEXT, ["200 0", "closed"]),
        (b"POST /read HTTP/1.0\r\n\r\n" + NEXT, ["200 0", "closed"]),
        (b"GET /healthz\r\n\r\n", ["400", "closed"]),
        (b"GET /healthz HTTP/2.0\r\nhost: a\r\n\r\n", ["400", "closed"]),
        (b"GET /healthz HTTP/1.1\nhost: a\n\n", ["400", "closed"]),
    ],
    ids=[
        *("two", "blank", "too-blank", "body", "no-body", "ends-in-body", "bad-second"),
        *("close", "http10", "http09", "http2", "bare-lf"),
    ],
)
async def test_framing_does_not_depend_on_segments(data: bytes, statuses: list[str]) -> None:
    async with connecting(SMALL) as connect:
        answers = await same_answers(connect, data)

    assert len(answers) == len(statuses)
    assert all(one.startswith(status) for one, status in zip(answers, statuses, strict=True))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (long_head(120), [FINE, "open"]),
        (long_head(121), ["431 the headers are longer than 120 bytes", "closed"]),
        (line_of(40), [FINE, "open"]),
        (line_of(41), ["414 the request line is longer than 40 bytes", "closed"]),
        (with_headers(4), [FINE, "open"]),
        (with_headers(5), ["431 there are more than 4 headers", "closed"]),
        (NEXT + long_head(120), [FINE, FINE, "open"]),
        (NEXT + long_head(121), [FINE, "431 the headers are longer", "closed"]),
        (b"\r\n" + long_head(120), [FINE, "open"]),
        (long_head(119) + NEXT, [FINE, FINE, "open"]),
    ],
    ids=[
        *("head", "longer", "line", "longer-line", "count", "more"),
        *("second", "longer-second", "blank", "next"),
    ],
)
async def test_the_limits_of_a_head_are_exact(data: bytes, expected: list[str]) -> None:
    async with connecting(SMALL) as connect:
        answers = await same_answers(connect, data)

    assert len(answers) == len(expected)
    for answer, (status, _, text) in zip(answers, map(split, expected), strict=True):
        assert answer.startswith(status)
        assert text in answer


def split(answer: str) -> tuple[str, str, str]:
    return answer.partition(" ")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "200 5"),
        (b"00003\r\nabc\r\n0\r\n\r\n", "200 3"),
        (b"A\r\n0123456789\r\n000\r\n\r\n", "200 10"),
        (b"2\r\n\r\n\r\n0\r\n\r\n", "200 2"),
        (b"3 ;a=b\r\nabc\r\n0;c\r\nx: y\r\nz:\r\n\r\n", "200 3"),
        (b"1;23456789abcde\r\na\r\n0\r\n\r\n", "400 a chunk's size line is longer than 16"),
        (b"1;23456789ab\r\na\r\n1;23456789ab\r\nb\r\n0\r\n\r\n", "400 the chunk extensions are"),
        (b"1\r\na\r\n" * 5 + b"0\r\n\r\n", "400 the body has more than 4 chunks"),
        (b"8\r\nabcdefgh\r\n" * 9 + b"0\r\n\r\n", "200 72"),
        (b"7\r\nabcdefg\r\n" * 40 + b"0\r\n\r\n", "400 the body has more than 4 chunks"),
        (b"9\r\nabcdefghi\r\n" + b"1\r\na\r\n" * 3 + b"0\r\n\r\n", "200 12"),
        (b"9\r\nabcdefghi\r\n" + b"1\r\na\r\n" * 5 + b"0\r\n\r\n", "400 the body has more"),
        (b"0\r\nx: " + b"y" * 25 + b"\r\n\r\n", "200 0"),
        (b"0\r\nx: " + b"y" * 26 + b"\r\n\r\n", "431 the trailers are longer than 30 bytes"),
        (b"0\r\na:\r\nb:\r\nc:\r\nd:\r\n\r\n", "431 there are more than 3 trailers"),
        (b"0\r\nno trailer\r\n\r\n", "400 malformed HTTP request"),
        (b"3\r\nabcd\r\n0\r\n\r\n", "400 malformed HTTP request"),
        (b"3\nabc\r\n0\r\n\r\n", "400 malformed HTTP request"),
        (b"0x3\r\nabc\r\n0\r\n\r\n", "400 malformed HTTP request"),
        (b"-3\r\nabc\r\n0\r\n\r\n", "400 malformed HTTP request"),
        (b"\r\nabc\r\n0\r\n\r\n", "400 malformed HTTP request"),
        (b"ffffffffffffffff\r\n", "400"),
        (b"fffffffffffffff;\r\n", "400"),
    ],
)
async def test_the_limits_of_chunks_and_trailers_are_exact(body: bytes, expected: str) -> None:
    status, _, text = split(expected)

    async with connecting(SMALL) as connect:
        answer, *rest = await same_answers(connect, CHUNKED + body + NEXT)

    assert answer.startswith(status)
    assert text in answer
    assert rest == ([FINE, "open"] if status == "200" else ["closed"])


async def test_a_response_that_needs_no_body_does_not_depend_on_its_framing() -> None:
    head = b"GET /healthz HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"

    async with connecting(SMALL) as connect:
        fine = await same_answers(connect, head + b"1\r\na\r\n0\r\n\r\n" + NEXT)
        broken = await same_answers(connect, head + b"no chunk\r\n" + NEXT)

    assert fine == [FINE, FINE, "open"]
    assert broken == [FINE, "closed"]


async def test_a_body_that_is_too_long_is_reported_before_a_later_framing_error() -> None:
    data = CHUNKED + b"800\r\n" + b"x" * 2_048 + b"\r\nno chunk\r\n"

    async with connecting(SMALL, max_body_bytes=1_024) as connect:
        answers = [
            await answers_to(connect, segments)
            for segments in ([data], [data[:500], data[500:]], [data[:2_100], data[2_100:]])
        ]

    assert [[one[:3] for one in answer] for answer in answers] == [["413", "clo"]] * 3


async def test_a_long_body_is_not_counted_as_the_next_head() -> None:
    body = b"x" * 100_000
    data = HEAD + b"content-length: 100000\r\n\r\n" + body + NEXT
    splits = [
        [data],
        [data[:60], data[60:]],
        [data[:70_000], data[70_000:]],
        [data[:-20], data[-20:]],
    ]

    async with connecting() as connect:
        answers = [await answers_to(connect, segments) for segments in splits]

    assert answers == [["200 100000", FINE, "open"]] * 4


async def test_a_long_head_in_one_segment_is_rejected() -> None:
    fits, longer = long_head(65_536), long_head(70_000)

    async with connecting() as connect:
        answers = [await answers_to(connect, [data + NEXT]) for data in (fits, longer)]

    assert answers[0] == [FINE, FINE, "open"]
    assert answers[1][0].startswith("431 ")


async def test_pipelined_bytes_are_limited() -> None:
    async with connecting() as connect:
        protocol, pipe = connect()
        protocol.data_received(NEXT * 3_000)
        ahead = pipe.is_paused
        answers = await answers_to(connect, [NEXT * 3_000])

    assert ahead
    assert len(answers) < 3_001


async def test_a_pipelined_request_stops_the_keep_alive_timer() -> None:
    async with connecting() as connect:
        protocol, pipe = connect()
        protocol.data_received(NEXT + HEAD + b"content-length: 5\r\n\r\nab")
        for _ in range(TURNS):
            await asyncio.sleep(0)
        idle = protocol.timeout_keep_alive_task
        protocol.data_received(b"cde")
        for _ in range(TURNS):
            await asyncio.sleep(0)
        protocol.connection_lost(None)

    assert idle is None
    assert pipe.written.count(b"HTTP/1.1 200 OK") == 2


def test_complete_chunks_are_read_without_a_call_each() -> None:
    calls = 0

    def count(frame: FrameType, event: str, arg: object) -> None:
        nonlocal calls
        calls += event == "call"

    body, content = ChunkedBody(FramingLimits(chunk_count=5_000)), list[bytes]()
    sys.setprofile(count)
    try:
        body.take(b"1\r\na\r\n" * 4_000, content)
    finally:
        sys.setprofile(None)

    assert (len(content), body.error) == (4_000, None)
    assert calls < 100
