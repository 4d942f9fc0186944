"""The items and the metadata of a turn that a program starts: the rules of `POST /v1/responses`."""

from collections.abc import Mapping, Sequence
from typing import Any

from twelvefold.core import Item
from twelvefold.errors import InputRefused, RequestError
from twelvefold.web.http import ApiError, raise_invalid
from twelvefold.web.schemas.call_results import without_repeats
from twelvefold.web.schemas.decode import decode
from twelvefold.web.schemas.items import ANSWER, REFERENCE, InputItem
from twelvefold.web.schemas.turns import plain_items
from twelvefold.web.schemas.types import Metadata

_ATTACHMENT_MEMBERS = ("image_url", "file_url", "file_data", "filename", "file_id")


def parse_items(items: Sequence[Any], *, is_new: bool) -> list[Item]:
    """Return the items as the journal keeps them.

    `is_new`: no conversation is continued, so that each result needs a call among the items. Raises
    InputRefused for an image or a file that is invalid, RequestError for any other error; the
    message begins with the place.
    """
    try:
        return _parse_items(items, is_new=is_new)
    except ApiError as error:
        message = _at("input", error)
        if (error.param or "").endswith(_ATTACHMENT_MEMBERS):
            raise InputRefused(message, code=error.code or "invalid_value") from error
        raise RequestError(message) from error


def _parse_items(items: Sequence[Any], *, is_new: bool) -> list[Item]:
    plain = plain_items(decode([*items], list[InputItem]))
    for index, item in enumerate(plain):
        if item["type"] in (REFERENCE, ANSWER):
            raise_invalid(f"{item['type']!r} is for requests over HTTP", f"[{index}].type")
    return [*without_repeats(plain, at="")] if is_new else plain


def check_metadata(metadata: Mapping[str, str]) -> None:
    """Raise RequestError unless these are at most 16 texts, each within its limit."""
    try:
        decode(dict(metadata), Metadata)
    except ApiError as error:
        raise RequestError(_at("metadata", error)) from error


def _at(argument: str, error: ApiError) -> str:
    """Return the message with the argument in front of the place in it."""
    message = str(error)
    return f"{argument}{message}" if message.startswith((":", "[")) else f"{argument}.{message}"
