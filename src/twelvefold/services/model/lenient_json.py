"""JSON and Unicode as servers really send them: lone surrogates, objects without a separator."""

import json
from typing import Any

from twelvefold.services.model.errors import DECODE_ERRORS, MALFORMED_JSON, RetryableError


def repair_surrogates(text: str) -> str:
    """Combine surrogate pairs into characters; replace each lone surrogate with U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def byte_length(text: str) -> int:
    """Return the length in bytes of UTF-8. A lone surrogate counts as three bytes."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def decode_lenient(data: bytes) -> Any:
    """Decode JSON that may contain lone surrogates, which msgspec rejects.

    Raises RetryableError.
    """
    try:
        return json.loads(data)
    except DECODE_ERRORS:
        raise RetryableError(MALFORMED_JSON).loggable() from None


def encode_repaired(value: Any) -> bytes:
    """Encode a value as JSON without lone surrogates."""
    return repair_surrogates(json.dumps(value, ensure_ascii=False)).encode()


def decode_or_none(text: str) -> Any:
    """Decode JSON; None if the text is not valid JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def split_objects(text: str) -> list[str]:
    """Split a text such as `{…}{…}` into its JSON objects, without empty and repeated ones.

    Returns the text itself if it is a single object or not a sequence of objects.
    """
    value = decode_or_none(text)
    if isinstance(value, str) and isinstance(decode_or_none(value), dict):
        return [value]  # encoded twice
    if value is not None or not text.startswith("{"):
        return [text]
    objects: list[str] = []
    for one in _concatenated(text):
        if one not in (*objects, "{}"):
            objects.append(one)
    return objects or [text]


def _concatenated(text: str) -> list[str]:
    """Return the source text of each object in `{…}{…}`; empty if the text has anything else."""
    decode = json.JSONDecoder().raw_decode
    objects: list[str] = []
    while text := text.lstrip():
        try:
            value, end = decode(text)
        except (ValueError, RecursionError):
            return []
        if not isinstance(value, dict):
            return []
        objects.append(text[:end])
        text = text[end:]
    return objects
