"""Defaults in the text of a call's arguments, for a person who approves the call."""

import inspect
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from pydantic import BaseModel, Field, SecretStr, model_serializer

from twelvefold.core.tools.filling import fill_missing
from twelvefold.core.tools.schema import Parameters

KEYWORD_ONLY = inspect.Parameter.KEYWORD_ONLY


class Line(BaseModel):
    amount: int = Field(1, alias="count")
    token: SecretStr | None = None
    hidden: str = Field("", exclude=True)
    more: dict[str, Any] = {}


class NeverEqual(Decimal):
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not comparable")

    __hash__ = Decimal.__hash__


class Broken(BaseModel):
    @model_serializer
    def fail(self) -> str:
        raise RuntimeError("no JSON")


def filled(text: str, **types: Any) -> str:
    made = Parameters(
        "refund",
        {
            name: inspect.Parameter(name, KEYWORD_ONLY, annotation=annotation, default=default)
            for name, (annotation, default) in types.items()
        },
    )
    return made.fill(text, made.parse(text))


REQUIRED = inspect.Parameter.empty


@pytest.mark.parametrize(
    "text", ["", "{}", '{"cents":null}', ' { "cents" : null } '], ids=lambda text: text or "none"
)
def test_a_default_is_filled_in_where_the_argument_is_null_or_left_out(text: str) -> None:
    assert filled(text, cents=(int, 1500)) == '{"cents": 1500}'


def test_defaults_follow_the_arguments_of_the_model_in_the_order_of_the_parameters() -> None:
    types: Any = {"number": (int, REQUIRED), "day": (date, date(2026, 1, 2)), "why": (str, "é")}

    assert filled('{"number": 1}', **types) == '{"number": 1, "day": "2026-01-02", "why": "é"}'


@pytest.mark.parametrize("text", ['{"cents":1}', '{ "cents" : 1.0 }', "{}"])
def test_a_text_without_a_default_stays_as_it_is(text: str) -> None:
    assert filled(text, cents=(int | None, None)) == text


def test_what_the_model_wrote_stays_as_it_is() -> None:
    number = "0.10000000000000000001"
    line = '{"token": "x", "hidden": "y", "more": {"a": null}'
    text = f'{{"price": {number}, "line": {line}}}}}'

    found = filled(text, price=(Decimal, REQUIRED), line=(Line, REQUIRED), cents=(int, 10**30))

    assert found == f'{{"price": {number}, "line": {line}, "count": 1}}, "cents": {10**30}}}'


@pytest.mark.parametrize(
    ("type", "default"),
    [(SecretStr, SecretStr("s3cret")), (int, "1500"), (Decimal, NeverEqual())],
    ids=["secret", "text", "unequal"],
)
def test_a_default_whose_json_form_is_another_value_is_left_out(type: Any, default: object) -> None:
    assert filled("{}", key=(type, default), cents=(int, 2)) == '{"cents": 2}'


def test_a_tuple_that_a_list_stands_for_is_filled_in() -> None:
    assert filled("{}", tags=(Sequence[str], ("a",))) == '{"tags": ["a"]}'


def test_a_value_that_each_reading_makes_anew_is_that_of_the_text() -> None:
    numbers = count()

    class Order(BaseModel):
        number: int = Field(default_factory=lambda: next(numbers))

    made = Parameters(
        "order", {"order": inspect.Parameter("order", KEYWORD_ONLY, annotation=Order)}
    )

    text = made.fill('{"order": {}}', made.parse('{"order": {}}'))
    arguments = made.parse(text)

    assert (text, arguments) == ('{"order": {"number": 0}}', {"order": Order(number=0)})
    assert made.fill(text, arguments) == text


def test_a_default_within_an_object_is_filled_in() -> None:
    found = filled(
        '{"line": {}, "pair": [{"count": 2}, 3]}',
        line=(Line, REQUIRED),
        pair=(list[Line | int], REQUIRED),
    )

    assert found == '{"line": {"count": 1, "more": {}}, "pair": [{"count": 2, "more": {}}, 3]}'


@pytest.mark.parametrize("default", [object(), Broken(), int], ids=["object", "broken", "class"])
def test_a_default_without_a_json_form_is_left_out(default: object) -> None:
    text = '{"marker": null}'

    assert filled(text, marker=(int, default)) == text
    assert filled(text, marker=(int, default), cents=(int, 2)) == '{"marker": null, "cents": 2}'


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('{"a":[1]}', {"a": [1, 2]}),
        ('{"a":"[1]"}', {"a": [1]}),
        ('{"a":"{}"}', {"a": {"b": 1}}),
        ('{"a":[1]}', {"a": [1]}),
        ('{"a":2}', {"a": 1}),
    ],
)
def test_values_of_another_shape_change_nothing(text: str, values: dict[str, Any]) -> None:
    assert fill_missing(text, values) == text
