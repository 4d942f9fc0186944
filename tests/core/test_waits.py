"""Waits and questions as tools return them, and their answers."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Annotated, Any, Literal

import pytest
from typing_extensions import TypeAliasType

from tests.builders import approval_asked, asked, called, thread_of
from twelvefold.core.answers import (
    check_answer,
    decode_value,
    make_signal_key,
    parse_answer,
    schema_of,
)
from twelvefold.core.events import WaitStarted
from twelvefold.core.ids import CallId
from twelvefold.core.tools.tool import tool
from twelvefold.core.waiting import Ask, Wait, declares_wait
from twelvefold.core.waits import start_wait
from twelvefold.errors import InvalidAnswer, RequestError, WorkflowError

CALL = CallId("2.0")
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
AFTER_9999 = datetime.max.replace(tzinfo=timezone(timedelta(hours=-12)))
"""In UTC it is in the year 10000, which no datetime can have."""


class Nowhere(tzinfo):
    """A zone that knows no offset, as `datetime` allows."""

    def utcoffset(self, _: datetime | None) -> None:
        return None

    def dst(self, _: datetime | None) -> None:
        return None

    def tzname(self, _: datetime | None) -> None:
        return None


@dataclass
class Seat:
    row: int
    side: Literal["left", "right"]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({}, "either until= or event="),
        ({"until": NOON, "event": "paid"}, "either until= or event="),
        ({"until": NOON, "timeout": timedelta(1)}, "timeout= is for event="),
        ({"until": datetime(2030, 1, 1)}, "has no time zone"),  # noqa: DTZ001 - it is refused
        ({"event": "x" * 256}, "event has 256 characters; 255 is the most"),
        ({"event": "\ud800"}, "event is no text: it holds half of a surrogate pair"),
        ({"event": 5}, "event is a text, not 5"),
        ({"event": None}, "event is a text, not None"),
        ({"event": " "}, "event is ' '; it needs a visible character"),
        ({"event": "paid", "timeout": 5}, "timeout=5 is no timedelta"),
        ({"event": "paid", "timeout": math.nan}, "timeout=nan is no timedelta"),
        ({"until": 5}, "until=5 is neither a datetime nor a timedelta"),
        ({"until": NOON.date()}, r"until=datetime.date\(.*\) is neither a datetime nor"),
        ({"until": NOON.replace(tzinfo=Nowhere())}, "has no time zone"),
    ],
)
def test_a_wrong_wait_is_refused(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Wait(**given)


@pytest.mark.parametrize("question", ["", "  ", "x" * 4_001])
def test_a_wrong_question_is_refused(question: str) -> None:
    with pytest.raises(ValueError, match="a question has 1 to 4000 characters"):
        Ask(question)


def test_a_question_is_text() -> None:
    with pytest.raises(ValueError, match="question is no text"):
        Ask("Who is \ud800?")
    with pytest.raises(ValueError, match="question is a text, not 5"):
        Ask(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("person", ["\ud800", " ", "ann ", "x" * 256, None, 7])
def test_a_question_is_for_a_principal(person: Any) -> None:
    with pytest.raises(ValueError, match=r"person is .*; use 1 to 255 printable characters"):
        Ask("Who?", person=person)


def test_the_time_for_an_answer_is_a_timedelta() -> None:
    with pytest.raises(ValueError, match="timeout=60 is no timedelta"):
        Ask("Who?", timeout=60)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("result", "wait"),
    [
        (Wait(until=timedelta(seconds=1)), WaitStarted(CALL, "t", 1_000_007)),
        (Wait(until=timedelta(days=-999)), WaitStarted(CALL, "t", 1)),
        (Wait(until=timedelta.max), WaitStarted(CALL, "t", 253_402_300_799_999_999)),
        (Wait(until=NOON), WaitStarted(CALL, "t", 1_893_499_200_000_000)),
        (Wait(until=AFTER_9999), WaitStarted(CALL, "t", 253_402_300_799_999_999)),
        (Wait(event="paid"), WaitStarted(CALL, "t", 0, "paid")),
        (Wait(event="paid", timeout=timedelta(0)), WaitStarted(CALL, "t", 7, "paid")),
        (
            Ask("Who?", person="bob"),
            WaitStarted(CALL, "t", question="Who?", schema={"type": "string"}, person="bob"),
        ),
    ],
)
def test_a_result_becomes_a_wait(result: Wait | Ask, wait: WaitStarted) -> None:
    assert start_wait(CALL, "t", result, 7) == wait


@pytest.mark.parametrize(
    ("returns", "waits"),
    [
        (Wait, True),
        (str | Ask, True),
        (Annotated[str | Wait, "x"] | None, True),
        (str, False),
        (str | int, False),
        (None, False),
        (list[Wait], False),
        (TypeAliasType("Result", str | Wait), True),
    ],
)
def test_a_return_annotation_declares_a_wait(returns: Any, waits: bool) -> None:
    assert declares_wait(returns) is waits


@pytest.mark.parametrize(
    ("answer", "schema"),
    [
        (None, {"type": "string"}),
        (bool, {"type": "boolean"}),
        ({"type": "null"}, {"type": "null"}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        ({"enum": ("a", 1)}, {"enum": ["a", 1]}),
    ],
)
def test_the_schema_of_an_answer(answer: Any, schema: dict[str, Any]) -> None:
    assert schema_of(answer) == schema


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (
            {"type": "text"},
            "schema={'type': 'text'}: the question's schema cannot be used: .",
        ),
        ({"pattern": "("}, "the question's schema cannot be used: "),
        ({"$ref": "#/$defs/Seat"}, "Pointer '/\\$defs/Seat' does not exist"),
        ({"$ref": "http://example.org/schema"}, "the schema refers to http://example"),
        ({"const": math.nan}, "its JSON Schema is no JSON"),
        ({"const": NOON}, "its JSON Schema is no JSON"),
        ({"const": "\ud800"}, "its JSON Schema is no JSON"),
        ({"description": "x" * 70_000}, "its JSON Schema has 70018 characters"),
        (object(), "schema=<object object .* has no JSON Schema: Unable to generate"),
        (Callable[[], int], "has no JSON Schema"),
        ("Nowhere", "schema='Nowhere' has no JSON Schema"),
    ],
)
def test_a_question_needs_a_schema_that_can_check_answers(answer: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        start_wait(CALL, "t", Ask("Which?", schema=answer), 7)


def test_an_answer_is_checked_against_the_schema() -> None:
    schema = schema_of(Seat)

    assert check_answer(schema, {"row": 1, "side": "left"}) == '{"row":1,"side":"left"}'
    assert check_answer(None, [1]) == "[1]"
    with pytest.raises(InvalidAnswer) as raised:
        check_answer(schema, {"row": "x"})
    assert sorted(raised.value.problems) == [
        '"side" is a required property',
        'row: "x" is not of type "integer"',
    ]


def test_only_the_first_problems_of_an_answer_are_reported() -> None:
    with pytest.raises(InvalidAnswer) as raised:
        check_answer({"items": {"type": "string"}}, list(range(50)))

    assert len(raised.value.problems) == 20


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (math.nan, "it is no JSON: Out of range float"),
        ("\ud800", "it is no JSON: .*surrogates not allowed"),
        (NOON, "it is no JSON: Object of type datetime"),
        ("x" * 70_000, "it has 70002 characters as JSON; 65536 is the most"),
    ],
)
def test_an_answer_is_json_that_can_be_stored(value: object, problem: str) -> None:
    with pytest.raises(InvalidAnswer, match=f"^the answer does not fit: {problem}"):
        check_answer({}, value)


def test_an_answer_without_end_is_invalid() -> None:
    value: list[object] = []
    value.append(value)

    with pytest.raises(InvalidAnswer, match="it is no JSON: Circular reference"):
        check_answer({}, value)


def test_an_answer_that_is_nested_too_deeply_is_invalid() -> None:
    value: object = "x"
    for _ in range(600):
        value = [value]

    with pytest.raises(InvalidAnswer, match="nested too deeply"):
        check_answer({"type": "string"}, value)


@pytest.mark.parametrize("key", ["\ud800", "x" * 256, "", " "])
def test_the_name_of_an_event_is_text(key: str) -> None:
    with pytest.raises(RequestError, match="key"):
        make_signal_key("academy", "ann", key)


@pytest.mark.parametrize("principal", ["", " ", "ann "])
def test_an_event_is_for_a_principal(principal: str) -> None:
    with pytest.raises(RequestError, match=r"principal is .*; use 1 to 255 printable characters"):
        make_signal_key("academy", principal, "paid")


def test_a_schema_of_elsewhere_is_not_loaded() -> None:
    with pytest.raises(RequestError, match=r"the question's schema cannot be used: .*example"):
        check_answer({"$ref": "http://example.org/schema"}, 1)


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": "string"}, "12", "12"),
        ({"type": "string"}, '"12"', "12"),
        ({"type": "string"}, '"12', '"12'),
        ({"type": "integer"}, "12", 12),
        (None, "true", True),
        ({"type": "integer"}, "twelve", "twelve"),
    ],
)
def test_what_a_person_types_is_json_or_a_text(schema: Any, text: str, value: object) -> None:
    assert parse_answer(schema, text) == value


def test_a_payload_is_json() -> None:
    assert decode_value("[1]", "PAYLOAD") == [1]
    with pytest.raises(RequestError, match="PAYLOAD is no JSON"):
        decode_value("[1", "PAYLOAD")


def test_an_approval_without_a_limit_needs_a_person() -> None:
    thread = thread_of(asked(), called("enrol"), approval_asked())

    assert (thread.rests, thread.timed_calls) == (True, ())


@pytest.mark.parametrize("timeout_s", [0, -1, True, "1", float("inf"), float("nan")])
def test_the_limit_of_an_approval_is_positive(timeout_s: Any) -> None:
    with pytest.raises(WorkflowError, match="approval_timeout_s is seconds, more than 0"):

        @tool(effect="pure", approval=True, approval_timeout_s=timeout_s)
        async def pay() -> None:
            """Pay."""


def test_the_limit_of_an_approval_needs_an_approval() -> None:
    with pytest.raises(WorkflowError, match="approval_timeout_s needs approval="):

        @tool(effect="pure", approval_timeout_s=1)
        async def pay() -> None:
            """Pay."""
