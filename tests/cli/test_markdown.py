"""Markdown on a terminal while it arrives, on an emulated terminal."""

import asyncio
import io
from collections.abc import Iterable

import pyte
import pytest
from rich.console import Console

from twelvefold.cli.chat.markdown import MarkdownStream

COLUMNS, ROWS = 40, 12


class Emulator:
    """A terminal that keeps the lines that have left its screen."""

    def __init__(self) -> None:
        self._screen = pyte.HistoryScreen(COLUMNS, ROWS, history=10_000)
        self._screen.set_mode(pyte.modes.LNM)
        self._stream = pyte.Stream(self._screen)
        self._output = io.StringIO()
        console = Console(
            file=self._output, force_terminal=True, width=COLUMNS, height=ROWS, no_color=True
        )
        self.markdown = MarkdownStream(console)

    @property
    def lines(self) -> list[str]:
        """All lines so far, without empty ones at the end."""
        self._stream.feed(self._output.getvalue())
        self._output.seek(0)
        self._output.truncate()
        left = [
            "".join(row[column].data for column in range(COLUMNS))
            for row in self._screen.history.top
        ]
        return "\n".join(line.rstrip() for line in [*left, *self._screen.display]).split("\n")


async def written(pieces: Iterable[str]) -> list[str]:
    """Return the lines after the pieces arrived with a redraw after each."""
    emulator = Emulator()
    for piece in pieces:
        emulator.markdown.feed(piece)
        emulator.markdown._draw()
    emulator.markdown.end()
    return trimmed(emulator.lines)


def trimmed(lines: list[str]) -> list[str]:
    while lines and not lines[-1]:
        lines = lines[:-1]
    return lines


TEXT = """\
# Courses

Two **courses** fit, see `PY-101`:

- Python for people who have never
  written a program
- SQL

| code | seats |
|---|---|
| PY-101 | 3 |

```python
print("hello")
```

Ask [the office](https://academy.example).
"""


async def test_blocks_are_rendered() -> None:
    text = "\n".join(await written([TEXT]))

    for line in ("Two courses fit, see PY-101:", " \u2022 SQL", ' print("hello")'):
        assert line in text
    assert "**" not in text
    assert "```" not in text
    assert "(https://academy.example)" in text


@pytest.mark.parametrize("size", [1, 3, 17, 200])
async def test_a_text_in_pieces_looks_as_a_whole_one(size: int) -> None:
    pieces = [TEXT[at : at + size] for at in range(0, len(TEXT), size)]

    assert await written(pieces) == await written([TEXT])


async def test_a_long_text_in_pieces_scrolls_and_is_written_once() -> None:
    code = "".join(f"line {number}\n" for number in range(60))
    text = f"Look:\n\n```\n{code}```\n\nThat is all."

    lines = await written([text[at : at + 5] for at in range(0, len(text), 5)])

    assert [line.strip() for line in lines if line.startswith(" line")] == code.splitlines()
    assert lines[-1] == "That is all."


async def test_words_are_not_broken_at_the_edge() -> None:
    text = " ".join(["seventeen"] * 20)

    lines = await written(text[at : at + 4] for at in range(0, len(text), 4))

    assert {word for line in lines for word in line.split()} == {"seventeen"}


async def test_line_breaks_and_tags_are_kept() -> None:
    assert await written(["one\ntwo <name> <b>bold</b> 2 * 3 * 4\n"]) == [
        "one",
        "two <name> <b>bold</b> 2 * 3 * 4",
    ]


async def test_text_is_drawn_while_it_arrives() -> None:
    emulator = Emulator()

    emulator.markdown.feed("Two **cour")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert trimmed(emulator.lines) == ["Two **cour"]
    emulator.markdown.feed("ses** fit")
    emulator.markdown.end()

    assert trimmed(emulator.lines) == ["Two courses fit"]


async def test_an_empty_text_writes_nothing() -> None:
    assert await written(["", "\n", " \n"]) == []
