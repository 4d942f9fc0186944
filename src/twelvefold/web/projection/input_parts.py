"""As much of the images and files of the input as clients may see."""

from collections.abc import Sequence
from typing import Any

from twelvefold.core import Item, media_of
from twelvefold.web.schemas import InputFiles, Json

_HOLDERS = {"message": "content", "function_call_output": "output"}


def shown_parts(parts: Sequence[Any], files: InputFiles) -> list[Any]:
    """Return parts of the input with as much of images and files as clients may see."""
    return list(parts) if files == "full" else [_without_data(part, files) for part in parts]


def _without_data(part: Any, files: InputFiles) -> Any:
    if not isinstance(part, dict) or part.get("type") not in ("input_image", "input_file"):
        return part
    shown = {key: part[key] for key in ("type", "detail") if key in part}
    if files == "none":
        return shown
    if "filename" in part:
        shown["filename"] = part["filename"]
    media_type, size = media_of(part)
    return shown | {"media_type": media_type, "bytes": size} if media_type else shown


def shown_items(items: Sequence[Item], files: InputFiles) -> list[Json]:
    """Return items of the input with as much of images and files as clients may see."""
    return [
        item | {key: shown_parts(item[key], files)}
        if isinstance(item.get(key := _HOLDERS.get(item.get("type", "message"), "")), list)
        else item
        for item in items
    ]
