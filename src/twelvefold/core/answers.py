"""Answers of people and payloads of events: JSON, checked before it is recorded."""

import json
from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, NoReturn

from twelvefold.core.events import Item, WaitStarted
from twelvefold.core.ports import SignalKey
from twelvefold.core.tools.strict_mode import simplify
from twelvefold.core.waiting import check_key
from twelvefold.errors import InvalidAnswer, RequestError

if TYPE_CHECKING:
    from jsonschema_rs import ValidationError

    from twelvefold.core.thread import Call

MAX_CHARS = 65_536
"""The longest answer or payload, which is the longest result of a tool."""
MAX_PROBLEMS = 20
MAX_PROBLEM_CHARS = 300
_PLAIN: Mapping[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}


def encode_value(value: Any, what: str) -> str:
    """Return a value as JSON. Raises RequestError if it is none, or too long; `what` names it."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise RequestError(f"{what} is no JSON: {error}") from error
    if len(text) > MAX_CHARS:
        raise RequestError(f"{what} has {len(text)} characters as JSON; {MAX_CHARS} is the most")
    return text


def decode_value(text: str, what: str) -> Any:
    """Return the value of a JSON text. Raises RequestError."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"{what} is no JSON: {error}") from error


def schema_of(answer: Any) -> Item:
    """Return the JSON Schema of an answer's type; a text if it is None."""
    if answer is None:
        return {"type": "string"}
    if isinstance(answer, Mapping):
        return dict(answer)
    if isinstance(answer, type) and answer in _PLAIN:
        return {"type": _PLAIN[answer]}
    from pydantic import TypeAdapter

    return simplify(TypeAdapter(answer).json_schema())


def parse_answer(schema: Item | None, text: str) -> Any:
    """Return the value of what a person typed: JSON, or a text as it is."""
    is_text = (schema or {}).get("type") == "string"
    if is_text and not text.startswith('"'):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def check_answer(schema: Item | None, value: Any) -> str:
    """Return an answer as JSON. Raises InvalidAnswer if it does not fit the JSON Schema."""
    text = encode_value(value, "the answer")
    if problems := _problems(schema or {}, json.loads(text)):
        raise InvalidAnswer(*problems)
    return text


def _problems(schema: Item, value: Any) -> list[str]:
    # A library in Rust, without dependencies; only processes that check an answer import it.
    import jsonschema_rs

    try:
        validator = jsonschema_rs.validator_for(schema, validate_formats=True, retriever=_retrieve)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        raise RequestError(f"the question's schema cannot be used: {error}") from error
    try:
        return [
            _problem_text(found) for found in islice(validator.iter_errors(value), MAX_PROBLEMS)
        ]
    except ValueError:  # the library follows a value to a depth of 255
        return ["it is nested too deeply"]


def _problem_text(found: "ValidationError") -> str:
    path = ".".join(str(part) for part in found.instance_path)
    text = f"{path}: {found.message}" if path else found.message
    return text[:MAX_PROBLEM_CHARS]


def _retrieve(uri: str) -> NoReturn:
    """Load no schema from elsewhere."""
    raise ValueError(f"the schema refers to {uri}")


def make_signal_key(workflow: str, principal: str, key: str) -> SignalKey:
    """Return the name of an event. Raises RequestError if a part is missing or too long."""
    parts = {"workflow": workflow, "principal": principal, "key": key}
    for name, value in parts.items():
        if not value:
            raise RequestError(f"an event has a {name}")
        try:
            check_key(name, value)
        except ValueError as error:
            raise RequestError(str(error)) from error
    return SignalKey(workflow, principal, key)


def question_of(call: "Call") -> WaitStarted | None:
    """Return the question that the call waits for, None if it does not."""
    wait = call.wait
    return wait if isinstance(wait, WaitStarted) and wait.question else None
