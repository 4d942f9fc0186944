"""Fill values into a JSON text without a change of what it has.

A person who approves a call sees the model's own text: a number keeps all its digits, and a field
that Pydantic would not write is still there.
"""

import json
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw


def fill_missing(text: str, values: Mapping[str, Any]) -> str:
    """Return the JSON object with these values where it has none, or null. None fills nothing.

    Returns the text itself if nothing is filled. `values` are JSON values; objects and arrays in
    them fill those at the same place.
    """
    given = text.encode()
    filled = _fill(given, values)
    return text if filled == given else msgspec.json.format(filled, indent=0).decode()


def _fill(given: bytes, value: object) -> bytes:
    if given == b"null":
        return _encode(value)
    if isinstance(value, Mapping):
        return _fill_object(given, value)
    return _fill_array(given, value) if isinstance(value, list) else given


def _fill_object(given: bytes, values: Mapping[str, Any]) -> bytes:
    fields = _raw(given, dict[str, Raw])
    if fields is None:
        return given
    filled = {name: _fill(bytes(raw), values.get(name)) for name, raw in fields.items()}
    filled |= {
        name: _encode(value)
        for name, value in values.items()
        if name not in fields and value is not None
    }
    if filled == {name: bytes(raw) for name, raw in fields.items()}:
        return given
    return msgspec.json.encode({name: Raw(one) for name, one in filled.items()})


def _fill_array(given: bytes, values: list[Any]) -> bytes:
    items = _raw(given, list[Raw])
    if items is None or len(items) != len(values):
        return given
    filled = [_fill(bytes(raw), value) for raw, value in zip(items, values, strict=True)]
    if filled == [bytes(raw) for raw in items]:
        return given
    return msgspec.json.encode([Raw(one) for one in filled])


def _raw(given: bytes, kind: Any) -> Any:
    """Return the parts of an object or an array as they are written; None if it is another."""
    try:
        return msgspec.json.decode(given, type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _encode(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
