"""Direct connections: responses in every form, and compressed ones."""

import gzip
import random
import zlib

import pytest

from tests.services.model.http.direct_client import EXPECTED, FORMS, TEXT, serving
from tests.services.model.http.raw_server import (
    HEAD,
    chunks,
    sends,
    whole,
)
from twelvefold.services.model.errors import RetryableError


@pytest.mark.parametrize("form", FORMS)
async def test_every_form_of_a_response_is_read_and_its_connection_reused(form: str) -> None:
    async with serving(sends(FORMS[form])) as (server, client):
        bodies = [await client.body() for _ in range(3)]

    assert bodies == [EXPECTED[form]] * 3
    assert server.connections == 1


@pytest.mark.parametrize("form", FORMS)
async def test_a_response_may_arrive_in_pieces_of_any_size(form: str) -> None:
    data = FORMS[form]
    cuts = random.Random(form).sample(range(1, len(data)), 12)
    splits = [(data[:cut], data[cut:]) for cut in cuts]
    handlers = [sends(*split, pause_s=0.001) for split in splits]
    single = sends(*(data[at : at + 1] for at in range(len(data))))
    async with serving(*handlers, single) as (server, client):
        bodies = [await client.body() for _ in range(len(handlers) + 1)]

    assert bodies == [EXPECTED[form]] * (len(handlers) + 1)
    assert server.connections == 1


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n",
        HEAD + b"Connection: keep-alive\r\n\r\n",
        HEAD + b"Transfer-Encoding: identity\r\n\r\n",
    ],
)
async def test_a_body_without_a_length_ends_with_the_connection(head: bytes) -> None:
    async with serving(sends(head + TEXT[:9], TEXT[9:], close=True)) as (server, client):
        bodies = [await client.body() for _ in range(2)]

    assert bodies == [TEXT, TEXT]
    assert server.connections == 2


@pytest.mark.parametrize(
    ("response", "connections"),
    [
        (whole(TEXT, b"Connection: close"), 2),
        (whole(TEXT, b"Connection: Keep-Alive, Close"), 2),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 500\r\n\r\n" + TEXT, 2),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 500\r\n\r\n" + TEXT, 1),
    ],
)
async def test_the_server_decides_whether_a_connection_is_reused(
    response: bytes, connections: int
) -> None:
    async with serving(sends(response)) as (server, client):
        bodies = [await client.body() for _ in range(2)]

    assert bodies == [TEXT, TEXT]
    assert server.connections == connections


async def test_headers_have_lower_case_names_and_the_first_value() -> None:
    headers = b"Retry-AFTER: 3", b"retry-after: 9", b"X-Name: \xc3\xa9", b"X-Broken: \xff", b"X-No:"
    trailers = HEAD + b"Transfer-Encoding: Chunked\r\n\r\n" + chunks(b"a")[:-2] + b"X-T: 1\r\n\r\n"
    async with serving(sends(trailers), sends(whole(b"", *headers))) as (_, client):
        first = (await client.reply())[1]
        second = (await client.reply())[1]

    assert first == {"transfer-encoding": "Chunked"}
    assert second == {
        "retry-after": "3",
        "x-name": "é",
        "x-broken": "\udcff",
        "x-no": "",
        "content-length": "0",
    }


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_a_status_without_a_body_needs_no_length(status: bytes) -> None:
    async with serving(sends(b"HTTP/1.1 " + status + b"\r\n\r\n")) as (server, client):
        replies = [await client.reply() for _ in range(2)]

    assert [reply[0] for reply in replies] == [int(status[:3])] * 2
    assert server.connections == 1


@pytest.mark.parametrize("status", [b"301", b"307", b"308"])
async def test_a_redirect_is_returned_and_not_followed(status: bytes) -> None:
    moved = whole(b"moved", b"Location: /elsewhere", status=status + b" Moved")
    async with serving(sends(moved)) as (server, client):
        code, headers, body = await client.reply()

    assert (code, headers["location"], body) == (int(status), "/elsewhere", b"moved")
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [b"401", b"429", b"500", b"503"])
async def test_the_body_of_an_error_is_read(status: bytes) -> None:
    async with serving(sends(whole(TEXT, status=status + b" No"))) as (server, client):
        replies = [await client.reply() for _ in range(2)]

    assert [(code, body) for code, _, body in replies] == [(int(status), TEXT)] * 2
    assert server.connections == 1


async def test_an_upgrade_ends_the_connection() -> None:
    upgrade = b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n\x00\x01"
    async with serving(sends(upgrade)) as (server, client):
        assert (await client.reply())[0] == 101
        await server.wait_closed()


def deflated(data: bytes, window_bits: int) -> bytes:
    state = zlib.compressobj(wbits=window_bits)
    return state.compress(data) + state.flush()


COMPRESSED = {
    "gzip": (b"gzip", gzip.compress(TEXT)),
    "x-gzip": (b"X-GZip", gzip.compress(TEXT)),
    "several members": (b"gzip", gzip.compress(TEXT[:7]) + gzip.compress(TEXT[7:])),
    "deflate": (b"deflate", deflated(TEXT, 15)),
    "deflate without a header": (b"deflate", deflated(TEXT, -15)),
    "gzip without its end": (b"gzip", gzip.compress(TEXT)[:-8]),
    "identity": (b"identity", TEXT),
    "a charset": (b"UTF-8", TEXT),
}


@pytest.mark.parametrize("form", COMPRESSED)
@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_a_compressed_body_is_decompressed(form: str, size: int) -> None:
    encoding, body = COMPRESSED[form]
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    head = HEAD + b"Content-Encoding: " + encoding + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with serving(sends(head + chunks(*pieces))) as (server, client):
        bodies = [await client.body() for _ in range(2)]

    assert bodies == [TEXT, TEXT]
    assert server.connections == 1
    assert b"\r\naccept-encoding: identity\r\n" in server.requests[0]


async def test_a_piece_of_a_decompressed_body_has_a_limited_size() -> None:
    size = 50 << 20
    response = whole(gzip.compress(bytes(size)), b"Content-Encoding: gzip")
    async with serving(sends(response)) as (_, client):
        sizes = []
        async with client.request("POST", "/", b"", {}) as reply:
            while piece := await reply.read():
                sizes.append(len(piece))

    assert sum(sizes) == size
    assert max(sizes) <= 1 << 20


@pytest.mark.parametrize(
    ("encoding", "problem"),
    [
        (b"gzip", "the response cannot be decompressed: "),
        (b"deflate", "the response cannot be decompressed: "),
        (b"br", "the response is compressed with br, which was not requested"),
        (b"zstd", "the response is compressed with zstd, which was not requested"),
    ],
)
async def test_a_body_that_cannot_be_decompressed_is_reported(
    encoding: bytes, problem: str
) -> None:
    async with serving(sends(whole(b"xxxx", b"Content-Encoding: " + encoding))) as (_, client):
        with pytest.raises(RetryableError) as caught:
            await client.reply()

    assert str(caught.value).startswith(problem)
