"""The images and files in messages: whether they are valid, which models take them, their size.

They are parts of the type `input_image` or `input_file`, with a URL or with their data as a data
URL. The model gets them unchanged; the server never fetches a URL.

Sources: the content parts of the OpenAI Responses API; RFC 2397 for data URLs.
"""

import binascii
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from twelvefold.core.budget import BYTES_PER_TOKEN
from twelvefold.core.conversation.sendable import RESULT
from twelvefold.core.events import Item

FILE_BYTES = 3_000_000
"""The largest image or file, without base64. With base64 it takes 4 MB of the 4 MiB of a turn."""
URL_CHARS = 8_192
FILENAME_CHARS = 255
IMAGE_TOKENS = 1_500
"""The estimate for one image of any size, about the cost of a large one. A text file is estimated
by its length; a PDF, and a file behind a URL, as one image for each `PDF_BYTES` or part of them."""
PDF_BYTES = 50_000
"""About one page of a PDF."""

IMAGE_TYPES = ("image/png", "image/jpeg", "image/webp", "image/gif")
TEXT_TYPES = ("text/plain", "text/markdown", "text/csv", "application/json")
FILE_TYPES = ("application/pdf", *TEXT_TYPES)

IMAGE, FILE = "image", "file"
ANYWHERE, FILE_URL = "anywhere", "file_url"
"""What Chat Completions has not: parts outside messages of the user, and URLs of files."""
ALL_INPUTS = frozenset({IMAGE, FILE, ANYWHERE, FILE_URL})
_RESPONSES_ONLY = frozenset({ANYWHERE, FILE_URL})

_ATTACHMENTS = {"input_image": IMAGE, "input_file": FILE}
_HOLDERS = {"message": "content", RESULT: "output"}
_DATA_URL = re.compile(r"data:([a-z]+/[a-z0-9.+-]+)(?:;[a-z-]+=[a-z0-9-]+)*;base64,", re.IGNORECASE)
_WEB_URL = re.compile(r"https?://[^\s/?#\x00-\x20\x7f][^\s\x00-\x20\x7f]*", re.IGNORECASE)
_SIGNATURES: Mapping[str, re.Pattern[bytes]] = {
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/webp": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "image/gif": re.compile(rb"GIF8[79]a"),
    # Readers accept up to a kilobyte before the header.
    "application/pdf": re.compile(rb".{0,1023}%PDF-", re.DOTALL),
}
_MISSING = {
    IMAGE: "the model takes no images; if it does, add image to OPENAI_ACCEPTS or to MODELS",
    FILE: "the model takes no files; if it does, add file to OPENAI_ACCEPTS or to MODELS",
    ANYWHERE: "through Chat Completions a model takes images and files in user messages only",
    FILE_URL: "through Chat Completions a model takes no URL of a file; send file_data",
}


class InputProblem(Struct, frozen=True):
    """An image or file that cannot be sent: the item's index, the place in the item, the reason."""

    index: int
    at: str
    message: str
    code: str


class InvalidAttachment(ValueError):
    """A member of an image or file is invalid; `code` is that of the API's error."""

    def __init__(self, member: str, message: str, code: str = "invalid_value") -> None:
        super().__init__(message)
        self.member = member
        self.code = code


# --- validity -------------------------------------------------------------------------------------


def check_image(image_url: object, file_id: object, member: str = "image_url") -> None:
    """Raise InvalidAttachment unless an image has a valid URL or data URL and nothing else."""
    _refuse_file_id(file_id, f"send {member}")
    if image_url is None:
        raise InvalidAttachment(member, "is missing", "missing_required_parameter")
    if _is_data_url(image_url):
        _check_data(str(image_url), IMAGE_TYPES, member)
    else:
        _check_url(image_url, member)


def check_file(file_url: object, file_data: object, filename: object, file_id: object) -> None:
    """Raise InvalidAttachment unless a file has either a URL, or a name and valid data."""
    _refuse_file_id(file_id, "send file_data")
    if filename is not None and not _is_filename(filename):
        message = f"must be a string of 1 to {FILENAME_CHARS} characters"
        raise InvalidAttachment("filename", message)
    if file_url is not None and file_data is not None:
        message = "excludes file_data; give one of the two"
        raise InvalidAttachment("file_url", message, "mutually_exclusive_parameters")
    if file_url is not None:
        _check_url(file_url, "file_url")
        return
    if file_data is None:
        raise InvalidAttachment("file_data", "is missing", "missing_required_parameter")
    if not _is_data_url(file_data):
        message = "must be a data URL, as in data:application/pdf;base64,JVBERi0…"
        raise InvalidAttachment("file_data", message)
    if filename is None:
        message = "is missing; a file with file_data needs one"
        raise InvalidAttachment("filename", message, "missing_required_parameter")
    _check_data(str(file_data), FILE_TYPES, "file_data")


def _refuse_file_id(file_id: object, advice: str) -> None:
    if file_id is not None:
        message = f"this server has no Files API; {advice}"
        raise InvalidAttachment("file_id", message, "unsupported_parameter")


def _is_filename(name: object) -> bool:
    return isinstance(name, str) and 0 < len(name) <= FILENAME_CHARS


def _is_data_url(value: object) -> bool:
    return isinstance(value, str) and value[:5].lower() == "data:"


def _check_url(url: object, member: str) -> None:
    if not isinstance(url, str) or not _WEB_URL.fullmatch(url[: URL_CHARS + 1]):
        message = "must be a URL with http:// or https://, or a data URL"
        raise InvalidAttachment(member, message)
    if len(url) > URL_CHARS:
        message = f"must have at most {URL_CHARS} character(s)"
        raise InvalidAttachment(member, message, "string_above_max_length")


def _check_data(url: str, allowed: Sequence[str], member: str) -> None:
    """Raise InvalidAttachment for data of another type, too much of it, or not what it claims."""
    head = _DATA_URL.match(url)
    media_type = head[1].lower() if head else ""
    if head is None or media_type not in allowed:
        names = ", ".join(allowed)
        message = f"must be base64 of one of {names}, as in data:{allowed[0]};base64,…"
        raise InvalidAttachment(member, message, "unsupported_value")
    size = (len(url) - head.end()) * 3 // 4
    if size - 2 > FILE_BYTES:
        message = f"has {size} bytes; {FILE_BYTES} is the most for one image or file"
        raise InvalidAttachment(member, message, "input_too_large")
    try:
        data = binascii.a2b_base64(url[head.end() :], strict_mode=True)
    except ValueError:
        raise InvalidAttachment(member, "is not valid base64") from None
    if not _is_of_type(data, media_type):
        raise InvalidAttachment(member, f"has data that is not {media_type}")


def _is_of_type(data: bytes, media_type: str) -> bool:
    if signature := _SIGNATURES.get(media_type):
        return signature.match(data) is not None
    try:
        return bool(data.decode())
    except UnicodeDecodeError:
        return False


def detect_media_type(data: bytes) -> str:
    """Return the media type of an image or a PDF by its first bytes; "" for anything else."""
    return next((name for name, one in _SIGNATURES.items() if one.match(data)), "")


def find_invalid(items: Iterable[Item]) -> InputProblem | None:
    """Return the first image or file that is invalid."""
    for index, place, part, _ in _attachments(items):
        try:
            if part["type"] == "input_image":
                check_image(part.get("image_url"), part.get("file_id"))
            else:
                members = ("file_url", "file_data", "filename", "file_id")
                check_file(*(part.get(name) for name in members))
        except InvalidAttachment as error:
            return InputProblem(index, f"{place}.{error.member}", str(error), error.code)
    return None


# --- which models take them -----------------------------------------------------------------------


def inputs_of(accepts: Iterable[str], api: str) -> frozenset[str]:
    """Return the inputs that a model takes through an API, `responses` or `chat`.

    `accepts` are those that its settings name: `image`, `file`.
    """
    named = frozenset(accepts)
    return named | _RESPONSES_ONLY if named and api == "responses" else named


def find_unaccepted(
    items: Iterable[Item], choices: Collection[frozenset[str]]
) -> InputProblem | None:
    """Return the first image or file after which no model is left that takes all of them.

    `choices` has the inputs that each model takes.
    """
    left = list(choices)
    for index, place, part, in_message in _attachments(items):
        needed = _needed(part, in_message)
        taking = [one for one in left if one >= needed]
        if not taking:
            lacking = sorted(needed - left[0], key=list(_MISSING).index) if left else [IMAGE]
            message = _MISSING[lacking[0]]
            return InputProblem(index, f"{place}.type", message, "unsupported_value")
        left = taking
    return None


def _needed(part: Item, in_message: bool) -> frozenset[str]:
    needed = {_ATTACHMENTS[part["type"]]}
    if not in_message:
        needed.add(ANYWHERE)
    if part.get("file_url"):
        needed.add(FILE_URL)
    return frozenset(needed)


def has_attachments(items: Iterable[Item]) -> bool:
    """Return whether an image or a file is in the items."""
    return any(True for _ in _attachments(items))


def _attachments(items: Iterable[Item]) -> Iterator[tuple[int, str, Item, bool]]:
    """Yield each image and file: its item's index, its place there, and whether a user sent it."""
    for index, item in enumerate(items):
        kind = item.get("type", "message")
        key = _HOLDERS.get(kind, "")
        parts = item.get(key)
        if not isinstance(parts, list):
            continue
        for at, part in enumerate(parts):
            if isinstance(part, dict) and part.get("type") in _ATTACHMENTS:
                yield index, f"{key}[{at}]", part, item.get("role") == "user"


# --- size -----------------------------------------------------------------------------------------


def media_of(part: Item) -> tuple[str, int]:
    """Return the media type and the length in bytes of an image or file; ("", 0) for a URL."""
    url = part.get("image_url") or part.get("file_data")
    if not isinstance(url, str) or (head := _DATA_URL.match(url)) is None:
        return "", 0
    padding = len(url) - len(url.rstrip("="))
    return head[1].lower(), (len(url) - head.end()) * 3 // 4 - padding


def estimate_tokens(part: Item) -> int:
    """Return about how many tokens of the window an image or a file takes."""
    media_type, size = media_of(part)
    if media_type in TEXT_TYPES:
        return -(-size // BYTES_PER_TOKEN)
    if media_type == "application/pdf":
        return IMAGE_TOKENS * max(-(-size // PDF_BYTES), 1)
    return IMAGE_TOKENS


def size_in_window(value: Any) -> int:
    """Return the bytes of JSON of items or parts, as far as they take room in the model's window.

    An image or a file counts as its estimated tokens, at BYTES_PER_TOKEN, and not as its base64.
    """
    encoded = msgspec.json.encode(value)
    if b'"input_image"' not in encoded and b'"input_file"' not in encoded:
        return len(encoded)
    return len(encoded) + sum(map(_difference, _parts_in(value)))


def _parts_in(value: Any) -> Iterator[Item]:
    if isinstance(value, list | tuple):
        for one in value:
            yield from _parts_in(one)
    elif isinstance(value, dict):
        if value.get("type") in _ATTACHMENTS:
            yield value
        else:
            yield from _parts_in(value.get("content"))
            yield from _parts_in(value.get("output"))


def _difference(part: Item) -> int:
    return estimate_tokens(part) * BYTES_PER_TOKEN - len(msgspec.json.encode(part))
