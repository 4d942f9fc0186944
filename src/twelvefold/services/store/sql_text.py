"""SQL as text: the named statements of `queries/`, `:name` parameters, and what a tool may say.

A file in `queries/` holds statements after a line `-- name: what zero rows mean`. Text is read as
the server reads it: what stands in quotes and comments is no SQL, and the dialects differ in both.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from importlib.resources import files
from operator import itemgetter
from typing import Any, Literal

from twelvefold.errors import StoreRefused

Dialect = Literal["mysql", "sqlite"]
InOrder = Callable[[Mapping[str, Any]], tuple[Any, ...]]
_NAME = re.compile(r"^-- ([a-z_]+): ", re.MULTILINE)
_MYSQL_QUOTED = r"""'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`[^`]*`"""
_MYSQL_COMMENT = r"--(?=[\s\x00-\x1f]|\Z)[^\n]*|\#[^\n]*|/\*(?!M?!).*?\*/"
_SQLITE_QUOTED = r"""'[^']*'|"[^"]*"|`[^`]*`|\[[^\]]*\]"""
_SQLITE_COMMENT = r"--[^\n]*|/\*.*?(?:\*/|\Z)"
_TEXT = {
    "mysql": re.compile(f"({_MYSQL_QUOTED})|{_MYSQL_COMMENT}", re.DOTALL),
    "sqlite": re.compile(f"({_SQLITE_QUOTED})|{_SQLITE_COMMENT}", re.DOTALL),
}
_PARAMETER = re.compile(
    rf"({_MYSQL_QUOTED}|{_MYSQL_COMMENT}|/\*.*?\*/)|:([A-Za-z_]\w*)|(%)", re.DOTALL
)
_END = re.compile(rf"{_MYSQL_QUOTED}|{_MYSQL_COMMENT}|(;)", re.DOTALL)
_READS = {
    *("SELECT", "WITH", "VALUES", "TABLE", "SHOW", "EXPLAIN", "DESCRIBE", "DESC"),
    "CHECKSUM",  # of MySQL
}
_WRITES = {"INSERT", "UPDATE", "DELETE", "REPLACE"}
_SAVEPOINT = re.compile(r"\s*(?:SAVEPOINT|RELEASE\s+SAVEPOINT|ROLLBACK\s+TO)\s", re.IGNORECASE)


def load(name: str, words: Mapping[str, str]) -> dict[str, str]:
    """The statements of one file by name, with `{word}` replaced."""
    text = files("twelvefold.services.store").joinpath("queries", name).read_text("utf-8")
    _, *parts = _NAME.split(text)
    named = zip(parts[::2], parts[1::2], strict=True)
    return {name: _filled(_without_comment(body), words) for name, body in named}


def _without_comment(body: str) -> str:
    lines = body.splitlines()[1:]  # the first is what was left of the line with the name
    return "\n".join(line for line in lines if not line.startswith("--")).strip()


def _filled(statement: str, words: Mapping[str, str]) -> str:
    for word, text in words.items():
        statement = statement.replace("{" + word + "}", text)
    return statement


@lru_cache(maxsize=2048)
def positional(statement: str) -> tuple[str, InOrder]:
    """The statement with `%s` for each `:name`, as asyncmy wants it, and what puts values in order.

    That raises KeyError for a name that was not given.
    """
    names: list[str] = []

    def rewritten(match: re.Match[str]) -> str:
        passed_over, name, percent = match.groups()
        if name:
            names.append(name)
            return "%s"
        return "%%" if percent else str(passed_over).replace("%", "%%")

    text = _PARAMETER.sub(rewritten, statement)
    if len(names) > 1:
        return text, itemgetter(*names)
    return text, lambda values: tuple(values[name] for name in names)


def split_script(script: str) -> list[str]:
    """The statements of a script for MySQL; a `;` in quotes or comments ends none."""
    return [one for one in _parts(script) if _bare(one, "mysql").strip()]


def _parts(script: str) -> Iterator[str]:
    start = 0
    for match in _END.finditer(script):
        if match[1]:
            yield script[start : match.start()].strip()
            start = match.end()
    yield script[start:].strip()


@lru_cache(maxsize=2048)
def refuse_writes(statement: str, dialect: Dialect) -> None:
    """Raise StoreRefused for a statement that does not merely read."""
    bare = _single(statement, dialect)
    verb = _first_word(bare)
    if verb not in _READS:
        raise StoreRefused(f"{verb} is not a read; a tool that writes takes a Transaction")
    words = re.findall(r"\w+", _outermost(bare).upper())
    if "INTO" in words:
        raise StoreRefused("INTO puts rows somewhere; a tool that may only read gets them back")
    if verb not in ("WITH", "EXPLAIN", "DESCRIBE", "DESC"):
        return
    hidden = next((word for word in words if word in _WRITES | {"SELECT", "VALUES", "TABLE"}), "")
    if hidden in _WRITES:
        raise StoreRefused(f"{hidden} is not a read; a tool that writes takes a Transaction")


@lru_cache(maxsize=2048)
def refuse_commits(statement: str, dialect: Dialect) -> None:
    """Raise StoreRefused for all but statements that read or write rows.

    A list of those that commit by themselves would never be complete.
    Source: "Statements That Cause an Implicit Commit" in the MySQL manual.
    """
    bare = _single(statement, dialect)
    verb = _first_word(bare)
    if verb not in _READS | _WRITES and not _SAVEPOINT.match(bare):
        raise StoreRefused(
            f"{verb} neither reads nor writes rows, which is all that a tool may do: the step "
            "begins and commits, and tables belong into the workflow's schema"
        )


def _single(statement: str, dialect: Dialect) -> str:
    """The bare statement. Raises StoreRefused if there is a second one behind or within it."""
    if not statement.isascii():
        _refuse_half_characters(statement)
    bare = _bare(statement, dialect).rstrip("; \t\r\n")
    if ";" in bare:
        raise StoreRefused("there is a ; within the statement: run one statement at a time")
    if "/*" in bare:
        raise StoreRefused("/*! … */ hides what it does; write it without the comment")
    return bare


def _refuse_half_characters(statement: str) -> None:
    try:
        statement.encode()
    except UnicodeEncodeError:
        raise StoreRefused("the statement holds half of a surrogate pair") from None


def _bare(statement: str, dialect: Dialect) -> str:
    """The statement without what stands in quotes and comments."""
    return _TEXT[dialect].sub(lambda match: "''" if match[1] else " ", statement)


def _first_word(bare: str) -> str:
    match = re.match(r"[\s(]*(\w+)", bare)
    return match[1].upper() if match else "an empty statement"


def _outermost(bare: str) -> str:
    """What stands in no parentheses."""
    while (shorter := re.sub(r"\([^()]*\)", " ", bare)) != bare:
        bare = shorter
    return bare
