"""Writes src/twelvefold/web/openapi.json: `make reference`.

The structs of `twelvefold.web.schemas` describe bodies and answers, `operations` the rest. A test
holds the committed file to `document()`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from inspect import cleandoc
from pathlib import Path
from typing import Any

import msgspec

from tools.openapi.examples import EVENTS, EXAMPLES
from tools.openapi.operation import PARAMETERS, Json, Operation
from tools.openapi.operations import OPERATIONS
from twelvefold.web.schemas.chat_messages import AssistantMessage
from twelvefold.web.schemas.items import InputItem
from twelvefold.web.schemas.objects import Error, Readiness, ServerSentEvent
from twelvefold.web.schemas.types import END, OpenObject, RequestObject, Variants

DOCUMENT = Path(__file__).resolve().parents[2] / "src" / "twelvefold" / "web" / "openapi.json"
WIDTH = 120
PREFIX = "#/components/schemas/"
INFO = {
    "title": "Twelvefold",
    "version": "1",
    "description": (
        "Agentic workflows as models of the OpenAI API. Every answer has an `x-request-id`; "
        "every error has OpenAI's envelope."
    ),
    "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
}
KEY = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key: tw_… . Not needed where the server accepts its own machine only.",
}
VARIANTS: tuple[type[Variants], ...] = (InputItem,)
OPEN = (OpenObject, AssistantMessage)
RETRY_AFTER = {"Retry-After": {"schema": {"type": "string"}, "description": "Seconds."}}
CHALLENGE = {"WWW-Authenticate": {"schema": {"type": "string"}}}
ERRORS: Mapping[int, tuple[str, str, Json]] = {
    400: ("BadRequest", "The request is invalid; `param` names the parameter.", {}),
    401: ("Unauthorized", "No API key, or an unknown one.", CHALLENGE),
    403: ("Forbidden", "The API key does not allow this.", {}),
    404: ("NotFound", "It does not exist, or it is another caller's.", {}),
    409: ("Conflict", "It does not fit the present state; try again.", RETRY_AFTER),
    413: ("TooLarge", "The body is too long.", {}),
    415: ("NoJson", "The body is not JSON.", {}),
    422: ("Reused", "The Idempotency-Key was used for another body.", {}),
    429: ("TooMany", "Too many requests or runs; try again after `Retry-After`.", RETRY_AFTER),
    500: ("Failed", "The server failed.", {}),
    503: (
        "Unavailable",
        "The database does not answer, a step's transaction holds the run, "
        "or the server is stopping; try again.",
        RETRY_AFTER,
    ),
}
WITH_KEY, WITH_BODY, ALWAYS = (400, 401, 403, 429, 503), (413, 415), (500,)


def document() -> Json:
    """Return the OpenAPI document."""
    paths: dict[str, Json] = {}
    for one in OPERATIONS:
        paths.setdefault(one.path, {})[one.method] = _operation(one)
    return {
        "openapi": "3.1.0",
        "info": INFO,
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": KEY},
            "parameters": {name: {"name": name, **one} for name, one in PARAMETERS.items()},
            "responses": {
                name: _error(description, headers) for name, description, headers in ERRORS.values()
            },
            "schemas": _schemas(),
        },
    }


# --- operations -----------------------------------------------------------------------------------


def _operation(one: Operation) -> Json:
    in_path = re.findall(r"\{(.*?)\}", one.path)
    parameters = [_parameter(name) for name in (*in_path, *one.parameters)]
    body = {"required": one.body_required, "content": _content(one.body)} if one.body else None
    about: Json = {
        "operationId": one.id,
        "summary": one.summary,
        "tags": [one.tag],
        "description": one.description or None,
        "security": [] if one.public else None,
        "parameters": parameters or None,
        "requestBody": body,
    }
    about = {key: value for key, value in about.items() if value is not None}
    return about | {"responses": {str(status): answer for status, answer in _answers(one)}}


def _parameter(one: str | Json) -> Json:
    return one if isinstance(one, dict) else {"$ref": f"#/components/parameters/{one}"}


def _answers(one: Operation) -> Iterator[tuple[int, Json]]:
    content = {one.media: _content(one.answer)["application/json"]}
    if one.streams:
        stream = {"schema": _reference(ServerSentEvent), "example": EVENTS[one.answer]}
        content |= {"text/event-stream": stream}
    yield 200, {"description": "Success.", "content": content}
    common = ALWAYS if one.public else WITH_KEY + ALWAYS
    for status in sorted({*common, *one.errors, *(WITH_BODY if one.body else ())}):
        yield status, {"$ref": f"#/components/responses/{ERRORS[status][0]}"}
    if one.answer is Readiness:
        yield 503, {"description": "Not ready.", "content": content}


def _content(kind: type[msgspec.Struct]) -> Json:
    return {"application/json": {"schema": _reference(kind), "example": EXAMPLES[kind]}}


def _reference(kind: type) -> Json:
    return {"$ref": f"{PREFIX}{kind.__name__}"}


def _error(description: str, headers: Json) -> Json:
    answer = {"description": description, "content": _content(Error)}
    return answer | ({"headers": headers} if headers else {})


# --- schemas --------------------------------------------------------------------------------------


def _schemas() -> Json:
    """Return the schema of every struct that a body or an answer may have."""
    kinds: list[Any] = [Error, ServerSentEvent]
    kinds += [kind for one in OPERATIONS for kind in (one.body, one.answer) if kind]
    kinds += [kind for one in VARIANTS for kind in one.VARIANTS]
    _, schemas = msgspec.json.schema_components(
        kinds, schema_hook=_reference, ref_template=f"{PREFIX}{{name}}"
    )
    for one in VARIANTS:
        references = [_reference(kind) for kind in one.VARIANTS]
        schemas[one.__name__] = {"description": one.__doc__, "anyOf": references}
    for kind in _structs(RequestObject):
        if kind.__name__ in schemas:
            _complete(schemas[kind.__name__], kind)
    return {name: _tidy(schemas[name]) for name in sorted(schemas)}


def _structs(base: type[RequestObject]) -> Iterator[type[RequestObject]]:
    for kind in base.__subclasses__():
        yield kind
        yield from _structs(kind)


def _complete(schema: Json, kind: type[RequestObject]) -> None:
    """Add to a request's schema the members of which only some values are accepted, or none."""
    for name, harmless in kind.UNSUPPORTED.items():
        values = list(dict.fromkeys(map(json.dumps, harmless)))
        about = "Only a value without effect is accepted." if values else "Not supported."
        accepted = [*map(json.loads, values), None]
        schema["properties"][name] = {"enum": accepted, "description": about}
    if not issubclass(kind, OPEN):
        schema["additionalProperties"] = False


def _tidy(schema: Any) -> Any:
    """Return a schema as readers of JSON and JavaScript expect it.

    It has no titles and null defaults, its patterns are those of JavaScript, and its descriptions,
    which are docstrings, are not indented.
    """
    if isinstance(schema, list):
        return [_tidy(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    tidy = {key: _tidy(value) for key, value in schema.items()}
    if isinstance(tidy.get("title"), str):
        del tidy["title"]
    if isinstance(text := tidy.get("description"), str):
        tidy["description"] = cleandoc(text)
    if "default" in tidy and tidy["default"] is None:
        del tidy["default"]
    if isinstance(pattern := tidy.get("pattern"), str):
        tidy |= _as_lengths(tidy.pop("pattern")) or {"pattern": pattern.replace(END, "$")}
    return tidy


def _as_lengths(pattern: str) -> Json:
    """Return the lengths that a pattern of any characters stands for, otherwise nothing."""
    if found := re.fullmatch(r"\^\[\\s\\S\]\{(\d+),(\d+)\}" + re.escape(END), pattern):
        return {"minLength": int(found[1]), "maxLength": int(found[2])}
    return {}


def text_of(value: Any, indent: str = "") -> str:
    """Return JSON text, each array and object on one line if it fits there."""
    line = json.dumps(value, ensure_ascii=False)
    if not value or not isinstance(value, dict | list) or len(indent) + len(line) <= WIDTH:
        return line
    inner = f"{indent}  "
    if isinstance(value, list):
        lines = [text_of(one, inner) for one in value]
        return "[\n" + ",\n".join(f"{inner}{one}" for one in lines) + f"\n{indent}]"
    members = (f"{json.dumps(key)}: {text_of(one, inner)}" for key, one in value.items())
    return "{\n" + ",\n".join(f"{inner}{one}" for one in members) + f"\n{indent}}}"


def main() -> None:
    """Write the document."""
    DOCUMENT.write_text(text_of(document()) + "\n")


if __name__ == "__main__":
    main()
