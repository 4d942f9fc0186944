"""The structured output of the demo model is valid for its schema."""

import json
import re
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped] # has no types
from pydantic import UUID4, AnyUrl, BaseModel, Field

from tests.services.model.builders import RecordingListener, model_request, user
from twelvefold.core.events import Item
from twelvefold.core.output import OutputType
from twelvefold.core.ports import ModelRequest
from twelvefold.services.model.demo import open_demo
from twelvefold.services.model.demo.regex_sample import matching_text
from twelvefold.services.model.demo.rules import NOTICE, reply
from twelvefold.services.model.demo.structured_output import generate_value
from twelvefold.services.model.items import text_of


def check(schema: Any, text: str = "Jason is 25 years old") -> Any:
    value = generate_value(schema, answer="It is done.", user_text=text)
    Draft202012Validator(schema).validate(value)
    return json.loads(json.dumps(value))


class Colour(Enum):
    red = "red"
    blue = "blue"


class Person(BaseModel):
    name: str
    age: Annotated[int, Field(ge=0, le=150)]
    born: date | None
    colour: Colour
    friends: list["Person"] = []


class Step(BaseModel):
    explanation: str
    output: Annotated[str, Field(min_length=3, max_length=20)]
    kind: Literal["a", "b"] = "a"
    score: Annotated[float, Field(gt=0, lt=1)]


class Reasoning(BaseModel):
    steps: Annotated[list[Step], Field(min_length=2, max_length=3)]
    tags: set[str]
    extra: dict[str, int]
    pair: tuple[int, str]
    either: int | list[str] | Step
    code: Annotated[str, Field(pattern=r"^[A-Z]{2,5}-\d{3}[a-z]?$")]
    final_answer: str


@pytest.mark.parametrize("model", [Person, Step, Reasoning])
def test_a_pydantic_model_takes_the_answer(model: type[BaseModel]) -> None:
    value = check(model.model_json_schema())

    model.model_validate(value)


def test_words_of_the_user_are_in_the_answer() -> None:
    value = check(Person.model_json_schema(), "Jason is 25 and likes blue")

    assert (value["age"], value["colour"]) == (25, "blue")
    assert check({"type": "object", "properties": {"answer": {"type": "string"}}}) == {
        "answer": "It is done."
    }


ENDLESS = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "value": {"type": "string"},
                "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
            "required": ["value", "next", "children"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/node",
}


@pytest.mark.parametrize(
    "schema",
    [
        {},
        True,
        ENDLESS,
        {"type": "string"},
        {"type": ["null", "integer"]},
        {"type": "string", "minLength": 400, "maxLength": 400},
        {"type": "string", "maxLength": 0},
        *({"type": "string", "format": form} for form in ("date", "date-time", "uuid", "email")),
        {"type": "integer", "minimum": 7, "multipleOf": 5},
        {"type": "integer", "exclusiveMinimum": 7, "exclusiveMaximum": 9},
        {"type": "integer", "maximum": -3},
        {"type": "number", "minimum": 0.5, "maximum": 0.75},
        {"const": {"a": [1]}},
        {"enum": [3, None, "x"]},
        {"type": "array", "items": {"type": "integer"}, "minItems": 3, "uniqueItems": True},
        {"type": "array", "items": {"type": "string"}, "minItems": 3, "uniqueItems": True},
        {"type": "array", "items": {"enum": ["a", "b", "c"]}, "minItems": 3, "uniqueItems": True},
        {"type": "array", "maxItems": 0},
        {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": False},
        {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 2},
        {"type": "object", "required": ["a"]},
        {"oneOf": [{"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"]},
                   {"type": "string"}]},
        {"allOf": [{"properties": {"a": {"type": "integer"}}, "required": ["a"]},
                   {"properties": {"b": {"type": "string"}}, "required": ["b"]}],
         "type": "object"},
        {"type": "object", "properties": {"x": {"$ref": "#/definitions/a~1b"}}, "required": ["x"],
         "definitions": {"a/b": {"type": "boolean"}}},
        {"type": "object", "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
         "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}},
    ],
)  # fmt: skip
def test_the_value_fits_the_schema(schema: Any) -> None:
    check(schema)


LEAVES = st.sampled_from(
    [
        {"type": "string"},
        {"type": "integer", "minimum": 3},
        {"type": "number"},
        {"type": "boolean"},
        {"type": "null"},
        {"enum": ["a", "b"]},
        {"const": 5},
    ]
)


def objects(schemas: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(st.sampled_from("abcd"), schemas).map(
        lambda properties: {
            "type": "object",
            "properties": properties,
            "required": sorted(properties),
            "additionalProperties": False,
        }
    )


@given(
    schema=st.recursive(
        LEAVES,
        lambda inner: st.one_of(
            objects(inner),
            inner.map(lambda items: {"type": "array", "items": items}),
            st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options}),
        ),
        max_leaves=12,
    ),
    text=st.text(max_size=40),
)
def test_a_generated_value_is_valid_for_any_schema(schema: Any, text: str) -> None:
    check(schema, text)


@pytest.mark.parametrize(
    "pattern",
    [
        r"^[A-Z]{2,5}-\d{3}$", r"^\d+$", r"a|b", r"^(foo|bar)+$", r"^[^a-z]*$",
        r"^[\w.]+@\w+\.com$",
        r"^(\w)\1$", r".", r"^\S{3}\s\D$", r"x?y*z", r"^[^\d]$",
    ],
)  # fmt: skip
def test_a_pattern_is_matched(pattern: str) -> None:
    assert re.search(pattern, matching_text(pattern))
    assert re.search(pattern, matching_text(pattern, min_length=3))


@pytest.mark.parametrize("pattern", ["(", "a(?!a)a(?=b)"])
def test_a_pattern_that_cannot_be_matched_gives_an_empty_text(pattern: str) -> None:
    assert matching_text(pattern) == ""


# In a conversation


def parsed_reply(text: str, form: Item, **more: Any) -> Any:
    (item,) = reply({"input": text, "text": {"format": form}, **more})
    return json.loads(text_of(item["content"]))


SCHEMA = {"type": "json_schema", "name": "person", "schema": Person.model_json_schema()}


@pytest.mark.parametrize("text", ["hello", "Jason is 25", "", "{}"])
def test_json_schema_is_answered_with_json_that_fits(text: str) -> None:
    Person.model_validate(parsed_reply(text, SCHEMA))


@pytest.mark.parametrize("text", ["hello", "give me JSON"])
def test_json_object_is_answered_with_an_object(text: str) -> None:
    value = parsed_reply(text, {"type": "json_object"})

    assert isinstance(value["answer"], str)
    assert NOTICE not in value["answer"]


@pytest.mark.parametrize("form", [{"type": "text"}, None])
def test_text_is_answered_with_text(form: Item | None) -> None:
    (item,) = reply({"input": "hello", "text": {"format": form}})

    assert text_of(item["content"]).startswith(NOTICE)


async def test_the_demo_model_answers_in_the_format_that_a_request_has() -> None:
    request = ModelRequest("", (user("hello"),), (), {"text": {"format": SCHEMA}})

    demo_reply = await open_demo().reply(request, RecordingListener())

    Person.model_validate_json(text_of(demo_reply.items[0]["content"]))


@pytest.mark.parametrize("form", [SCHEMA, {"type": "json_object"}])
@pytest.mark.parametrize("text", ["hello", "What is the weather?"])
def test_words_that_match_no_tool_are_refused_in_place_of_invented_values(
    form: Item, text: str
) -> None:
    note = {"name": "add_note", "description": "Write a note.", "parameters": {}}

    (item,) = reply({"input": text, "text": {"format": form}, "tools": [note]})

    assert [part["type"] for part in item["content"]] == ["refusal"]
    assert "There are: add_note." in item["content"][0]["refusal"]
    assert NOTICE not in item["content"][0]["refusal"]


async def test_a_tool_is_called_before_the_answer_has_its_format() -> None:
    request = ModelRequest(
        "", (user("enrol in CS-101"),), model_request().tools, {"text": {"format": SCHEMA}}
    )

    demo_reply = await open_demo().reply(request, RecordingListener())

    assert demo_reply.items[0]["name"] == "enrol"


class Everything(BaseModel):
    """Types that authors use for the output of a workflow."""

    id: UUID
    version: UUID4
    price: Decimal
    at: datetime
    lasts: timedelta
    site: AnyUrl
    address: IPv4Address
    weights: Annotated[list[float], Field(min_length=1)]
    kind: Annotated[Literal["a"] | Literal["b"], Field(description="The kind.")]
    nested: dict[str, Person]


@pytest.mark.parametrize(
    "kind", [Everything, Person, Person | Step, list[Step], Literal["yes", "no"], int, bool]
)
def test_the_output_type_of_a_workflow_is_satisfied(kind: Any) -> None:
    output = OutputType("shop", kind)

    output.parse(json.dumps(check(output.schema)))
