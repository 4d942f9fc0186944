"""Output for people: text escaped for a terminal, short lines, tables, JSON."""

import errno
import json
import os
import re
import select
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Literal

from twelvefold.app.texts import messages_text
from twelvefold.core import Item
from twelvefold.observe.escape import escape, escape_json, prose_escaper

Style = Literal["", "prose", "dim", "bold", "good", "bad", "tool"]
"""`prose`: text of a model, in Markdown. It may come in pieces; all other texts are whole lines."""
Write = Callable[[str, Style], None]
"""Writes text as it is, without a newline, escaping what must not reach a terminal."""

LINE_CHARS = 160
"""Characters of a call's arguments or result that are shown."""
NO_OUTPUT = (errno.EPIPE, errno.ENOSPC, errno.EIO)
"""Error numbers of an output that cannot be written: no reader, a full or broken disk."""
_COLOURS: dict[Style, str] = {"dim": "2", "bold": "1", "good": "32", "bad": "31", "tool": "36"}
_WHITESPACE = re.compile(r"[ \t\r\n]+")


def abbreviate(text: str, length: int = LINE_CHARS) -> str:
    """Return the text on one line, escaped; a text that is cut ends with its length."""
    line = _WHITESPACE.sub(" ", text).strip(" ")
    cut = line if len(line) <= length else f"{line[: length - 1]}… ({len(line)} characters)"
    return escape(cut)


def arguments_text(arguments: str) -> str:
    """Return all arguments of a call on one line, as its tool gets them, for a person to judge.

    If an object has a name twice, only the last value is shown: it is the one that counts.
    """
    has_duplicates = False

    def read_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
        nonlocal has_duplicates
        value = dict(pairs)
        has_duplicates = has_duplicates or len(value) < len(pairs)
        return value

    try:
        value = json.loads(arguments, object_pairs_hook=read_object)
    except (ValueError, RecursionError):
        return escape(arguments)
    return _json(value) if has_duplicates else escape(arguments)


def _json(value: object) -> str:
    return escape_json(json.dumps(value, default=str, ensure_ascii=False))


def stdout_writer(*, colour: bool) -> Write:
    """Return a function that writes to standard output."""
    escaper = prose_escaper()

    def write(text: str, style: Style = "") -> None:
        code, escaped = _COLOURS.get(style, "") if colour else "", escaper.feed(text)
        sys.stdout.write(f"\x1b[{code}m{escaped}\x1b[0m" if code else escaped)
        sys.stdout.flush()

    return write


def check_reader() -> None:
    """Raise BrokenPipeError if the reader of standard output, such as `head`, has ended.

    A command that waits between two outputs would otherwise not notice.
    """
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # errors only
    if any(events & select.POLLERR for _, events in poll.poll(0)):
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def print_notice(message: str) -> None:
    """Print a message to standard error, beside the answer."""
    print(f"twelvefold: {escape(message)}", file=sys.stderr)


def print_json(value: object) -> None:
    """Print one line of JSON to standard output."""
    print(escape_json(json.dumps(value, default=str)))


def print_list(heads: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str) -> None:
    """Print a table of what a command found; without rows the notice `empty` alone."""
    found = list(rows)
    if found:
        print_table(heads, found)
    else:
        print_notice(empty)


def print_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print aligned columns; the last one is not padded."""
    cells = [list(heads), *([escape(cell) for cell in row] for row in rows)]
    widths = [max(_width(row[column]) for row in cells) for column in range(len(heads))]
    widths[-1] = 0
    for row in cells:
        padded = (
            cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)
        )
        print("  ".join(padded).rstrip())


def _width(text: str) -> int:
    """Return how many columns of a terminal a text has: two for a wide character."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # a tenth of the time of a command

    return cell_len(text)


def format_time(at_us: int | None) -> str:
    """Return a time in UTC, to the second; "" for None."""
    if at_us is None:
        return ""
    return datetime.fromtimestamp(at_us / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def input_text(items: Iterable[Item]) -> str:
    """Return the text of all messages, with a line for each of their images and files."""
    from twelvefold.cli.attachments import part_label

    items = list(items)
    parts = (part for item in items for part in _parts(item) if isinstance(part, dict))
    return "\n".join(filter(None, (messages_text(items), *map(part_label, parts))))


def _parts(item: Item) -> list[Item]:
    parts = item.get("content")
    return parts if isinstance(parts, list) else []
