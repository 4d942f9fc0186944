"""What a parameter may be: small checks that are put together, each naming what it refuses.

A check takes a value and the name of its place, as in `input[0].content`, and gives back the value
as it is meant. Null is as good as not given wherever it is not needed.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from twelvefold.web.http.errors import abbreviate, raise_invalid

Check = Callable[[Any, str], Any]
_NAME_CHARS = 60
_NAMES = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    dict: "an object",
    list: "an array",
    type(None): "null",
}


def _typed(value: object, wanted: type, at: str) -> None:
    if type(value) is not wanted:
        found = _NAMES.get(type(value), "something else")
        raise_invalid(f"must be {_NAMES[wanted]}, not {found}", at, "invalid_type")


def flag(value: Any, at: str) -> bool:
    """True or false."""
    _typed(value, bool, at)
    return bool(value)


def text(value: Any, at: str) -> str:
    """Any string."""
    _typed(value, str, at)
    return str(value)


def short(most: int) -> Check:
    """A string of at most so many characters."""

    def check(value: Any, at: str) -> str:
        _typed(value, str, at)
        if len(value) > most:
            code = "string_above_max_length"
            raise_invalid(f"must have at most {most} characters, not {len(value)}", at, code)
        return str(value)

    return check


def matching(pattern: str, what: str) -> Check:
    """A string of this form."""
    compiled = re.compile(pattern)

    def check(value: Any, at: str) -> str:
        _typed(value, str, at)
        if not compiled.fullmatch(value):
            raise_invalid(f"must be {what}, not {abbreviate(value)}", at)
        return str(value)

    return check


def one_of(*words: str) -> Check:
    """One of these words."""

    def check(value: Any, at: str) -> str:
        _typed(value, str, at)
        if value not in words:
            raise_invalid(f"must be one of {', '.join(words)}, not {abbreviate(value)}", at)
        return str(value)

    return check


def whole(least: int, most: int | None = None) -> Check:
    """An integer between these two, each included."""

    def check(value: Any, at: str) -> int:
        _typed(value, int, at)
        if value < least:
            raise_invalid(f"must be at least {least}", at, "integer_below_min_value")
        if most is not None and value > most:
            raise_invalid(f"must be at most {most}", at, "integer_above_max_value")
        return int(value)

    return check


def number(least: float, most: float) -> Check:
    """A number between these two, each included."""

    def check(value: Any, at: str) -> float:
        if type(value) is not int:
            _typed(value, float, at)
        if value < least:
            raise_invalid(f"must be at least {least:g}", at, "decimal_below_min_value")
        if value > most:
            raise_invalid(f"must be at most {most:g}", at, "decimal_above_max_value")
        return float(value)

    return check


def list_of(check: Check, *, least: int = 0, most: int | None = None) -> Check:
    """An array of so many of these."""

    def checked(value: Any, at: str) -> list[Any]:
        _typed(value, list, at)
        if len(value) < least:
            raise_invalid(f"must have at least {least} element(s)", at, "array_below_min_length")
        if most is not None and len(value) > most:
            raise_invalid(f"must have at most {most} elements", at, "array_above_max_length")
        return [check(one, f"{at}[{index}]") for index, one in enumerate(value)]

    return checked


def anything(value: Any, at: str) -> Any:
    """Whatever it is, it says nothing to us."""
    return value


def an_object(value: Any, at: str) -> dict[str, Any]:
    """An object with anything in it."""
    _typed(value, dict, at)
    return dict(value)


def record(fields: Mapping[str, Check], *needed: str) -> Check:
    """An object with these members and no others; those that are null are left out."""

    def checked(value: Any, at: str) -> dict[str, Any]:
        _typed(value, dict, at)
        return members(value, fields, needed, f"{at}.")

    return checked


def members(
    value: Mapping[str, Any], fields: Mapping[str, Check], needed: tuple[str, ...], prefix: str = ""
) -> dict[str, Any]:
    """The members of an object, each checked, in the object's order."""
    given = {key: one for key, one in value.items() if one is not None}
    for key in needed:
        if key not in given:
            raise_invalid("is missing", f"{prefix}{key}", "missing_required_parameter")
    for key in given:
        if key not in fields:
            raise_invalid("is not known", f"{prefix}{_name(key)}", "unknown_parameter")
    return {key: fields[key](one, f"{prefix}{key}") for key, one in given.items()}


def _name(key: str) -> str:
    return key if len(key) <= _NAME_CHARS else f"{key[:_NAME_CHARS]}…"


def unsupported(value: Any, at: str) -> None:
    """A parameter that the API has and this server has not."""
    raise_invalid("is not supported here", at, "unsupported_parameter")


def unless(*harmless: object) -> Check:
    """A parameter that this server has not, except with a value that changes nothing."""

    def check(value: Any, at: str) -> None:
        if not any(type(value) is type(one) and value == one for one in harmless):
            raise_invalid("is not supported here; use /v1/responses", at, "unsupported_parameter")

    return check


def metadata(value: Any, at: str) -> dict[str, str]:
    """What a caller wants kept. Source: `metadata` of the OpenAI API."""
    _typed(value, dict, at)
    if len(value) > 16:
        raise_invalid("must have at most 16 pairs", at, "object_above_max_properties")
    for key, one in value.items():
        if len(key) > 64:
            raise_invalid("a key must have at most 64 characters", at)
        _VALUE(one, f"{at}.{key}")
    return dict(value)


_VALUE = short(512)
