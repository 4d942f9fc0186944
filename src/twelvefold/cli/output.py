"""How things are put for a reader: text made safe for a terminal, lines kept short, tables."""

import errno
import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Literal

from twelvefold.core.events import Item
from twelvefold.observe.escape import escape, escape_json, prose_escaper

Style = Literal["", "dim", "bold", "good", "bad", "tool"]
Write = Callable[[str, Style], None]
"""Writes text without a line's end of its own, with what must not reach a terminal escaped."""

LINE = 160
"""Characters of a call's arguments or result that are shown."""
NO_OUTPUT = (errno.EPIPE, errno.ENOSPC, errno.EIO)
"""Nobody takes what is printed: its reader is gone, or the disk is full or broken."""
_COLOURS: dict[Style, str] = {"dim": "2", "bold": "1", "good": "32", "bad": "31", "tool": "36"}
_SPACES = re.compile(r"[ \t\r\n]+")


def shortened(text: str, length: int = LINE) -> str:
    """The text on one line, cut with a note of how long it was, and escaped."""
    line = _SPACES.sub(" ", text).strip(" ")
    cut = line if len(line) <= length else f"{line[: length - 1]}… ({len(line)} characters)"
    return escape(cut)


def arguments_text(arguments: str) -> str:
    """A call's arguments whole and on one line, as its tool gets them: for who has to judge it.

    Of a name that an object has twice the last value counts, and is the one that is shown.
    """
    repeated = False

    def members(pairs: list[tuple[str, object]]) -> dict[str, object]:
        nonlocal repeated
        value = dict(pairs)
        repeated = repeated or len(value) < len(pairs)
        return value

    try:
        value = json.loads(arguments, object_pairs_hook=members)
    except (ValueError, RecursionError):
        return escape(arguments)
    return _json(value) if repeated else escape(arguments)


def _json(value: object) -> str:
    return escape_json(json.dumps(value, default=str, ensure_ascii=False))


def writer(*, colour: bool) -> Write:
    """Writes to standard output."""
    escaper = prose_escaper()

    def write(text: str, style: Style = "") -> None:
        code, shown = _COLOURS.get(style, "") if colour else "", escaper.feed(text)
        sys.stdout.write(f"\x1b[{code}m{shown}\x1b[0m" if code else shown)
        sys.stdout.flush()

    return write


def tell(sentence: str) -> None:
    """Say something beside the answer: on standard error."""
    print(f"twelvefold: {escape(sentence)}", file=sys.stderr)


def print_json(value: object) -> None:
    """One line of JSON on standard output."""
    print(escape_json(json.dumps(value, default=str)))


def print_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as their widest cell; the last is not filled up."""
    cells = [list(heads), *([escape(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    widths[-1] = 0
    for row in cells:
        print(
            "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        )


def when(at_us: int | None) -> str:
    """A time in UTC, to the second."""
    if at_us is None:
        return ""
    return datetime.fromtimestamp(at_us / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def item_text(item: Item) -> str:
    """What a message item says; a refusal is said, too.

    Source: the content parts of a message in the Responses API; content may be plain text.
    """
    content = item.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(str(part.get("text") or part.get("refusal") or "") for part in parts)


def said(items: Iterable[Item]) -> str:
    """All that the messages among the items say."""
    messages = (item_text(item) for item in items if item.get("type", "message") == "message")
    return "\n".join(text for text in messages if text)
