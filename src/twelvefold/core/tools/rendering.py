"""A tool's result as text: a string stays as it is, any other value becomes JSON.

Values of SQLAlchemy, Pydantic, attrs and NumPy are recognized by their attributes, without imports.
"""

import json
import math
from array import array
from collections import deque
from collections.abc import (
    Callable,
    ItemsView,
    Iterator,
    KeysView,
    Mapping,
    Sequence,
    Set,
    ValuesView,
)
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import islice
from typing import Any

import msgspec

from twelvefold.core.conversation.sendable import NO_RESULT

_AS_IS = {str, int, bool, type(None)}
_MAX_ITERATED = 10_000
"""Elements that are read from an iterator, which may be endless."""
_MAX_DIGITS = 60
"""MySQL's DECIMAL has 65 digits, at most 30 of them after the point."""
_BIT = (b"\x00", b"\x01")
"""The values of a BIT(1) as MySQL's drivers return them."""


def render_result(result: object) -> str:
    """Return the result as the model reads it. Raises TypeError for a value without a JSON form."""
    if result is None:
        return NO_RESULT
    if isinstance(result, str) and not isinstance(result, Enum):
        return str.__str__(result)
    plain = _plain(result)
    try:
        return msgspec.json.encode(plain).decode()
    except (UnicodeEncodeError, OverflowError, msgspec.MsgspecError):
        # Half of a surrogate pair is written as its escape, an integer with all its digits.
        return json.dumps(plain)


def truncate(text: str, length: int) -> str:
    """Return the first `length` characters of a longer text, with a note about the rest."""
    return f"{text[:length]}\n[cut here, after {length} of {len(text)} characters]"


def _plain(value: object) -> object:
    """Return the value in JSON's types."""
    if type(value) in _AS_IS:
        return value
    for kind, plain in _SCALARS:
        if isinstance(value, kind):
            return plain(value)
    if (known := _fields_of(value)) is not None:
        return _object(known)
    if isinstance(value, Mapping):
        return _object(value)
    if isinstance(value, Set):
        return sorted(map(_plain, value), key=_sort_key)
    if isinstance(value, Sequence | KeysView | ItemsView | ValuesView | deque | array):
        return [_plain(one) for one in value]
    if isinstance(value, Iterator):
        return [_plain(one) for one in islice(value, _MAX_ITERATED)]
    return _of_library(value)


def _fields_of(value: Any) -> Mapping[Any, object] | None:
    """Return the fields of a row or record by name; None for a value without fields."""
    if isinstance(value, type):
        return None
    if isinstance(mapping := getattr(value, "_mapping", None), Mapping):
        return mapping  # SQLAlchemy's Row
    if isinstance(value, tuple):
        return _named_fields(value)
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if hasattr(value, "_sa_instance_state"):
        # Loaded columns only: to load the rest would take a connection.
        columns = type(value).__mapper__.column_attrs.keys()
        return {name: vars(value)[name] for name in columns if name in vars(value)}
    if isinstance(value, Sequence) and callable(keys := getattr(value, "keys", None)):
        return {name: value[name] for name in keys()}  # sqlite3.Row
    for names in (
        getattr(value, "__struct_fields__", ()),
        [one.name for one in getattr(value, "__attrs_attrs__", ())],
    ):
        if names:
            return {name: getattr(value, name) for name in names}
    return None


def _named_fields(value: Any) -> Mapping[str, object] | None:
    names = getattr(value, "_fields", None)
    return dict(zip(names, value, strict=True)) if names else None


def _of_library(value: Any) -> object:
    if callable(dump := getattr(value, "model_dump", None)):
        try:
            return dump(mode="json")
        except ValueError:  # for example bytes that are no text
            return _plain(dump())
    if hasattr(value, "dtype") and callable(to_list := getattr(value, "tolist", None)):
        return _plain(to_list())
    if not isinstance(value, type) and _has_own_text(type(value)):
        return str(value)
    raise TypeError(f"a tool returned a {type(value).__name__}, which has no form as JSON")


def _has_own_text(kind: Any) -> bool:
    return kind.__str__ is not object.__str__


def _object(value: Mapping[Any, object]) -> object:
    found = {_key(key): _plain(one) for key, one in value.items()}
    if len(found) == len(value):
        return found
    # Distinct keys with one text form, as 1 and "1": pairs keep both.
    return [[_plain(key), _plain(one)] for key, one in value.items()]


def _key(key: object) -> str:
    if isinstance(key, str) and not isinstance(key, Enum):
        return str.__str__(key)
    if isinstance(key, tuple) and not hasattr(key, "_fields"):
        return ", ".join(map(_key, key))
    plain = _plain(key)
    return plain if isinstance(plain, str) else json.dumps(plain)


def _sort_key(plain: object) -> tuple[bool, Any]:
    number = isinstance(plain, int | float)
    return not number, plain if number else json.dumps(plain)


def _enum(value: Enum) -> object:
    try:
        return _plain(value.value)
    except TypeError:
        return value.name


def _bytes(value: Any) -> object:
    content = bytes(value)
    if content in _BIT:
        return content[0]
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return f"0x{content.hex()}"
    is_text = all(one.isprintable() or one.isspace() for one in text)
    return text if is_text else f"0x{content.hex()}"


def _float(value: float) -> object:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return float(value)


def _decimal(value: Decimal) -> str:
    if not value.is_finite() or abs(value.adjusted()) > _MAX_DIGITS:
        return str(value)
    text = format(value, "f")
    return text if value else text.removeprefix("-")


def _moment(value: date | time) -> str:
    kind = type(value)
    exact = kind in (date, datetime, time)
    return str(msgspec.to_builtins(value)) if exact else value.isoformat()


def _duration(value: timedelta) -> str:
    """Return the text of a MySQL TIME, which drivers return as a timedelta."""
    sign, size = ("-", -value) if value < timedelta() else ("", value)
    seconds = size.days * 86_400 + size.seconds
    fraction = f".{size.microseconds:06}" if size.microseconds else ""
    return f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{fraction}"


def _exception(value: BaseException) -> str:
    return f"{type(value).__name__}: {value}" if str(value) else type(value).__name__


_SCALARS: tuple[tuple[Any, Callable[[Any], object]], ...] = (
    (Enum, _enum),
    (str, str.__str__),
    (bool, bool),
    (int, int),
    (float, _float),
    (Decimal, _decimal),
    (date | time, _moment),
    (timedelta, _duration),
    (bytes | bytearray | memoryview, _bytes),
    (BaseException, _exception),
)
