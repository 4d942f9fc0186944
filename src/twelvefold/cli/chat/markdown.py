"""Markdown on a terminal while its text arrives. Imported only by a chat on a terminal."""

import asyncio
from typing import ClassVar

from markdown_it import MarkdownIt
from rich.console import Console
from rich.live import Live
from rich.markdown import Heading, Markdown
from rich.segment import Segment, Segments

REFRESH_S = 0.05
MAX_LIVE_LINES = 8
"""Lines at the end of the text that may still change: more text may turn them into a table."""
# Without HTML, whose tags rich would leave out: text such as `<name>` is shown as it is.
_PARSER = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"])
Line = list[Segment]


class _LeftHeading(Heading):
    LEVEL_ALIGN = dict.fromkeys(Heading.LEVEL_ALIGN, "left")


class _Block(Markdown):
    """Markdown whose line breaks are kept, and whose links show their address."""

    elements: ClassVar = {**Markdown.elements, "heading_open": _LeftHeading}

    def __init__(self, text: str) -> None:
        super().__init__("", hyperlinks=False)
        self.parsed = _PARSER.parse(text)
        for token in self.parsed:
            for child in token.children or ():
                if child.type == "softbreak":
                    child.type = "hardbreak"


class MarkdownStream:
    """Writes a text in pieces. It is complete after `end`; other output must wait for that.

    Blocks are written once they are complete. The last lines of the text so far are drawn again
    when more arrives.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._text = ""
        self._written = 0
        self._has_blocks = False
        self._timer: asyncio.TimerHandle | None = None

    def feed(self, text: str) -> None:
        """Add a piece of the text and draw it soon."""
        self._text += text
        if self._timer is None and self._text.strip():
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(REFRESH_S if self._live else 0, self._draw)

    def end(self) -> None:
        """Write the rest of the text. The next piece begins another text."""
        self._cancel_timer()
        if self._text.strip():
            self._write_complete_blocks()
            self._write(self._lines(self._text)[self._written :])
        if self._live is not None:
            self._live.stop()
        self._live, self._text, self._written, self._has_blocks = None, "", 0, False

    def _draw(self) -> None:
        self._cancel_timer()
        if self._live is None:
            self._live = Live(
                console=self._console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        self._write_complete_blocks()
        lines = self._lines(self._text)
        stable = len(lines) - max(1, min(MAX_LIVE_LINES, self._console.height - 2))
        if stable > self._written:
            self._write(lines[self._written : stable])
            self._written = stable
        self._live.update(_segments(lines[self._written :], last_break=False), refresh=True)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _write_complete_blocks(self) -> None:
        """Write all blocks except the last, which may continue."""
        *complete, self._text = _blocks(self._text)
        for block in complete:
            self._write(self._lines(block)[self._written :])
            self._written, self._has_blocks = 0, True

    def _lines(self, text: str) -> list[Line]:
        """Return the lines of a block, after an empty one if others precede it."""
        lines = self._console.render_lines(_Block(text), pad=False)
        while lines and not _is_visible(lines[0]):
            lines.pop(0)
        while lines and not _is_visible(lines[-1]):
            lines.pop()
        return [[], *lines] if self._has_blocks else lines

    def _write(self, lines: list[Line]) -> None:
        if lines and self._live is not None:
            self._live.update("", refresh=True)
        if lines:
            self._console.print(_segments(lines), end="")


def _blocks(text: str) -> list[str]:
    """Return the blocks at the top level, such as paragraphs and lists; at least one."""
    lines = text.splitlines(keepends=True)
    tokens = (token for token in _PARSER.parse(text) if token.level == 0 and token.nesting >= 0)
    starts = [token.map[0] for token in tokens if token.map][1:]
    ends = [*starts, len(lines)]
    return ["".join(lines[start:end]) for start, end in zip([0, *starts], ends, strict=True)]


def _is_visible(line: Line) -> bool:
    return any(segment.text.strip() for segment in line)


def _segments(lines: list[Line], *, last_break: bool = True) -> Segments:
    found: list[Segment] = []
    for number, line in enumerate(lines):
        found += line
        if last_break or number < len(lines) - 1:
            found.append(Segment.line())
    return Segments(found)
