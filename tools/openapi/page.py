"""The reference page of the API, from the same document as `/openapi.json`."""

import json
from collections.abc import Iterator
from typing import Any

from tools.markdown import code, page, table
from tools.openapi.document import PREFIX, document, text_of
from tools.openapi.operation import Json

INTRODUCTION = """\
Every endpoint with its parameters, its body and its answer, and then every object.
`GET /openapi.json` has the same for programs. [The API over HTTP](http.md) describes the behaviour:
what a turn continues from, streams, approvals, idempotent requests and [errors](http.md#errors).
"""
LIMITS = {
    "minimum": "≥ {}",
    "maximum": "≤ {}",
    "minLength": "length ≥ {}",
    "maxLength": "length ≤ {}",
    "minItems": "length ≥ {}",
    "maxItems": "length ≤ {}",
    "maxProperties": "at most {} members",
    "pattern": "`{}`",
}


def api() -> str:
    openapi = document()
    operations = (
        part
        for path, methods in openapi["paths"].items()
        for method, about in methods.items()
        for part in _operation(openapi, method.upper(), path, about)
    )
    schemas = openapi["components"]["schemas"].items()
    objects = (part for name, schema in schemas for part in _object(name, schema))
    return page("API", INTRODUCTION, *operations, "## Objects", *objects)


def _operation(openapi: Json, method: str, path: str, about: Json) -> Iterator[str]:
    yield f"## {method} {path}"
    yield f"{about['summary']}. {about.get('description', '')}".strip()
    if parameters := [_resolved(openapi, one) for one in about.get("parameters", ())]:
        rows = [
            (code(one["name"]), one["in"], _type(one["schema"]), one.get("description", ""))
            for one in parameters
        ]
        yield table(("parameter", "in", "type", ""), rows)
    if body := about.get("requestBody"):
        content = body["content"]["application/json"]
        yield f"Body: {_type(content['schema'])}{'' if body['required'] else ', optional'}."
        yield _example(content["example"])
    answer = about["responses"]["200"]["content"]
    stream = " or a stream of server-sent events" if "text/event-stream" in answer else ""
    errors = ", ".join(status for status in about["responses"] if status != "200")
    media, content = next(iter(answer.items()))
    lines = " in each line" if media != "application/json" else ""
    yield f"Answer: {_type(content['schema'])}{lines}{stream}. Errors: {errors}."
    yield _example(content["example"])


def _resolved(openapi: Json, parameter: Json) -> Json:
    if "$ref" not in parameter:
        return parameter
    name = parameter["$ref"].rpartition("/")[2]
    found: Json = openapi["components"]["parameters"][name]
    return found


def _example(value: Any) -> str:
    return f"```json\n{text_of(value)}\n```"


def _object(name: str, schema: Json) -> Iterator[str]:
    yield f"### {name}"
    if "description" in schema:
        yield schema["description"]
    if "properties" not in schema:
        yield f"{_type(schema)}."
        return
    required = schema.get("required", ())
    rows = [
        (
            code(field),
            _type(about),
            "required" if field in required else "",
            _description(about),
        )
        for field, about in schema["properties"].items()
    ]
    if rows:
        yield table(("member", "type", "", ""), rows)


def _description(schema: Json) -> str:
    """Return the description of a member, or that of a type that it may have."""
    own: str = schema.get("description", "")
    return own or " ".join(filter(None, map(_description, schema.get("anyOf", ()))))


def _type(schema: Json) -> str:
    """Return a schema in words; null is left out, as it means the same as no value."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(PREFIX)
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"] if one != {"type": "null"})
    if "enum" in schema:
        return " or ".join(code(json.dumps(one)) for one in schema["enum"])
    if schema.get("type") == "array" and schema.get("items"):
        kind = f"array of {_type(schema['items'])}"
    else:
        kind = schema.get("type", "any")
    limits = [words.format(schema[key]) for key, words in LIMITS.items() if key in schema]
    return ", ".join([kind, *limits])
