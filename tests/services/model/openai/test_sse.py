from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from twelvefold.services.model.openai.decoding.sse import SSEDecoder

LINES = st.sampled_from(
    [
        b"data: {}",
        b"data:x",
        b"data",
        b"data:  y",
        b"event: e",
        b": hi",
        b"id: 1",
        b"",
        b"\xe2\x80\xa8",
    ]
)
STREAMS = st.lists(st.tuples(LINES, st.sampled_from([b"\n", b"\r\n", b"\r", b"\n\n"]))).map(
    lambda lines: b"".join(part for line in lines for part in line)
)


def read(*pieces: bytes) -> list[bytes]:
    events = SSEDecoder()
    return [data for piece in pieces for data in events.feed(piece)] + events.end()


@given(
    stream=STREAMS, begin=st.sampled_from([b"", b"\xef\xbb\xbf"]), cuts=st.lists(st.integers(0, 99))
)
def test_it_does_not_matter_where_the_bytes_are_split(
    stream: bytes, begin: bytes, cuts: list[int]
) -> None:
    stream = begin + stream
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]

    pieces = [stream[a:b] for a, b in pairwise(edges)]

    assert read(*pieces) == read(stream)
    assert read(*(stream[i : i + 1] for i in range(len(stream)))) == read(stream)


def test_an_event_ends_with_a_blank_line() -> None:
    events = SSEDecoder()

    assert events.feed(b"data: one\n") == []
    assert events.feed(b"\ndata: two\n\ndata: th") == [b"one", b"two"]
    assert events.feed(b"ree\n\n") == [b"three"]


def test_lines_may_end_in_any_of_three_ways() -> None:
    assert read(b"data: a\r\n\r\ndata: b\r\rdata: c\n\n") == [b"a", b"b", b"c"]


def test_data_of_several_lines_is_joined() -> None:
    assert read(b"data: a\ndata:\ndata:  b\n\n") == [b"a\n\n b"]


def test_names_ids_comments_and_unknown_fields_are_ignored() -> None:
    assert read(b": hi\n\nevent: ping\n\nretry: 3\nid: 7\nfoo: bar\ndata: a\nevent: b\n\n") == [
        b"a"
    ]


def test_a_byte_order_mark_at_the_start_is_ignored() -> None:
    assert read(b"\xef\xbb", b"\xbfdata: a\n\n") == [b"a"]


def test_unicode_line_ends_within_data_are_text() -> None:
    data = "a\u2028b\u2029c\u0085d".encode()

    assert read(b"data: " + data + b"\n\n") == [data]


def test_the_last_blank_line_may_be_missing() -> None:
    assert read(b"data: a\n\ndata: [DONE]") == [b"a", b"[DONE]"]
    assert read(b"data: a\r") == [b"a"]


def test_a_long_event_in_small_pieces_is_joined_once() -> None:
    piece = b"x" * 1_000

    assert read(b"data: ", *[piece] * 5_000, b"\n\n") == [piece * 5_000]
