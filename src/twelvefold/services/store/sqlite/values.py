"""Python values in the forms that SQLite stores, like those that MySQL would store."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any


def adapt_named(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return named parameters in SQLite's forms."""
    return {name: _adapt(value) for name, value in values.items()}


def adapt_ordered(values: Sequence[Any]) -> list[Any]:
    """Return ordered parameters in SQLite's forms."""
    return [_adapt(value) for value in values]


def _adapt(value: Any) -> Any:
    adapter = _ADAPTERS.get(type(value))
    return adapter(value) if adapter else value


def _to_number(value: Decimal) -> int | float:
    """Return a number: SQLite sorts text after every number."""
    return int(value) if value == value.to_integral_value() else float(value)


def _to_time_text(value: timedelta) -> str:
    """Return the text of a TIME in MySQL."""
    seconds, microseconds = divmod(abs(value) // timedelta(microseconds=1), 1_000_000)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    fraction = f".{microseconds:06}" if microseconds else ""
    return f"{'-' if value < timedelta() else ''}{text}{fraction}"


_ADAPTERS: dict[type, Callable[[Any], Any]] = {
    Decimal: _to_number,
    datetime: lambda value: value.isoformat(" "),
    date: date.isoformat,
    time: time.isoformat,
    timedelta: _to_time_text,
}
