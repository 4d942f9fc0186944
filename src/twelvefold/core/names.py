"""Names that callers give: of principals, of API keys, and of idempotent requests."""

import re

MAX_NAME_CHARS = 255
NAME_RULE = f"1 to {MAX_NAME_CHARS} printable characters, without a space at either end"
KEY_RULE = "1 to 255 visible ASCII characters"
_KEY = re.compile(r"[!-~]{1,255}")
_MAX_REPR_CHARS = 60


def is_name(value: object) -> bool:
    """Return whether a value can name a principal or an API key."""
    # MySQL ignores trailing spaces in comparisons: "ann" and "ann " would be the same name.
    return (
        isinstance(value, str)
        and 0 < len(value) <= MAX_NAME_CHARS
        and value == value.strip()
        and value.isprintable()
    )


def is_request_key(value: object) -> bool:
    """Return whether a value can be the key of an idempotent request."""
    return isinstance(value, str) and _KEY.fullmatch(value) is not None


def name_problem(what: str, value: object) -> str:
    """Return why a value cannot be a name; "" if it can. `what` is its place in the request."""
    return "" if is_name(value) else f"{what} is {abbreviate(value)}; use {NAME_RULE}"


def abbreviate(value: object) -> str:
    """Return the value's repr, cut off after 60 characters."""
    text = repr(value)
    return text if len(text) <= _MAX_REPR_CHARS else f"{text[:_MAX_REPR_CHARS]}…"
