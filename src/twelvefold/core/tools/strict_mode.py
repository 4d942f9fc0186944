"""What OpenAI's strict mode takes of a JSON Schema, and a schema made to fit where it can be.

Source: "Supported schemas" of OpenAI's Structured Outputs guide; of its limits and Azure's, the
lower ones. A server without a strict mode takes any of it.
"""

import re
from collections.abc import Iterator
from typing import Any

JsonSchema = dict[str, Any]
MOST_LEVELS = 5
MOST_PROPERTIES = 100
MOST_VALUES = 500
"""Of all enumerations together."""
MOST_CHARACTERS = 15_000
"""Of all names and values together."""
_NOISE = ("title", "default", "discriminator")
_RENAMED = {"oneOf": "anyOf"}
_NAMED = ("properties", "$defs")
_FREE = {"description", "$defs"}
_OF_TYPE = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "minItems", "maxItems"},
    "string": {"pattern", "format"},
    "integer": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
    "number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
    "boolean": set[str](),
    "null": set[str](),
}
_FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}
_TYPES = {"string": str, "integer": int, "number": int | float, "boolean": bool, "null": type(None)}
_DECIMAL = "^(?!^[-+.]*$)"
"""How Pydantic's pattern for a Decimal begins. Strict mode takes no lookaround; Pydantic checks."""
_ODD_PATTERN = re.compile(r"\(\?|\\[1-9bBAZzGkpP]")
"""Lookaround, backreferences and the like, on which engines differ."""


def tidied(schema: JsonSchema) -> JsonSchema:
    """The schema without what says nothing, and closer to what strict mode takes."""
    clean: JsonSchema = _clean(schema)
    defs = clean.pop("$defs", {})
    whole: JsonSchema = _without_described_refs(clean, defs)
    used = {name: _without_described_refs(one, defs) for name, one in defs.items()}
    needed = _needed(whole, used)
    return whole | {"$defs": needed} if needed else whole


def is_strict(schema: JsonSchema) -> bool:
    """Whether strict mode takes the schema for certain."""
    names = [name for node in _nodes(schema) for key in _NAMED for name in node.get(key, ())]
    values = [value for node in _nodes(schema) for value in _values(node)]
    properties = sum(len(node.get("properties", ())) for node in _nodes(schema))
    return (
        schema.get("type") == "object"
        and all(map(_is_taken, _nodes(schema)))
        and properties <= MOST_PROPERTIES
        and len(values) <= MOST_VALUES
        and sum(len(str(one)) for one in (*names, *values)) <= MOST_CHARACTERS
        and _levels(schema, schema.get("$defs", {}), ()) <= MOST_LEVELS
    )


def _clean(node: Any) -> Any:
    if isinstance(node, list):
        return [_clean(one) for one in node]
    if not isinstance(node, dict):
        return node
    clean = {
        _RENAMED.get(key, key): {name: _clean(one) for name, one in value.items()}
        if key in _NAMED
        else value
        if key in ("enum", "const")
        else _clean(value)
        for key, value in node.items()
        if key not in _NOISE
    }
    if str(clean.get("pattern", "")).startswith(_DECIMAL):
        del clean["pattern"]
    if clean.get("type") == "object":
        clean.setdefault("additionalProperties", False)
    if "properties" in clean:
        clean["required"] = list(clean["properties"])
    if "enum" in clean and "type" not in clean and (kind := _type_of(clean["enum"])):
        clean["type"] = kind
    return clean


def _type_of(values: Any) -> str:
    """The type that all values have; "" if they have several."""
    types = (name for name, kind in _TYPES.items() if all(_is_a(one, kind) for one in values))
    return next(types, "")


def _is_a(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _without_described_refs(node: Any, defs: JsonSchema, inside: tuple[str, ...] = ()) -> Any:
    """The schema with each `$ref` alone: what others describe further is put in their place.

    A definition that refers to itself stays where it is, as the only choice of an `anyOf`.
    """
    if isinstance(node, list):
        return [_without_described_refs(one, defs, inside) for one in node]
    if not isinstance(node, dict):
        return node
    name = str(node.get("$ref", "")).removeprefix("#/$defs/")
    if len(node) > 1 and name in defs:
        rest = {key: value for key, value in node.items() if key != "$ref"}
        if name in inside or _refers_to(defs[name], name, defs):
            return {"anyOf": [{"$ref": node["$ref"]}], **rest}
        return _without_described_refs({**defs[name], **rest}, defs, (*inside, name))
    return {
        key: {n: _without_described_refs(one, defs, inside) for n, one in value.items()}
        if key in _NAMED
        else value
        if key in ("enum", "const")
        else _without_described_refs(value, defs, inside)
        for key, value in node.items()
    }


def _refers_to(node: JsonSchema, name: str, defs: JsonSchema) -> bool:
    return name in _needed(node, defs)


def _needed(schema: JsonSchema, defs: JsonSchema) -> JsonSchema:
    """The definitions that the schema refers to, directly or not, in their order."""
    found: set[str] = set()
    waiting = [schema]
    while waiting:
        for node in _nodes(waiting.pop()):
            name = str(node.get("$ref", "")).removeprefix("#/$defs/")
            if name in defs and name not in found:
                found.add(name)
                waiting.append(defs[name])
    return {name: one for name, one in defs.items() if name in found}


def _nodes(schema: Any) -> Iterator[JsonSchema]:
    """The schema and all that are in it; what is no schema where one should be is an empty one."""
    if not isinstance(schema, dict):
        yield {}
        return
    yield schema
    for key in _NAMED:
        for one in schema.get(key, {}).values():
            yield from _nodes(one)
    for one in schema.get("anyOf", ()):
        yield from _nodes(one)
    if "items" in schema:
        yield from _nodes(schema["items"])


def _values(node: JsonSchema) -> list[Any]:
    return [*node.get("enum", ()), *([node["const"]] if "const" in node else ())]


def _is_taken(node: JsonSchema) -> bool:
    """Whether strict mode takes this node, whatever is within it."""
    if "$ref" in node:
        return node.keys() == {"$ref"}
    if "anyOf" in node:
        return bool(node["anyOf"]) and node.keys() <= {"anyOf", *_FREE}
    kind = node.get("type")
    if not isinstance(kind, str) or kind not in _OF_TYPE:
        return False
    if not node.keys() <= {"type", "enum", "const", *_FREE, *_OF_TYPE[kind]}:
        return False
    return _is_closed(node) and _is_checked(node) and _is_typed(node)


def _is_closed(node: JsonSchema) -> bool:
    if node["type"] == "array":
        return "items" in node
    if node["type"] != "object":
        return True
    properties = node.get("properties", {})
    return node.get("additionalProperties") is False and list(properties) == node.get(
        "required", []
    )


def _is_checked(node: JsonSchema) -> bool:
    """Whether format and pattern are such as strict mode knows."""
    if node.get("format", "date") not in _FORMATS:
        return False
    return not _ODD_PATTERN.search(str(node.get("pattern", "")))


def _is_typed(node: JsonSchema) -> bool:
    kind = _TYPES.get(node["type"])
    return all(kind is not None and _is_a(one, kind) for one in _values(node))


def _levels(node: Any, defs: JsonSchema, inside: tuple[str, ...]) -> int:
    """How deep objects and arrays are nested; a definition within itself counts once."""
    if not isinstance(node, dict):
        return 0
    name = str(node.get("$ref", "")).removeprefix("#/$defs/")
    if name in defs and name not in inside:
        return _levels(defs[name], defs, (*inside, name))
    within = [*node.get("properties", {}).values(), *node.get("anyOf", ()), node.get("items")]
    own = node.get("type") in ("object", "array")
    return own + max(_levels(one, defs, inside) for one in within)
