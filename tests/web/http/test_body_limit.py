"""Limits of the bytes, the depth and the values of a request body."""

import json

import pytest
from starlette.types import Message, Receive

from twelvefold.web.http.body_budget import BodyBudget
from twelvefold.web.http.errors import ApiError
from twelvefold.web.http.middleware import SMALL_BYTES, LimitedBody
from twelvefold.web.schemas.decode import MAX_DEPTH, MAX_VALUES, parse_json


def receive_in(*pieces: bytes) -> Receive:
    remaining = list(pieces)

    async def receive() -> Message:
        return {"type": "http.request", "body": remaining.pop(0), "more_body": bool(remaining)}

    return receive


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def limited(
    receive: Receive, max_bytes: int, *headers: tuple[str, str], budget: BodyBudget | None = None
) -> LimitedBody:
    encoded = [(name.encode(), value.encode()) for name, value in headers]
    scope = {"type": "http", "headers": encoded}
    return LimitedBody(receive, scope, max_bytes, budget or BodyBudget(), "ann")


async def test_a_content_length_above_the_limit_is_rejected_before_reading() -> None:
    with pytest.raises(ApiError, match="too long; the maximum is 10 bytes") as caught:
        limited(receive_in(), 10, ("content-length", "11"))

    assert (caught.value.status, caught.value.code) == (413, "request_too_large")


async def test_a_body_of_unknown_length_is_read_up_to_the_limit() -> None:
    body = limited(receive_in(b"12345", b"67890", b"1"), 10)
    await body.receive()
    await body.receive()

    with pytest.raises(ApiError, match="too long"):
        await body.receive()


async def test_a_wrong_content_length_does_not_raise_the_limit() -> None:
    body = limited(receive_in(b"123456"), 5, ("content-length", "1"))

    with pytest.raises(ApiError, match="too long"):
        await body.receive()


async def test_a_large_body_holds_its_bytes_until_it_is_complete() -> None:
    budget = BodyBudget(1_000_000)
    body = limited(receive_in(b"x", b"x"), 200_000, ("content-length", "100000"), budget=budget)

    await body.receive()
    assert budget.held_bytes == 100_000
    await body.receive()
    assert budget.held_bytes == 0
    body.release()
    assert budget.held_bytes == 0


async def test_a_large_body_of_unknown_length_takes_the_maximum() -> None:
    budget = BodyBudget(1_000_000)
    pieces = receive_in(b"x" * SMALL_BYTES, b"x", b"x")
    body = limited(pieces, 200_000, budget=budget)

    await body.receive()
    await body.receive()
    assert budget.held_bytes == 0
    await body.receive()
    body.release()
    assert budget.held_bytes == 0


async def test_a_request_that_ends_early_gives_its_bytes_back() -> None:
    budget = BodyBudget(1_000_000)
    body = limited(receive_in(b"x" * 70_000, b"x", b"x"), 200_000, budget=budget)
    await body.receive()
    await body.receive()
    assert budget.held_bytes == 200_000

    body.release()

    assert budget.held_bytes == 0


async def test_small_bodies_do_not_wait() -> None:
    budget = BodyBudget(1)
    await budget.take("ann", 1)

    body = limited(receive_in(b"x"), 200_000, ("content-length", str(SMALL_BYTES)), budget=budget)

    assert (await body.receive())["body"] == b"x"


def test_json_is_parsed() -> None:
    value = {"a": [1, 2.5, None, True, "ü\u2028\U0001f600\x00"], "b": {}}

    assert parse_json(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    "body",
    [b"", b" ", b"{", b"{]", b"NaN", b"[Infinity]", b"{'a': 1}", b'"\xff"', b'"\\ud800"', b"1 2"],
)
def test_invalid_json_is_400(body: bytes) -> None:
    with pytest.raises(ApiError, match="is not valid JSON") as caught:
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
def test_nesting_that_is_too_deep_is_400(body: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        parse_json(body)

    assert caught.value.status == 400


def test_the_maximum_depth_and_wide_values_are_parsed() -> None:
    wide = b"[" + b",".join([b"[]"] * 1_000) + b"]"

    assert parse_json(nested(MAX_DEPTH)) is not None
    assert parse_json(wide) == [[]] * 1_000


def test_brackets_in_strings_do_not_count() -> None:
    value = {"[" * 70: "{" * 70, 'quoted \\" [[': ['\\\\"[', "\\", *[[]] * 70, "]" * 70]}

    assert parse_json(json.dumps(value).encode()) == value


def test_strings_do_not_hide_nesting() -> None:
    body = b'["\\\\",' + nested(MAX_DEPTH) + b',"]"]'

    with pytest.raises(ApiError, match="nested too deeply"):
        parse_json(body)


@pytest.mark.parametrize("value", [b"[]", b"{}", b"1", b'""', b'"[,{"'])
def test_too_many_values_are_413(value: bytes) -> None:
    largest = b"[" + b",".join([value] * (MAX_VALUES // 2)) + b"]"
    assert len(parse_json(largest)) == MAX_VALUES // 2

    with pytest.raises(ApiError, match=f"too many values; the maximum is {MAX_VALUES}") as caught:
        parse_json(b"[" + b",".join([value] * (MAX_VALUES + 1)) + b"]")

    assert (caught.value.status, caught.value.code) == (413, "request_too_large")
