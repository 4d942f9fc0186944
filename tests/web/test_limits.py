"""What is too much: bytes, depth, requests in a minute."""

import json

import pytest
from starlette.types import Message, Receive

from tests.web.doubles import Clock
from twelvefold.web.http.body_budget import BodyBudget
from twelvefold.web.http.body_limit import SMALL_BYTES, LimitedBody, RateLimiter, parse_json
from twelvefold.web.http.errors import ApiError
from twelvefold.web.http.json_shape import MAX_DEPTH, MAX_VALUES


def in_pieces(*pieces: bytes) -> Receive:
    waiting = list(pieces)

    async def receive() -> Message:
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    return receive


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def limited(
    receive: Receive, most: int, *headers: tuple[str, str], budget: BodyBudget | None = None
) -> LimitedBody:
    encoded = [(name.encode(), value.encode()) for name, value in headers]
    scope = {"type": "http", "headers": encoded}
    return LimitedBody(receive, scope, most, budget or BodyBudget(), "ann")


async def test_a_body_that_says_it_is_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(ApiError, match="too long; 10 bytes is the most") as caught:
        limited(in_pieces(), 10, ("content-length", "11"))

    assert (caught.value.status, caught.value.code) == (413, "request_too_large")


async def test_a_body_that_does_not_say_how_long_it_is_is_read_up_to_the_limit() -> None:
    body = limited(in_pieces(b"12345", b"67890", b"1"), 10)
    await body.receive()
    await body.receive()

    with pytest.raises(ApiError, match="too long"):
        await body.receive()


async def test_a_body_that_lies_about_its_length_is_counted() -> None:
    body = limited(in_pieces(b"123456"), 5, ("content-length", "1"))

    with pytest.raises(ApiError, match="too long"):
        await body.receive()


async def test_a_large_body_is_part_of_the_budget_until_it_is_complete() -> None:
    budget = BodyBudget(1_000_000)
    body = limited(in_pieces(b"x", b"x"), 200_000, ("content-length", "100000"), budget=budget)

    await body.receive()
    assert budget.held_bytes == 100_000
    await body.receive()
    assert budget.held_bytes == 0
    body.release()
    assert budget.held_bytes == 0


async def test_a_body_of_unknown_length_takes_the_most_once_it_is_large() -> None:
    budget = BodyBudget(1_000_000)
    pieces = in_pieces(b"x" * SMALL_BYTES, b"x", b"x")
    body = limited(pieces, 200_000, budget=budget)

    await body.receive()
    await body.receive()
    assert budget.held_bytes == 0
    await body.receive()
    body.release()
    assert budget.held_bytes == 0


async def test_a_request_that_ends_early_gives_its_part_back() -> None:
    budget = BodyBudget(1_000_000)
    body = limited(in_pieces(b"x" * 70_000, b"x", b"x"), 200_000, budget=budget)
    await body.receive()
    await body.receive()
    assert budget.held_bytes == 200_000

    body.release()

    assert budget.held_bytes == 0


async def test_small_bodies_do_not_wait() -> None:
    budget = BodyBudget(1)
    await budget.take("ann", 1)

    body = limited(in_pieces(b"x"), 200_000, ("content-length", str(SMALL_BYTES)), budget=budget)

    assert (await body.receive())["body"] == b"x"


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
    rate = RateLimiter(2, clock)

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
    rate = RateLimiter(1, Clock())

    rate.take("a")
    rate.take("b")

    with pytest.raises(ApiError):
        rate.take("a")


def test_without_a_rate_nothing_is_counted() -> None:
    rate = RateLimiter(None, Clock())

    assert [rate.take("k") for _ in range(3)] == [{}, {}, {}]


def test_brackets_in_strings_are_no_depth() -> None:
    value = {"[" * 70: "{" * 70, 'quoted \\" [[': ['\\\\"[', "\\", *[[]] * 70, "]" * 70]}

    assert parse_json(json.dumps(value).encode()) == value


def test_strings_hide_no_depth() -> None:
    body = b'["\\\\",' + nested(MAX_DEPTH) + b',"]"]'

    with pytest.raises(ApiError, match="nested too deeply"):
        parse_json(body)


@pytest.mark.parametrize("value", [b"[]", b"{}", b"1", b'""', b'"[,{"'])
def test_too_many_values_are_refused(value: bytes) -> None:
    most = b"[" + b",".join([value] * (MAX_VALUES // 2)) + b"]"
    assert len(parse_json(most)) == MAX_VALUES // 2

    with pytest.raises(ApiError, match=f"too many values; {MAX_VALUES} is the most") as caught:
        parse_json(b"[" + b",".join([value] * (MAX_VALUES + 1)) + b"]")

    assert (caught.value.status, caught.value.code) == (413, "request_too_large")
