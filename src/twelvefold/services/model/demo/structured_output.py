"""Generates the structured output of the demo model: a JSON value that is valid for a schema.

Supports the keywords of structured outputs. Where the schema leaves a choice, the name of a field
decides: a field `answer` contains the answer, a number is one from the user's message.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from twelvefold.services.model.demo.regex_sample import matching_text

Schema = Mapping[str, Any]
_MAX_OPTIONAL_DEPTH = 6
"""Deeper optional fields are left out, because schemas may be recursive."""
_MAX_DEPTH = 40
_ANSWER_FIELDS = (
    "answer",
    "text",
    "message",
    "reply",
    "response",
    "content",
    "summary",
    "explanation",
)
_MAX_TEXT_CHARS = 500
_FORMAT_EXAMPLES = {
    "date": "2030-01-01",
    "date-time": "2030-01-01T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "P1D",
    "email": "ann@example.org",
    "idn-email": "ann@example.org",
    "hostname": "example.org",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.org/",
    "uri-reference": "https://example.org/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "uuid4": "00000000-0000-4000-8000-000000000000",
}


class _Position(Struct, frozen=True):
    """The position of a value: its name, its depth and its index in a list."""

    name: str = ""
    depth: int = 0
    number: int = 0

    def below(self, name: str, number: int = 0) -> "_Position":
        return _Position(name, self.depth + 1, number)


def generate_value(schema: Schema, *, answer: str, user_text: str) -> Any:
    """Return a value that is valid for the schema, with the answer and the user's text in it."""
    return _Generator(schema, answer, user_text).value(schema, _Position())


class _Generator:
    def __init__(self, root: Schema, answer: str, user_text: str) -> None:
        self._root = root
        self._answer = answer
        self._user_text = user_text
        self._numbers = [float(one) for one in re.findall(r"-?\d+(?:\.\d+)?", user_text)]

    def value(self, schema: Any, position: _Position) -> Any:
        """Return a value for a schema, which may also be `true`."""
        if not isinstance(schema, Mapping) or position.depth > _MAX_DEPTH:
            return self._answer if schema is True else None
        schema = self._resolve(schema)
        if "const" in schema:
            return schema["const"]
        if choices := schema.get("enum"):
            return self._choose(choices, position)
        for union in ("anyOf", "oneOf"):
            if options := schema.get(union):
                rest = {key: value for key, value in schema.items() if key != union}
                return self.value({**rest, **self._option(options, position)}, position)
        return self._of_type(_type_of(schema, position.depth), schema, position)

    def _of_type(self, kind: str, schema: Schema, position: _Position) -> Any:
        match kind:
            case "object":
                return self._object(schema, position)
            case "array":
                return self._array(schema, position)
            case "string":
                return self._string(schema, position)
            case "integer" | "number":
                return self._number(schema, integer=kind == "integer")
            case "boolean":
                return False
            case _:
                return None

    def _resolve(self, schema: Schema) -> Schema:
        """Return the schema with `$ref` and `allOf` merged into it."""
        for _ in range(_MAX_DEPTH):
            if isinstance(reference := schema.get("$ref"), str):
                beside = {key: value for key, value in schema.items() if key != "$ref"}
                schema = {**self._resolve_reference(reference), **beside}
            elif parts := schema.get("allOf"):
                beside = {key: value for key, value in schema.items() if key != "allOf"}
                schema = _merge([beside, *map(self._resolve, parts)])
            else:
                break
        return schema

    def _resolve_reference(self, reference: str) -> Schema:
        found: Any = self._root
        for name in reference.removeprefix("#").strip("/").split("/"):
            name = name.replace("~1", "/").replace("~0", "~")
            found = found.get(name) if isinstance(found, Mapping) and name else found
        return found if isinstance(found, Mapping) else {}

    def _option(self, options: Sequence[Any], position: _Position) -> Schema:
        """Return the first schema that is not null; at the maximum depth a simple one."""
        schemas = [self._resolve(one) for one in options if isinstance(one, Mapping)]
        simple = [one for one in schemas if _type_of(one, 0) not in ("object", "array")]
        candidates = simple if position.depth >= _MAX_OPTIONAL_DEPTH else schemas
        full = [one for one in candidates if one.get("type") != "null"]
        return next(iter(full or candidates or schemas), {})

    def _choose(self, choices: Sequence[Any], position: _Position) -> Any:
        """Return the choice in the user's text, otherwise the first; in a list the next one."""
        user_text = self._user_text.lower()
        texts = [one for one in choices if isinstance(one, str) and one]
        named = [one for one in texts if one.lower() in user_text]
        ordered = [*named, *(one for one in choices if one not in named)]
        return ordered[position.number % len(ordered)]

    def _object(self, schema: Schema, position: _Position) -> dict[str, Any]:
        properties: Mapping[str, Any] = schema.get("properties") or {}
        required: Sequence[str] = schema.get("required") or ()
        names = list(properties) if position.depth < _MAX_OPTIONAL_DEPTH else list(required)
        values = {
            name: self.value(properties.get(name, True), position.below(name))
            for name in dict.fromkeys([*names, *required])
        }
        more = schema.get("additionalProperties", True)
        for number in range(len(values), int(schema.get("minProperties") or 0)):
            values[f"key_{number}"] = self.value(more, position.below("", number))
        return values

    def _array(self, schema: Schema, position: _Position) -> list[Any]:
        first: Sequence[Any] = schema.get("prefixItems") or ()
        items = schema.get("items", True)
        least = int(schema.get("minItems") or 0)
        has_item = position.depth < _MAX_OPTIONAL_DEPTH and items is not False
        count = max(least, int(has_item), len(first))
        count = min(count, int(schema.get("maxItems", count)))
        schemas = [first[at] if at < len(first) else items for at in range(count)]
        values = [
            self.value(one, position.below(position.name, at)) for at, one in enumerate(schemas)
        ]
        return values if not schema.get("uniqueItems") else _make_distinct(values, schema)

    def _string(self, schema: Schema, position: _Position) -> str:
        if pattern := schema.get("pattern"):
            return matching_text(str(pattern), min_length=int(schema.get("minLength") or 0))
        if (form := schema.get("format")) in _FORMAT_EXAMPLES:
            return _FORMAT_EXAMPLES[str(form)]
        is_answer = not position.depth or position.name in _ANSWER_FIELDS
        text = self._answer if is_answer else self._user_text
        text = text[: min(int(schema.get("maxLength", _MAX_TEXT_CHARS)), _MAX_TEXT_CHARS)]
        least = int(schema.get("minLength") or 0)
        return text if len(text) >= least else text + "." * (least - len(text))

    def _number(self, schema: Schema, *, integer: bool) -> int | float:
        """Return the first valid number of the user's text, otherwise the one nearest to zero."""
        low, high = _bounds(schema, integer=integer)
        step = schema.get("multipleOf") or (1 if integer else 0)
        fits = [one for one in self._numbers if low <= one <= high and _is_multiple(one, step)]
        found = fits[0] if fits else min(max(0.0, low), high)
        if not fits and step:
            found = -(-found // step) * step
        return int(found) if integer or float(found).is_integer() else found


def _type_of(schema: Schema, depth: int) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        full = [one for one in kind if one != "null"]
        ends = [one for one in kind if one not in ("object", "array")]
        kind = next(iter(ends if depth >= _MAX_OPTIONAL_DEPTH and ends else full or kind), None)
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
    return str(kind)


def _merge(parts: Sequence[Schema]) -> Schema:
    """Return one schema with the properties and required names of all."""
    joined: dict[str, Any] = {}
    for part in parts:
        properties = {**joined.get("properties", {}), **(part.get("properties") or {})}
        required = [*joined.get("required", ()), *(part.get("required") or ())]
        joined = {**joined, **part}
        if properties:
            joined["properties"] = properties
        if required:
            joined["required"] = required
    return joined


def _bounds(schema: Schema, *, integer: bool) -> tuple[float, float]:
    nudge = 1 if integer else 1e-6
    low, high = float(schema.get("minimum", "-inf")), float(schema.get("maximum", "inf"))
    if (above := schema.get("exclusiveMinimum")) is not None:
        low = max(low, float(above) + nudge)
    if (below := schema.get("exclusiveMaximum")) is not None:
        high = min(high, float(below) - nudge)
    return low, high


def _is_multiple(value: float, step: float) -> bool:
    return not step or (value / step).is_integer()


def _make_distinct(values: list[Any], schema: Schema) -> list[Any]:
    """Return distinct values: equal texts get a number, equal numbers are incremented."""
    found: list[Any] = []
    for one in values:
        number = 1
        value = one
        while value in found and isinstance(one, str | int | float):
            number += 1
            value = f"{one} {number}" if isinstance(one, str) else one + number
        if value not in found:
            found.append(value)
    return found
