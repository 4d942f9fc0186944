"""Images and files of a message: read from disk, or named by a URL that is never fetched here."""

from base64 import b64encode
from pathlib import Path

from twelvefold.core import (
    FILE_BYTES,
    TEXT_TYPES,
    InvalidAttachment,
    Item,
    check_file,
    check_image,
    detect_media_type,
    media_of,
)
from twelvefold.errors import RequestError
from twelvefold.observe.escape import escape

_TEXT_SUFFIXES = dict(zip((".txt", ".md", ".csv", ".json"), TEXT_TYPES, strict=True))


def image_part(source: str) -> Item:
    """Return an image from a file or an http:// or https:// URL. Raises RequestError."""
    url = source if _is_url(source) else _data_url(source, text=False)
    try:
        check_image(url, None)
    except InvalidAttachment as error:
        raise RequestError(f"image {source!r}: {error}") from None
    return {"type": "input_image", "image_url": url, "detail": "auto"}


def file_part(source: str) -> Item:
    """Return a file from a file or an http:// or https:// URL. Raises RequestError."""
    part: Item = {"type": "input_file"}
    if _is_url(source):
        part["file_url"] = source
    else:
        part |= {"filename": Path(source).name, "file_data": _data_url(source, text=True)}
    try:
        check_file(part.get("file_url"), part.get("file_data"), part.get("filename"), None)
    except InvalidAttachment as error:
        raise RequestError(f"file {source!r}: {error}") from None
    return part


def _is_url(source: str) -> bool:
    return source.lower().startswith(("http://", "https://"))


def _data_url(path: str, *, text: bool) -> str:
    """Return the data URL of a file. Raises RequestError if it cannot be read or is too large."""
    try:
        with open(path, "rb") as file:
            data = file.read(FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "the name is invalid"
        raise RequestError(f"{path!r} cannot be read: {reason}") from None
    if len(data) > FILE_BYTES:
        raise RequestError(f"{path!r} is longer than {FILE_BYTES} bytes, which is the most")
    media_type = detect_media_type(data)
    if not media_type:
        suffix = Path(path).suffix.lower()
        media_type = _TEXT_SUFFIXES.get(suffix, "text/plain") if text else "another type"
    return f"data:{media_type};base64,{b64encode(data).decode()}"


def part_label(part: Item) -> str:
    """Return an image or a file as a short text, escaped; "" for another part."""
    match part.get("type"):
        case "input_image":
            name, url = "image", part.get("image_url")
        case "input_file":
            name, url = str(part.get("filename") or "file"), part.get("file_url")
        case _:
            return ""
    media_type, size = media_of(part)
    details = f"{media_type}, {size} bytes" if media_type else str(url or "")
    return escape(f"[{name}: {details}]")
