"""Parameters of SQL: the Python values that a tool may pass, each in one form for its driver."""

import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from twelvefold.errors import StoreRefused

Number = TypeVar("Number", float, Decimal)
_UNCHANGED: set[type] = {type(None), bool, bytes, date, timedelta}
_DECIMAL_DIGITS = 65
"""The precision of DECIMAL in MySQL. SQLite's integers have 64 bits."""


def convert_value(name: str, value: Any) -> Any:
    """Return the value as a built-in type; the drivers look up types exactly.

    A datetime with an offset becomes UTC; one without is unchanged. Raises StoreRefused for a type
    that SQL has no single form for, and for a value that the database would change.
    """
    kind = type(value)
    if kind is str:
        return _check_text(name, value)
    if kind is int:
        return _check_integer(name, value)
    if kind in _UNCHANGED:
        return value
    return _convert_less_common(name, value)


def _convert_less_common(name: str, value: Any) -> Any:
    match value:
        case str():
            # `str()` of an enumeration's member is its name, not its text.
            return _check_text(name, str.__str__(value))
        case int():
            return _check_integer(name, int(value))
        case float():
            return _check_finite(name, float(value))
        case Decimal():
            return _check_finite(name, value)
        case datetime():
            return _to_utc(value)
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


def _check_text(name: str, value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise StoreRefused(
                f"parameter {name!r} holds half of a surrogate pair, which is no text"
            ) from None
    return value


def _check_integer(name: str, value: int) -> int:
    if value.bit_length() > 64 and abs(value) >= 10**_DECIMAL_DIGITS:
        raise StoreRefused(f"parameter {name!r} has more than {_DECIMAL_DIGITS} digits")
    return value


def _check_finite(name: str, value: Number) -> Number:
    if not math.isfinite(value):
        raise StoreRefused(f"parameter {name!r} is {value}, which SQL has no number for")
    return value


def _to_utc(value: datetime) -> datetime:
    if value.tzinfo is not None:
        value = value.astimezone(UTC)
    return datetime.combine(value.date(), value.time())
