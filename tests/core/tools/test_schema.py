import inspect
import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, Union
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import UUID4, AfterValidator, AnyUrl, BaseModel, Field, SecretStr, create_model

from twelvefold.core.tools.schema import BadArguments, Parameters
from twelvefold.core.tools.strict_mode import JsonSchema, is_strict, simplify
from twelvefold.errors import WorkflowError


class Size(Enum):
    SMALL = "s"
    LARGE = "l"


class Seat(BaseModel):
    row: int
    size: Size = Size.SMALL


class Box(BaseModel):
    """A box in the theatre."""

    kind: Literal["box"]
    seats: list[Seat]


class Stand(BaseModel):
    kind: Literal["stand"]
    title: str = "standing"


Place = Annotated[Box | Stand, Field(discriminator="kind")]
words = st.text('aé"\\{}\n', max_size=5)
numbers = st.integers(-(2**53), 2**53)
seats = st.fixed_dictionaries({"row": numbers, "size": st.sampled_from("sl")})
boxes = st.fixed_dictionaries({"kind": st.just("box"), "seats": st.lists(seats, max_size=2)})
stands = st.fixed_dictionaries({"kind": st.just("stand"), "title": words})
FAMILY: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (str, words),
    (int, numbers),
    (float, st.floats(-1e9, 1e9)),
    (bool, st.booleans()),
    (Literal["a", "b"], st.sampled_from("ab")),
    (Size, st.sampled_from("sl")),
    (date, st.just("2026-11-05")),
    (Decimal, st.one_of(st.just("19.90"), numbers)),
    (str | None, st.none() | words),
    (list[int], st.lists(numbers, max_size=3)),
    (list[Seat], st.lists(seats, max_size=2)),
    (Box, boxes),
    (Place, boxes | stands),
    (Annotated[int, Field(ge=0, le=9, description="How many.")], st.integers(0, 9)),
]
"""Types of parameters, each with JSON values that its schema accepts."""


def parameters(**types: Any) -> Parameters:
    """Return the parameters of a tool; a tuple is a type and a default."""
    return Parameters("enrol", {name: _parameter(name, kind) for name, kind in types.items()})


def _parameter(name: str, kind: Any) -> inspect.Parameter:
    annotation, default = kind if isinstance(kind, tuple) else (kind, inspect.Parameter.empty)
    by_name = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, by_name, default=default, annotation=annotation)


def objects(schema: JsonSchema) -> Iterator[JsonSchema]:
    """Yield every object that a schema describes, at any depth."""
    if "properties" in schema:
        yield schema
    inner = [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values()]
    inner += [*schema.get("anyOf", []), schema.get("items", {})]
    for one in filter(None, inner):
        yield from objects(one)


@settings(max_examples=12)
@given(st.lists(st.sampled_from(FAMILY), min_size=1, max_size=3), st.data())
def test_arguments_that_fit_the_schema_are_parsed(
    family: list[tuple[Any, st.SearchStrategy[Any]]], data: st.DataObject
) -> None:
    types = {f"p{number}": kind for number, (kind, _) in enumerate(family)}
    values = {f"p{number}": data.draw(value) for number, (_, value) in enumerate(family)}

    parsed = parameters(**types).parse(json.dumps(values))

    assert parsed.keys() == values.keys()


@pytest.mark.parametrize("kind", [kind for kind, _ in FAMILY], ids=str)
def test_the_schema_of_any_signature_is_strict(kind: Any) -> None:
    described = parameters(required=kind, optional=(kind, None))

    assert described.strict
    for one in objects(described.schema):
        assert one["required"] == list(one["properties"])
        assert one["additionalProperties"] is False
    written = json.dumps(described.schema)
    assert not any(word in written for word in ('"oneOf"', '"default"', '"discriminator"'))


@pytest.mark.parametrize(
    "kind", [dict[str, int], set[int], tuple[int, str], Any, object, list[Any], dict[str, Any]]
)
def test_a_schema_with_open_parts_is_not_strict(kind: Any) -> None:
    described = parameters(taken=kind)

    assert not described.strict
    assert described.schema["required"] == ["taken"]


def test_the_schema_without_parameters_is_a_closed_object() -> None:
    assert parameters().schema == {
        "type": "object",
        "properties": {},
        "required": [],
        "additionalProperties": False,
    }
    assert parameters().strict
    assert parameters().parse("") == parameters().parse("{}") == {}


PLAIN = [str, int, float, bool]
NULLABLE = [kind | None for kind in PLAIN] + [Union[None, kind] for kind in PLAIN]  # noqa: UP007


@pytest.mark.parametrize(
    "kind",
    [*PLAIN, *NULLABLE, int | str, int | str | None, NoneType, Annotated[int, Field(ge=0)] | None],
    ids=str,
)
def test_a_plain_type_has_the_schema_that_pydantic_makes(kind: Any) -> None:
    both = {"required": kind, "optional": (kind, None)}

    plain = parameters(**both).schema
    by_pydantic = parameters(**both, other=list[int]).schema

    del by_pydantic["properties"]["other"]
    by_pydantic["required"].remove("other")
    assert plain == by_pydantic


def test_the_schema_of_plain_types_is_made_without_pydantic() -> None:
    described = parameters(code=str, seats=int | None, more=(bool, False))

    assert described.strict
    assert "_adapter" not in vars(described)


def test_parameters_may_have_the_names_of_keywords() -> None:
    named = dict.fromkeys(("title", "default", "properties", "oneOf", "type"), str)

    schema = parameters(**named).schema

    assert schema["properties"] == {name: {"type": "string"} for name in named}
    assert schema["required"] == list(named)


def test_a_description_is_kept() -> None:
    described = parameters(seats=Annotated[int, Field(description="How many.")], place=Box)

    assert described.schema["properties"]["seats"]["description"] == "How many."
    assert described.schema["$defs"]["Box"]["description"] == "A box in the theatre."


@pytest.mark.parametrize("text", ["{}", '{"seats":null}'])
def test_a_parameter_that_is_null_or_left_out_takes_its_default(text: str) -> None:
    assert parameters(seats=(int, 2)).parse(text) == {}


def test_a_parameter_whose_default_is_none_may_be_null() -> None:
    assert parameters(code=(str, None)).parse('{"code":null}') == {"code": None}
    assert parameters(code=(str, None)).parse("{}") == {}


def test_arguments_are_parsed_into_the_types_of_the_signature() -> None:
    typed = parameters(day=date, size=Size, place=Place)
    text = '{"day":"2026-11-05","size":"l","place":{"kind":"box","seats":[{"row":1}]}}'

    assert typed.parse(text) == {
        "day": date(2026, 11, 5),
        "size": Size.LARGE,
        "place": Box(kind="box", seats=[Seat(row=1)]),
    }


def test_a_number_in_a_string_is_parsed() -> None:
    assert parameters(seats=int).parse('{"seats":"2"}') == {"seats": 2}


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("{", ["arguments: Invalid JSON: EOF while parsing an object at line 1 column 1"]),
        ("null", ["arguments: Input should be an object"]),
        ("[1]", ["arguments: Input should be an object"]),
        ("{}", ["code: Field required", "place: Field required"]),
        (
            '{"code":1,"place":{"row":"x"},"more":1}',
            [
                "code: Input should be a valid string",
                "place.row: Input should be a valid integer, unable to parse string as an integer",
                "more: Extra inputs are not permitted",
            ],
        ),
    ],
)
def test_all_problems_of_the_arguments_are_reported_at_once(text: str, problems: list[str]) -> None:
    with pytest.raises(BadArguments) as raised:
        parameters(code=str, place=Seat).parse(text)

    assert list(raised.value.problems) == problems
    assert str(raised.value) == "; ".join(problems)


@pytest.mark.parametrize(
    "text", ['{"code":"\ud83d"}', '{"code":"\\ud83d"}', "[" * 5000, '{"code":"\x00"}', "\x00", "…"]
)
def test_unusual_text_is_rejected_with_the_problem(text: str) -> None:
    with pytest.raises(BadArguments, match=r"\w+: "):
        parameters(code=str).parse(text)


@settings(max_examples=20)
@given(st.text('{}[]":,\\ code1é\x00\ud83d', max_size=20))
def test_any_text_is_parsed_or_rejected(text: str) -> None:
    with suppress(BadArguments):
        assert isinstance(CODE_ONLY.parse(text)["code"], str)


CODE_ONLY = parameters(code=str)


def test_nan_is_accepted() -> None:
    assert math.isnan(parameters(price=float).parse('{"price":NaN}')["price"])


def broken(value: str) -> str:
    raise KeyError(value)


def test_a_validator_that_raises_another_error_rejects_the_arguments() -> None:
    checked = parameters(code=Annotated[str, AfterValidator(broken)])

    with pytest.raises(BadArguments, match="arguments: cannot be checked, KeyError"):
        checked.parse('{"code":"CR-1"}')


# --- strict only where it is certain


def described(kind: Any) -> Any:
    return Annotated[kind, Field(description="what it is")]


class Node(BaseModel):
    name: str
    below: list["Node"] = []


class Deep(BaseModel):
    rows: list[list[list[list[int]]]]


class Odd(Enum):
    ONE = 1
    TWO = "two"


Wide = create_model("Wide", **dict.fromkeys((f"p{n}" for n in range(120)), int))  # type: ignore[call-overload]
Many = Enum("Many", {f"v{n}": f"value {n}" for n in range(600)})  # type: ignore[misc]
Wordy = Enum("Wordy", {f"v{n}": f"{n}" + "x" * 100 for n in range(200)})  # type: ignore[misc]


class Sized(BaseModel):
    size: Size = Field(description="the cup's size")
    other: Size


@pytest.mark.parametrize(
    "kind",
    [
        described(Size),
        described(Size | None),
        described(Seat),
        described(list[Size]),
        list[Annotated[Seat, Field(description="one")]],
        described(Place),
        Sized,
        Node,
        described(Node),
        Annotated[str, Field(pattern="^[A-Z]{2}-[0-9]+$")],
        Annotated[list[int], Field(min_length=1, max_length=3)],
        Annotated[float, Field(gt=0, lt=1, multiple_of=0.5)],
        UUID,
        datetime,
        timedelta,
        Literal["a"],
        Literal[1, 2],
        tuple[int, ...],
    ],
    ids=str,
)
def test_a_schema_that_strict_mode_accepts_is_strict(kind: Any) -> None:
    made = parameters(required=kind, optional=(kind, None))

    assert made.strict
    assert error_of(made.schema) is None


@pytest.mark.parametrize(
    "kind",
    [
        Path,
        AnyUrl,
        bytes,
        SecretStr,
        UUID4,
        Literal[1, "a"],
        Odd,
        Deep,
        Wide,
        Many,
        Wordy,
        dict[str, Size],
        Annotated[str, Field(min_length=1)],
        Annotated[str, Field(json_schema_extra={"pattern": "^(?=a)"})],
        Annotated[str, Field(json_schema_extra={"pattern": r"(a)\1"})],
        Annotated[int, Field(examples=[1])],
        Annotated[str, Field(json_schema_extra={"x-more": 1})],
        Annotated[str, Field(json_schema_extra={"type": ["string", "null"]})],
        Annotated[Size, Field(deprecated=True)],
        Annotated[set[int], Field(description="numbers")],
        described(Any),
    ],
    ids=str,
)
def test_a_schema_that_strict_mode_may_refuse_is_not_strict(kind: Any) -> None:
    made = parameters(taken=kind)

    assert not made.strict


def error_of(node: Any) -> str | None:
    """Return OpenAI's error for a schema, of the errors seen in practice; else None."""
    if isinstance(node, list):
        return next((error for one in node if (error := error_of(one))), None)
    if not isinstance(node, dict):
        return None
    if "$ref" in node and len(node) > 1:
        return f"$ref cannot have keywords {set(node) - {'$ref'}}"
    if isinstance(node.get("format"), str) and node["format"] not in FORMATS:
        return f"{node['format']!r} is not a valid format"
    if isinstance(node.get("enum"), list) and "type" not in node:
        return "schema must have a 'type' key"
    return next((error for one in node.values() if (error := error_of(one))), None)


FORMATS = ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"]


def test_a_description_beside_a_reference_is_kept() -> None:
    schema = parameters(size=described(Size), tree=described(Node)).schema

    assert schema["properties"]["size"] == {
        "description": "what it is",
        "enum": ["s", "l"],
        "type": "string",
    }
    assert schema["properties"]["tree"] == {
        "anyOf": [{"$ref": "#/$defs/Node"}],
        "description": "what it is",
    }
    assert list(schema["$defs"]) == ["Node"]


def test_the_description_of_the_parameter_replaces_that_of_its_type() -> None:
    schema = parameters(box=described(Box)).schema

    assert schema["properties"]["box"]["description"] == "what it is"


def test_simplify_adds_the_type_of_an_enumeration() -> None:
    assert simplify({"enum": ["a", "b"]})["type"] == "string"
    assert simplify({"type": "string", "pattern": "^(?!^[-+.]*$)[0-9]"}) == {"type": "string"}
    assert simplify({"enum": [True, False]})["type"] == "boolean"
    assert simplify({"enum": [1, 2.5]})["type"] == "number"
    assert "type" not in simplify({"enum": [1, True]})


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string"},
        {"type": "object", "properties": {"a": True}, "required": ["a"]},
        {"type": "object", "additionalProperties": False, "properties": {"a": {}}},
    ],
)
def test_only_a_closed_object_is_strict(schema: JsonSchema) -> None:
    assert not is_strict(schema)


# --- a type without a schema


class Order:
    """A type without a schema in Pydantic."""


class Strange:
    @classmethod
    def __get_pydantic_core_schema__(cls, *_: object) -> object:
        raise RuntimeError("no schema today")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Order, "Order"),
        (list[Order], "Order"),
        (Order | None, "Order"),
        (Callable[[], int], "Callable"),
        (type(iter([])), "list_iterator"),
        (Strange, "Strange"),
        (Annotated[Order, "an order"], "Order"),
    ],
)
def test_the_error_for_a_type_without_a_schema_names_the_parameter(kind: Any, name: str) -> None:
    types = {"code": (str, ""), "order": kind, "more": int}
    by_name = {key: _parameter(key, one) for key, one in types.items()}

    with pytest.raises(
        WorkflowError, match=r"tool refund: parameter 'order' has the type"
    ) as raised:
        Parameters("refund", by_name, "shop.py, line 7").check()

    assert name in str(raised.value)
    assert str(raised.value).endswith("(shop.py, line 7)")
    assert "\n" not in str(raised.value)


def test_types_that_cannot_be_combined_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    two = parameters(a=list[int], b=list[str])
    tries = iter([ValueError("not together")])

    def refused_at_first(self: object) -> JsonSchema:
        for error in tries:
            raise error
        return {}

    monkeypatch.setattr("pydantic.TypeAdapter.json_schema", refused_at_first)

    with pytest.raises(WorkflowError, match="tool enrol: ValueError: not together"):
        two.check()


class Early(BaseModel):
    late: "Late"  # type: ignore[name-defined]  # noqa: F821 - that is the point


def test_a_model_that_is_not_fully_defined_is_checked_at_the_first_call() -> None:
    parameters(early=Early).check()


@pytest.mark.parametrize(
    "kind",
    [
        str,
        list[int],
        dict[str, date | None],
        Literal["a"],
        Size,
        tuple[int, ...],
        set[Decimal],
        None,
        list["int"],
    ],
)
def test_common_types_are_checked_without_pydantic(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "pydantic")

    made = parameters(taken=kind)
    made.check()

    assert ("_adapter" in vars(made)) is (kind == list["int"])
