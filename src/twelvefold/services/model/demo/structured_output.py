"""A JSON value that fits a schema, made of what was said: the demo model's structured answers.

It takes the keywords that structured outputs use. What a schema leaves open is filled in by name:
a field called `answer` has the answer in it, a number is the one that the user said.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twelvefold.services.model.demo.regex_sample import matching

Schema = Mapping[str, Any]
_DEEPEST = 6
"""From there on nothing is made that may be left out: schemas refer to themselves."""
_MOST_DEPTH = 40
_ANSWERS = ("answer", "text", "message", "reply", "response", "content", "summary", "explanation")
_TEXT_CHARS = 500
_FORMATS = {
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
}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a value stands: under which name, how deep, and as which of several."""

    name: str = ""
    depth: int = 0
    number: int = 0

    def below(self, name: str, number: int = 0) -> "_Place":
        return _Place(name, self.depth + 1, number)


def fitting(schema: Schema, *, answer: str, said: str) -> Any:
    """A value that fits the schema; the answer and the user's words are in it where they can."""
    return _Maker(schema, answer, said).value(schema, _Place())


class _Maker:
    def __init__(self, root: Schema, answer: str, said: str) -> None:
        self._root = root
        self._answer = answer
        self._said = said
        self._numbers = [float(one) for one in re.findall(r"-?\d+(?:\.\d+)?", said)]

    def value(self, schema: Any, place: _Place) -> Any:
        """A value for a schema, which may also be `true`."""
        if not isinstance(schema, Mapping) or place.depth > _MOST_DEPTH:
            return self._answer if schema is True else None
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if choices := schema.get("enum"):
            return self._chosen(choices, place)
        for union in ("anyOf", "oneOf"):
            if options := schema.get(union):
                rest = {key: value for key, value in schema.items() if key != union}
                return self.value({**rest, **self._option(options, place)}, place)
        return self._of_type(_type_of(schema, place.depth), schema, place)

    def _of_type(self, kind: str, schema: Schema, place: _Place) -> Any:
        match kind:
            case "object":
                return self._object(schema, place)
            case "array":
                return self._array(schema, place)
            case "string":
                return self._string(schema, place)
            case "integer" | "number":
                return self._number(schema, whole=kind == "integer")
            case "boolean":
                return False
            case _:
                return None

    def _resolved(self, schema: Schema) -> Schema:
        """The schema without `$ref` and `allOf`, what stands beside them included."""
        for _ in range(_MOST_DEPTH):
            if isinstance(reference := schema.get("$ref"), str):
                beside = {key: value for key, value in schema.items() if key != "$ref"}
                schema = {**self._referred(reference), **beside}
            elif parts := schema.get("allOf"):
                beside = {key: value for key, value in schema.items() if key != "allOf"}
                schema = _joined([beside, *map(self._resolved, parts)])
            else:
                break
        return schema

    def _referred(self, reference: str) -> Schema:
        found: Any = self._root
        for name in reference.removeprefix("#").strip("/").split("/"):
            name = name.replace("~1", "/").replace("~0", "~")
            found = found.get(name) if isinstance(found, Mapping) and name else found
        return found if isinstance(found, Mapping) else {}

    def _option(self, options: Sequence[Any], place: _Place) -> Schema:
        """One of several schemas: deep down one that ends, else the first that is not null."""
        schemas = [self._resolved(one) for one in options if isinstance(one, Mapping)]
        simple = [one for one in schemas if _type_of(one, 0) not in ("object", "array")]
        wanted = simple if place.depth >= _DEEPEST else schemas
        full = [one for one in wanted if one.get("type") != "null"]
        return next(iter(full or wanted or schemas), {})

    def _chosen(self, choices: Sequence[Any], place: _Place) -> Any:
        """The choice that was named, else the first; in a list each of them in turn."""
        said = self._said.lower()
        named = [one for one in choices if isinstance(one, str) and one and one.lower() in said]
        ordered = [*named, *(one for one in choices if one not in named)]
        return ordered[place.number % len(ordered)]

    def _object(self, schema: Schema, place: _Place) -> dict[str, Any]:
        properties: Mapping[str, Any] = schema.get("properties") or {}
        required: Sequence[str] = schema.get("required") or ()
        names = list(properties) if place.depth < _DEEPEST else list(required)
        made = {
            name: self.value(properties.get(name, True), place.below(name))
            for name in dict.fromkeys([*names, *required])
        }
        more = schema.get("additionalProperties", True)
        for number in range(len(made), int(schema.get("minProperties") or 0)):
            made[f"key_{number}"] = self.value(more, place.below("", number))
        return made

    def _array(self, schema: Schema, place: _Place) -> list[Any]:
        first: Sequence[Any] = schema.get("prefixItems") or ()
        items = schema.get("items", True)
        least = int(schema.get("minItems") or 0)
        wanted = max(least, 1 if place.depth < _DEEPEST and items is not False else 0, len(first))
        wanted = min(wanted, int(schema.get("maxItems", wanted)))
        schemas = [first[at] if at < len(first) else items for at in range(wanted)]
        made = [self.value(one, place.below(place.name, at)) for at, one in enumerate(schemas)]
        return made if not schema.get("uniqueItems") else _distinct(made, schema)

    def _string(self, schema: Schema, place: _Place) -> str:
        if pattern := schema.get("pattern"):
            return matching(str(pattern), least=int(schema.get("minLength") or 0))
        if (form := schema.get("format")) in _FORMATS:
            return _FORMATS[str(form)]
        text = self._answer if not place.depth or place.name in _ANSWERS else self._said
        text = text[: min(int(schema.get("maxLength", _TEXT_CHARS)), _TEXT_CHARS)]
        least = int(schema.get("minLength") or 0)
        return text if len(text) >= least else text + "." * (least - len(text))

    def _number(self, schema: Schema, *, whole: bool) -> int | float:
        """The first number that was said and fits, else the nearest to zero that does."""
        low, high = _bounds(schema, whole=whole)
        step = schema.get("multipleOf") or (1 if whole else 0)
        fits = [one for one in self._numbers if low <= one <= high and _is_multiple(one, step)]
        found = fits[0] if fits else min(max(0.0, low), high)
        if not fits and step:
            found = -(-found // step) * step
        return int(found) if whole or float(found).is_integer() else found


def _type_of(schema: Schema, depth: int) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        full = [one for one in kind if one != "null"]
        ends = [one for one in kind if one not in ("object", "array")]
        kind = next(iter(ends if depth >= _DEEPEST and ends else full or kind), None)
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
    return str(kind)


def _joined(parts: Sequence[Schema]) -> Schema:
    """What fits all of the schemas: their properties and required names together."""
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


def _bounds(schema: Schema, *, whole: bool) -> tuple[float, float]:
    nudge = 1 if whole else 1e-6
    low, high = float(schema.get("minimum", "-inf")), float(schema.get("maximum", "inf"))
    if (above := schema.get("exclusiveMinimum")) is not None:
        low = max(low, float(above) + nudge)
    if (below := schema.get("exclusiveMaximum")) is not None:
        high = min(high, float(below) - nudge)
    return low, high


def _is_multiple(value: float, step: float) -> bool:
    return not step or (value / step).is_integer()


def _distinct(made: list[Any], schema: Schema) -> list[Any]:
    """The values, each one once: equal texts and numbers get a number of their own."""
    found: list[Any] = []
    for one in made:
        number = 1
        value = one
        while value in found and isinstance(one, str | int | float):
            number += 1
            value = f"{one} {number}" if isinstance(one, str) else one + number
        if value not in found:
            found.append(value)
    return found
