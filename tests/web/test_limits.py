"""What is too much: bytes, depth, requests in a minute."""

import json

import pytest
from starlette.types import Message, Receive, Scope

from tests.web.doubles import Clock
from twelvefold.web.faults import ApiError
from twelvefold.web.limits import MAX_DEPTH, Rate, limited, parse_json


def in_pieces(*pieces: bytes) -> Receive:
    waiting = list(pieces)

    async def receive() -> Message:
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    return receive


def scope_of(*headers: tuple[str, str]) -> Scope:
    encoded = [(name.encode(), value.encode()) for name, value in headers]
    return {"type": "http", "headers": encoded}


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


async def test_a_body_that_says_it_is_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(ApiError, match="too long; 10 bytes is the most") as caught:
        limited(in_pieces(), scope_of(("content-length", "11")), 10)

    assert (caught.value.status, caught.value.code) == (413, "request_too_large")


async def test_a_body_that_does_not_say_how_long_it_is_is_read_up_to_the_limit() -> None:
    receive = limited(in_pieces(b"12345", b"67890", b"1"), scope_of(), 10)
    await receive()
    await receive()

    with pytest.raises(ApiError, match="too long"):
        await receive()


async def test_a_body_that_lies_about_its_length_is_counted() -> None:
    receive = limited(in_pieces(b"123456"), scope_of(("content-length", "1")), 5)

    with pytest.raises(ApiError, match="too long"):
        await receive()


def test_json_is_read() -> None:
    value = {"a": [1, 2.5, None, True, "ü\u2028\U0001f600\x00"], "b": {}}

    assert parse_json(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    "body",
    [b"", b" ", b"{", b"{]", b"NaN", b"[Infinity]", b"{'a': 1}", b'"\xff"', b'"\\ud800"', b"1 2"],
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(ApiError, match="is no JSON") as caught:
        parse_json(body)

    assert (caught.value.status, caught.value.code) == (400, "invalid_json")


@pytest.mark.parametrize(
    "body",
    [
        nested(MAX_DEPTH + 1),
        b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1),
        b"[" * 50_000,
        nested(50_000),
        b"[1," + nested(MAX_DEPTH) + b"]",
    ],
    ids=["arrays", "objects", "open", "50000", "beside"],
)
def test_deep_nesting_is_refused(body: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        parse_json(body)

    assert caught.value.status == 400


def test_what_is_just_deep_enough_or_only_wide_is_read() -> None:
    wide = b"[" + b",".join([b"[]"] * 1_000) + b"]"

    assert parse_json(nested(MAX_DEPTH)) is not None
    assert parse_json(wide) == [[]] * 1_000


def test_a_minutes_worth_may_come_at_once_and_then_evenly() -> None:
    clock = Clock()
    rate = Rate(2, clock)

    assert rate.take("k") == {
        "x-ratelimit-limit-requests": "2",
        "x-ratelimit-remaining-requests": "1",
        "x-ratelimit-reset-requests": "30s",
    }
    rate.take("k")
    with pytest.raises(ApiError, match="2 requests a minute") as caught:
        rate.take("k")
    assert caught.value.status == 429
    assert caught.value.headers["retry-after"] == "30"
    assert caught.value.headers["x-ratelimit-remaining-requests"] == "0"
    clock.now += 30
    rate.take("k")


def test_each_key_has_a_rate_of_its_own() -> None:
    rate = Rate(1, Clock())

    rate.take("a")
    rate.take("b")

    with pytest.raises(ApiError):
        rate.take("a")


def test_without_a_rate_nothing_is_counted() -> None:
    rate = Rate(None, Clock())

    assert [rate.take("k") for _ in range(3)] == [{}, {}, {}]
