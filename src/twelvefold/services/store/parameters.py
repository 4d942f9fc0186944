"""Parameters of SQL: which Python values a tool may give, each in the one form its driver knows."""

import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from twelvefold.errors import StoreRefused

Number = TypeVar("Number", float, Decimal)
_AS_THEY_ARE: set[type] = {type(None), bool, bytes, date, timedelta}
_DECIMAL_DIGITS = 65
"""The most that a DECIMAL of MySQL has. SQLite's whole numbers end at 64 bits."""


def value_for(name: str, value: Any) -> Any:
    """The value as a plain built-in type, which is what the drivers look for.

    A time with an offset becomes UTC, without one it is taken as it is. Raises StoreRefused for a
    type that has no one form in SQL, and for a value that the database could only bend.
    """
    kind = type(value)
    if kind is str:
        return _text(name, value)
    if kind is int:
        return _whole(name, value)
    if kind in _AS_THEY_ARE:
        return value
    return _less_common(name, value)


def _less_common(name: str, value: Any) -> Any:
    match value:
        case str():
            # As text, not as `str()` has it: that of an enumeration's member is its name.
            return _text(name, str.__str__(value))
        case int():
            return _whole(name, int(value))
        case float():
            return _finite(name, float(value))
        case Decimal():
            return _finite(name, value)
        case datetime():
            return _in_utc(value)
        case date():
            return date(value.year, value.month, value.day)
        case time() if value.tzinfo is None:
            return value
        case bytes() | bytearray() | memoryview():
            return bytes(value)
    raise StoreRefused(
        f"parameter {name!r} is a {type(value).__name__}; SQL takes None, bool, int, float, str, "
        "bytes, Decimal, date, datetime, time and timedelta"
    )


def _text(name: str, value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise StoreRefused(
                f"parameter {name!r} holds half of a surrogate pair, which is no text"
            ) from None
    return value


def _whole(name: str, value: int) -> int:
    if value.bit_length() > 64 and abs(value) >= 10**_DECIMAL_DIGITS:
        raise StoreRefused(f"parameter {name!r} has more than {_DECIMAL_DIGITS} digits")
    return value


def _finite(name: str, value: Number) -> Number:
    if not math.isfinite(value):
        raise StoreRefused(f"parameter {name!r} is {value}, which SQL has no number for")
    return value


def _in_utc(value: datetime) -> datetime:
    if value.tzinfo is not None:
        value = value.astimezone(UTC)
    return datetime.combine(value.date(), value.time())
