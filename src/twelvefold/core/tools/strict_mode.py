"""JSON Schemas for OpenAI's strict mode: bring a schema closer to it, and check whether it fits.

Source: "Supported schemas" of OpenAI's Structured Outputs guide; the limits are the lower ones of
OpenAI's and Azure's. Servers without a strict mode accept every schema.
"""

import re
from collections.abc import Iterator
from typing import Any

JsonSchema = dict[str, Any]
MAX_DEPTH = 5
MAX_PROPERTIES = 100
MAX_ENUM_VALUES = 500
"""Of all enumerations together."""
MAX_CHARS = 15_000
"""Of all names and values together."""
_DROPPED = ("title", "default", "discriminator")
_RENAMED = {"oneOf": "anyOf"}
_SCHEMAS_BY_NAME = ("properties", "$defs")
_ANNOTATIONS = {"description", "$defs"}
_KEYWORDS_OF_TYPE = {
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
"""The start of Pydantic's pattern for a Decimal. Strict mode refuses lookaround; Pydantic still
checks the value."""
_UNPORTABLE_PATTERN = re.compile(r"\(\?|\\[1-9bBAZzGkpP]")
"""Lookaround, backreferences and others, which regular expression engines treat differently."""


def simplify(schema: JsonSchema, *, inline: bool = True) -> JsonSchema:
    """Return the schema without titles and defaults, and closer to what strict mode accepts.

    `inline` False leaves each `$ref` as it is: a schema of a stranger may grow exponentially.
    """
    clean: JsonSchema = _clean(schema)
    defs = clean.pop("$defs", {})
    inlined, inlined_defs = clean, defs
    if inline:
        inlined = _inline_refs(clean, defs)
        inlined_defs = {name: _inline_refs(one, defs) for name, one in defs.items()}
    needed = _needed_defs(inlined, inlined_defs)
    return inlined | {"$defs": needed} if needed else inlined


def is_strict(schema: JsonSchema) -> bool:
    """Return whether strict mode certainly accepts the schema."""
    names = [
        name for node in _nodes(schema) for key in _SCHEMAS_BY_NAME for name in node.get(key, ())
    ]
    values = [value for node in _nodes(schema) for value in _values(node)]
    properties = sum(len(node.get("properties", ())) for node in _nodes(schema))
    return (
        schema.get("type") == "object"
        and all(map(_is_accepted, _nodes(schema)))
        and properties <= MAX_PROPERTIES
        and len(values) <= MAX_ENUM_VALUES
        and sum(len(str(one)) for one in (*names, *values)) <= MAX_CHARS
        and _depth(schema, schema.get("$defs", {}), ()) <= MAX_DEPTH
    )


def _clean(node: Any) -> Any:
    if isinstance(node, list):
        return [_clean(one) for one in node]
    if not isinstance(node, dict):
        return node
    clean = {
        _RENAMED.get(key, key): {name: _clean(one) for name, one in value.items()}
        if key in _SCHEMAS_BY_NAME
        else value
        if key in ("enum", "const")
        else _clean(value)
        for key, value in node.items()
        if key not in _DROPPED
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
    """Return the type that all values have; "" if they have several."""
    types = (name for name, kind in _TYPES.items() if all(_is_a(one, kind) for one in values))
    return next(types, "")


def _is_a(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _inline_refs(node: Any, defs: JsonSchema, inside: tuple[str, ...] = ()) -> Any:
    """Return the schema with each `$ref` that has other keywords replaced by its definition.

    A `$ref` to a definition that refers to itself becomes the only choice of an `anyOf` instead.
    """
    if isinstance(node, list):
        return [_inline_refs(one, defs, inside) for one in node]
    if not isinstance(node, dict):
        return node
    name = str(node.get("$ref", "")).removeprefix("#/$defs/")
    if len(node) > 1 and name in defs:
        rest = {key: value for key, value in node.items() if key != "$ref"}
        if name in inside or _refers_to(defs[name], name, defs):
            return {"anyOf": [{"$ref": node["$ref"]}], **rest}
        return _inline_refs({**defs[name], **rest}, defs, (*inside, name))
    return {
        key: {n: _inline_refs(one, defs, inside) for n, one in value.items()}
        if key in _SCHEMAS_BY_NAME
        else value
        if key in ("enum", "const")
        else _inline_refs(value, defs, inside)
        for key, value in node.items()
    }


def _refers_to(node: JsonSchema, name: str, defs: JsonSchema) -> bool:
    return name in _needed_defs(node, defs)


def _needed_defs(schema: JsonSchema, defs: JsonSchema) -> JsonSchema:
    """Return the definitions that the schema refers to, directly or not, in their order."""
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
    """Yield the schema and every schema in it; an empty one for a value that is no schema."""
    if not isinstance(schema, dict):
        yield {}
        return
    yield schema
    for key in _SCHEMAS_BY_NAME:
        for one in schema.get(key, {}).values():
            yield from _nodes(one)
    for one in schema.get("anyOf", ()):
        yield from _nodes(one)
    if "items" in schema:
        yield from _nodes(schema["items"])


def _values(node: JsonSchema) -> list[Any]:
    return [*node.get("enum", ()), *([node["const"]] if "const" in node else ())]


def _is_accepted(node: JsonSchema) -> bool:
    """Return whether strict mode accepts this node, without regard to the nodes in it."""
    if "$ref" in node:
        return node.keys() == {"$ref"}
    if "anyOf" in node:
        return bool(node["anyOf"]) and node.keys() <= {"anyOf", *_ANNOTATIONS}
    kind = node.get("type")
    if not isinstance(kind, str) or kind not in _KEYWORDS_OF_TYPE:
        return False
    if not node.keys() <= {"type", "enum", "const", *_ANNOTATIONS, *_KEYWORDS_OF_TYPE[kind]}:
        return False
    return _is_closed(node) and _is_portable(node) and _is_typed(node)


def _is_closed(node: JsonSchema) -> bool:
    if node["type"] == "array":
        return "items" in node
    if node["type"] != "object":
        return True
    properties = node.get("properties", {})
    return node.get("additionalProperties") is False and list(properties) == node.get(
        "required", []
    )


def _is_portable(node: JsonSchema) -> bool:
    """Return whether strict mode knows the format and the syntax of the pattern."""
    if node.get("format", "date") not in _FORMATS:
        return False
    return not _UNPORTABLE_PATTERN.search(str(node.get("pattern", "")))


def _is_typed(node: JsonSchema) -> bool:
    kind = _TYPES.get(node["type"])
    return all(kind is not None and _is_a(one, kind) for one in _values(node))


def _depth(node: Any, defs: JsonSchema, inside: tuple[str, ...]) -> int:
    """Return the depth of objects and arrays; a definition within itself counts once."""
    if not isinstance(node, dict):
        return 0
    name = str(node.get("$ref", "")).removeprefix("#/$defs/")
    if name in defs and name not in inside:
        return _depth(defs[name], defs, (*inside, name))
    within = [*node.get("properties", {}).values(), *node.get("anyOf", ()), node.get("items")]
    own = node.get("type") in ("object", "array")
    return own + max(_depth(one, defs, inside) for one in within)
