"""SQL as text: named statements, their parameters and rows, and which statements tools may run.

In a file of `queries/` a line `-- name: what zero rows mean` precedes each statement. Quotes and
comments are parsed as the server parses them; the dialects differ in both.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from importlib.resources import files
from operator import itemgetter
from typing import Any, Literal, TypeVar

from twelvefold.core import Row
from twelvefold.errors import StoreRefused

Dialect = Literal["mysql", "sqlite"]
Number = TypeVar("Number", float, Decimal)
OrderValues = Callable[[Mapping[str, Any]], tuple[Any, ...]]
_NAME = re.compile(r"^-- ([a-z_]+): ", re.MULTILINE)
_MYSQL_QUOTED = r"""'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`[^`]*`"""
_MYSQL_COMMENT = r"--(?=[\x00-\x20\x7f]|\Z)[^\n]*|\#[^\n]*|/\*(?!M?!).*?\*/"
_SQLITE_QUOTED = r"""'[^']*'|"[^"]*"|`[^`]*`|\[[^\]]*\]"""
_SQLITE_COMMENT = r"--[^\n]*|/\*.*?(?:\*/|\Z)"
_TEXT = {
    "mysql": re.compile(f"({_MYSQL_QUOTED})|{_MYSQL_COMMENT}", re.DOTALL),
    "sqlite": re.compile(f"({_SQLITE_QUOTED})|{_SQLITE_COMMENT}", re.DOTALL),
}
_PARAMETER = re.compile(
    rf"({_MYSQL_QUOTED}|{_MYSQL_COMMENT}|/\*.*?\*/)|:([A-Za-z_]\w*)|(%)", re.DOTALL
)
_END = {
    "mysql": re.compile(rf"{_MYSQL_QUOTED}|{_MYSQL_COMMENT}|(;)", re.DOTALL),
    "sqlite": re.compile(rf"{_SQLITE_QUOTED}|{_SQLITE_COMMENT}|(;)", re.DOTALL),
}
_READS = {
    *("SELECT", "WITH", "VALUES", "TABLE", "SHOW", "EXPLAIN", "DESCRIBE", "DESC"),
    "CHECKSUM",  # MySQL only
}
_WRITES = {"INSERT", "UPDATE", "DELETE", "REPLACE"}
_SAVEPOINT = re.compile(r"\s*(?:SAVEPOINT|RELEASE\s+SAVEPOINT|ROLLBACK\s+TO)\s", re.IGNORECASE)
_UNCHANGED: set[type] = {type(None), bool, bytes, date, timedelta}
_DECIMAL_DIGITS = 65
"""The precision of DECIMAL in MySQL. SQLite's integers have 64 bits."""


def load_statements(file: str, words: Mapping[str, str]) -> dict[str, str]:
    """Return the statements of one file by name, with each `{word}` replaced."""
    text = files("twelvefold.services.store").joinpath("queries", file).read_text("utf-8")
    _, *parts = _NAME.split(text)
    named = zip(parts[::2], parts[1::2], strict=True)
    return {name: _insert_words(_strip_head(body), words) for name, body in named}


def _strip_head(body: str) -> str:
    lines = body.splitlines()[1:]  # the first line is the rest of the one with the name
    return "\n".join(line for line in lines if not line.startswith("--")).strip()


def _insert_words(statement: str, words: Mapping[str, str]) -> str:
    for word, text in words.items():
        statement = statement.replace("{" + word + "}", text)
    return statement


@lru_cache(maxsize=2048)
def to_positional(statement: str) -> tuple[str, OrderValues]:
    """Return the statement with `%s` for each `:name`, and a function that orders the values.

    The function raises KeyError for a missing name. asyncmy takes `%s` only.
    """
    names: list[str] = []

    def rewrite(match: re.Match[str]) -> str:
        unchanged, name, percent = match.groups()
        if name:
            names.append(name)
            return "%s"
        return "%%" if percent else str(unchanged).replace("%", "%%")

    text = _PARAMETER.sub(rewrite, statement)
    if len(names) > 1:
        return text, itemgetter(*names)
    return text, lambda values: tuple(values[name] for name in names)


def split_script(script: str) -> list[str]:
    """Return the statements of a script for MySQL; a `;` in quotes or comments ends none."""
    return [one for one in _split(script, "mysql") if _blank_quotes(one, "mysql").strip()]


@lru_cache(maxsize=2048)
def strip_end(statement: str, dialect: Dialect) -> str:
    """Return a single statement without the `;` that ends it and what follows.

    An empty statement, or one that is only a comment, is an error in MySQL.
    """
    return next(_split(statement, dialect)) if ";" in statement else statement


def _split(script: str, dialect: Dialect) -> Iterator[str]:
    start = 0
    for match in _END[dialect].finditer(script):
        if match[1]:
            yield script[start : match.start()].strip()
            start = match.end()
    yield script[start:].strip()


@lru_cache(maxsize=2048)
def reject_writes(statement: str, dialect: Dialect) -> None:
    """Raise StoreRefused for a statement that does more than read."""
    bare = _parse_single(statement, dialect)
    verb = _first_word(bare)
    if verb not in _READS:
        raise StoreRefused(f"{verb} is not a read; a tool that writes takes a Transaction")
    words = re.findall(r"\w+", _strip_parentheses(bare).upper())
    if "INTO" in words:
        raise StoreRefused("INTO writes rows somewhere; without it they are returned")
    if verb not in ("WITH", "EXPLAIN", "DESCRIBE", "DESC"):
        return
    hidden = next((word for word in words if word in _WRITES | {"SELECT", "VALUES", "TABLE"}), "")
    if hidden in _WRITES:
        raise StoreRefused(f"{hidden} is not a read; a tool that writes takes a Transaction")


@lru_cache(maxsize=2048)
def reject_commits(statement: str, dialect: Dialect) -> None:
    """Raise StoreRefused for all but statements that read or write rows.

    A list of the statements that commit implicitly would never be complete.
    Source: "Statements That Cause an Implicit Commit" in the MySQL manual.
    """
    bare = _parse_single(statement, dialect)
    verb = _first_word(bare)
    if verb not in _READS | _WRITES and not _SAVEPOINT.match(bare):
        raise StoreRefused(
            f"{verb} neither reads nor writes rows, which is all that a tool may do: the step "
            "begins and commits, and tables belong into the workflow's schema"
        )


def _parse_single(statement: str, dialect: Dialect) -> str:
    """Return one statement without quotes and comments. Raises StoreRefused for two."""
    if not statement.isascii():
        _reject_half_characters(statement)
    bare = _blank_quotes(statement, dialect).rstrip("; \t\r\n")
    if ";" in bare:
        raise StoreRefused("there is a ; within the statement: run one statement at a time")
    if "/*" in bare:
        raise StoreRefused("/*! … */ hides what it does; write it without the comment")
    return bare


def _reject_half_characters(statement: str) -> None:
    try:
        statement.encode()
    except UnicodeEncodeError:
        raise StoreRefused("the statement holds half of a surrogate pair") from None


def _blank_quotes(statement: str, dialect: Dialect) -> str:
    """Return the statement with empty quotes and without comments."""
    return _TEXT[dialect].sub(lambda match: "''" if match[1] else " ", statement)


def _first_word(bare: str) -> str:
    match = re.match(r"[\s(]*(\w+)", bare)
    return match[1].upper() if match else "an empty statement"


def _strip_parentheses(bare: str) -> str:
    """Return the text outside all parentheses."""
    while (shorter := re.sub(r"\([^()]*\)", " ", bare)) != bare:
        bare = shorter
    return bare


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


def as_rows(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[Row]:
    """Return rows by column name. Raises StoreRefused if two columns have one name."""
    if len(set(names)) != len(names):
        duplicate = next(name for name in names if names.count(name) > 1)
        raise StoreRefused(f"two columns are called {duplicate!r}; rename one of them with AS")
    return [dict(zip(names, row, strict=True)) for row in rows]
