"""Parsers of settings. Each returns a value, or a parser for the given limits.

Parsers raise ValueError with a hint, which follows the name and the value of the variable.
"""

import math
import re
from collections.abc import Callable
from typing import Any, get_args
from urllib.parse import SplitResult, quote, urlsplit

from twelvefold.services.store.mysql.server_urls import server_urls

MAX_TEXT_LENGTH = 128

Parse = Callable[[str], Any]


class ProblemsError(ValueError):
    """A value has several problems; each of `problems` names its place and may be shown."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def one_of(words: Any) -> Parse:
    """Return a parser of one of a Literal's words, in any case."""
    known: tuple[str, ...] = get_args(words)

    def parse(text: str) -> str:
        if text.lower() not in known:
            raise ValueError(f"use {' or '.join(known)}")
        return text.lower()

    return parse


def words(known_words: Any) -> Parse:
    """Return a parser of a Literal's words with commas between them, in any case."""
    parse_word = one_of(known_words)

    def parse(text: str) -> tuple[str, ...]:
        return tuple(parse_word(word.strip()) for word in text.split(",") if word.strip())

    return parse


def integer(lowest: int, highest: int = 10**12) -> Parse:
    return _within(int, "a whole number", lowest, highest)


def number(lowest: float, highest: float) -> Parse:
    return _within(float, "a number", lowest, highest)


def _within(kind: type[int] | type[float], noun: str, lowest: float, highest: float) -> Parse:
    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not lowest <= value <= highest:
            raise ValueError(f"use {noun}, {lowest} to {highest}")
        return value

    return parse


def text(value: str) -> str:
    if not value.isprintable() or len(value) > MAX_TEXT_LENGTH:
        raise ValueError(f"use at most {MAX_TEXT_LENGTH} printable characters")
    return value


def header(value: str) -> str:
    if not re.fullmatch("[!-~]+", value):
        raise ValueError("it has a character that is invalid in an HTTP header")
    return value


_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_VALUE = r"[\t !-~\x80-\xff]*"
_RESERVED_HEADERS = ("connection", "content-length", "content-type", "transfer-encoding")
"""Headers that the client derives from the request."""


def headers(text: str) -> tuple[tuple[str, str], ...]:
    """Return the pairs of a JSON object or of lines `Name: value`."""
    pairs = _json_pairs(text) if text.startswith("{") else _line_pairs(text)
    for name, value in pairs:
        if not re.fullmatch(_NAME, name) or name.lower() in _RESERVED_HEADERS:
            raise ValueError(f"header {name!r} cannot be set")
        if not re.fullmatch(_VALUE, value):
            raise ValueError(
                f"the value of {name} has a character that is invalid in an HTTP header"
            )
    return pairs


def _json_pairs(text: str) -> tuple[tuple[str, str], ...]:
    import json

    try:
        found = json.loads(text)
    except ValueError:
        raise ValueError('it is not JSON; use {"Name": "value"} or lines of Name: value') from None
    for name, value in found.items():
        if not isinstance(value, str | int | float):
            raise ValueError(f"the value of {name} is not a string")
    return tuple((name.strip(), str(value).strip()) for name, value in found.items())


def _line_pairs(text: str) -> tuple[tuple[str, str], ...]:
    lines = [line for line in text.splitlines() if line.strip()]
    if not all(":" in line for line in lines):
        raise ValueError('use lines of Name: value, or a JSON object {"Name": "value"}')
    parts = (line.partition(":") for line in lines)
    return tuple((name.strip(), value.strip()) for name, _, value in parts)


def url(*schemes: str) -> Parse:
    def parse(text: str) -> str:
        parts = _split(text)
        if parts.scheme not in schemes:
            raise ValueError(f"use {' or '.join(f'{scheme}://host' for scheme in schemes)}")
        if not parts.hostname:
            raise ValueError(f"it has no host; use {parts.scheme}://host")
        return text.rstrip("/")

    return parse


def database(text: str) -> str:
    for url in server_urls(text):
        _check_database(_split(url))
    return text


def _check_database(parts: SplitResult) -> None:
    scheme = parts.scheme.partition("+")[0]
    if scheme == "sqlite" and parts.netloc:
        raise ValueError("use three slashes before the file, as in sqlite:///twelvefold.db")
    if scheme not in ("sqlite", "mysql", "mariadb"):
        raise ValueError("use mysql://user:password@host:3306/database or sqlite:///file.db")
    if scheme == "sqlite" and parts.path in ("", "/", "/:memory:"):
        raise ValueError("it has no file; use, for example, sqlite:///twelvefold.db")
    if scheme != "sqlite" and not parts.path.strip("/"):
        raise ValueError("it has no database; use mysql://user:password@host:3306/database")


def _split(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
    except ValueError:
        raise ValueError("it is not a URL; in a password encode [ as %5B and ] as %5D") from None
    if parts.fragment:
        raise ValueError("a # ends a URL; in a password encode it as %23")
    try:
        no_port = parts.port == 0
    except ValueError:
        # From None: the message of the error may have a part of a password.
        raise ValueError("its port is not a number; in a password encode / as %2F") from None
    if no_port:
        raise ValueError("port 0 is invalid")
    return parts


def import_paths(text: str) -> tuple[str, ...]:
    paths = tuple(path.strip() for path in text.split(",") if path.strip())
    for path in paths:
        if not re.fullmatch(r"[^\W\d][\w.]*:[^\W\d]\w*", path):
            raise ValueError(f"{path!r} is not an import path; use module:object")
    if not paths:
        raise ValueError("it has no import path; use module:object")
    return paths


def printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("it has a character that is not printable")
    return value


def networks(text: str) -> tuple[str, ...]:
    from ipaddress import ip_network

    found = tuple(one.strip() for one in text.split(",") if one.strip())
    for one in found:
        try:
            ip_network(one)
        except ValueError as error:
            raise ValueError(
                f"{error}; use addresses or networks, as in 10.0.0.1,10.1.0.0/16"
            ) from None
    return found


def login_of(url: str) -> str:
    """Return the user and the password of a URL as `user:password`, "" without a user."""
    return urlsplit(server_urls(url)[0]).netloc.rpartition("@")[0]


def url_with_password(url: str, password: str) -> str:
    """Return the URL of a user with a password."""
    user = login_of(url).partition(":")[0]
    return url.replace(f"//{login_of(url)}@", f"//{user}:{quote(password, safe='')}@", 1)


def masked(value: str) -> str:
    """Return a secret for display: "****", or a URL with its passwords masked."""
    parts = re.fullmatch(r"([\w+.-]+://)(.*@)?([^@]*)", value)
    if not parts:
        return "****" if value else ""
    scheme, login, rest = parts.groups()
    hidden = re.sub(r"(?i)([?&][^=&]*(?:pass|pwd|secret|token|key)[^=&]*=)[^&]*", r"\1****", rest)
    return f"{scheme}{re.sub(':.*@', ':****@', login or '')}{hidden}"
