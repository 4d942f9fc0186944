"""Answers of people and payloads of events: JSON, checked before it is recorded."""

import json
from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, NoReturn

from twelvefold.core.events import Item, WaitStarted
from twelvefold.core.names import abbreviate, name_problem
from twelvefold.core.ports import SignalKey
from twelvefold.core.tools.strict_mode import simplify
from twelvefold.core.waiting import check_key
from twelvefold.errors import InvalidAnswer, RequestError

if TYPE_CHECKING:
    from jsonschema_rs import ValidationError, Validator

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
    """Return the JSON Schema of an answer's type; a text if it is None.

    Raises ValueError if it has none, or if no answer could be checked against it.
    """
    if answer is None:
        return {"type": "string"}
    if isinstance(answer, type) and answer in _PLAIN:
        return {"type": _PLAIN[answer]}
    schema = answer if isinstance(answer, Mapping) else _schema_of_type(answer)
    try:
        # As the journal returns it: JSON has no tuples, and only texts as keys.
        plain: Item = json.loads(encode_value(dict(schema), "its JSON Schema"))
        _validator_of(plain)
    except (RequestError, RecursionError) as error:
        raise ValueError(f"schema={abbreviate(answer)}: {error}") from error
    return plain


def _schema_of_type(answer: Any) -> Item:
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticUserError

    try:
        return simplify(TypeAdapter(answer).json_schema())
    except (PydanticUserError, TypeError, ValueError) as error:
        text = str(error).partition("\n")[0]
        raise ValueError(f"schema={abbreviate(answer)} has no JSON Schema: {text}") from error


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
    """Return an answer as JSON.

    Raises InvalidAnswer if it is no JSON, too long, or does not fit the JSON Schema.
    """
    try:
        text = encode_value(value, "it")
        plain = decode_value(text, "it")
    except RequestError as error:
        raise InvalidAnswer(str(error)) from error
    if problems := _problems(schema or {}, plain):
        raise InvalidAnswer(*problems)
    return text


def _problems(schema: Item, value: Any) -> list[str]:
    validator = _validator_of(schema)
    try:
        found = validator.iter_errors(value)
        return [_problem_text(one) for one in islice(found, MAX_PROBLEMS)]
    except ValueError:  # the library follows a value to a depth of 255
        return ["it is nested too deeply"]


def _validator_of(schema: Item) -> "Validator":
    """Return what checks a value. Raises RequestError for an invalid JSON Schema."""
    # A library in Rust, without dependencies; only processes that have a question import it.
    import jsonschema_rs

    try:
        return jsonschema_rs.validator_for(schema, validate_formats=True, retriever=_retrieve)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        text = str(error).partition("\n")[0]
        raise RequestError(f"the question's schema cannot be used: {text}") from error


def _problem_text(found: "ValidationError") -> str:
    path = ".".join(str(part) for part in found.instance_path)
    text = f"{path}: {found.message}" if path else found.message
    return text[:MAX_PROBLEM_CHARS]


def _retrieve(uri: str) -> NoReturn:
    """Load no schema from elsewhere."""
    raise ValueError(f"the schema refers to {uri}")


def make_signal_key(workflow: str, principal: str, key: str) -> SignalKey:
    """Return the name of an event. Raises RequestError if a part is invalid."""
    if problem := name_problem("principal", principal):
        raise RequestError(problem)
    for name, value in {"workflow": workflow, "key": key}.items():
        try:
            check_key(name, value)
        except ValueError as error:
            raise RequestError(str(error)) from error
    return SignalKey(workflow, principal, key)


def question_of(call: "Call") -> WaitStarted | None:
    """Return the question that the call waits for, None if it does not."""
    wait = call.wait
    return wait if isinstance(wait, WaitStarted) and wait.question else None
