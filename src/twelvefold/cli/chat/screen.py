"""Where a conversation is shown and typed: a terminal, or plain standard input and output."""

import asyncio
import sys
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from twelvefold.cli.command import has_colour
from twelvefold.cli.output import Style, writer
from twelvefold.observe.escape import escape_prose, prose_escaper

if TYPE_CHECKING:
    from rich.status import Status


class Screen(Protocol):
    """`interactive` means that a person types, and sees what they type."""

    interactive: bool

    def write(self, text: str, style: Style = "") -> None:
        """Show text, escaped, without a line's end of its own."""
        ...

    def busy(self, working: bool) -> None:
        """Say whether something goes on that takes its time."""
        ...

    async def ask(self, prompt: str) -> str | None:
        """The next line; None after the last. Raises KeyboardInterrupt for Ctrl-C."""
        ...

    def remember(self, lines: Iterable[str]) -> None:
        """Put lines into the history that the arrow keys go through."""
        ...


def open_screen(environ: Mapping[str, str]) -> Screen:
    """The screen of this process."""
    if sys.stdin.isatty() and sys.stdout.isatty() and environ.get("TERM") != "dumb":
        return Terminal(colour=has_colour(sys.stdout, environ))
    return Plain(colour=has_colour(sys.stdout, environ))


class Plain:
    """Lines in, lines out; what was read is shown, too, so that the output is the whole talk."""

    interactive = False

    def __init__(self, *, colour: bool) -> None:
        self._write = writer(colour=colour)
        self._lines: asyncio.Queue[str | None] | None = None

    def write(self, text: str, style: Style = "") -> None:
        self._write(text, style)

    def busy(self, working: bool) -> None:
        """Nobody watches."""

    async def ask(self, prompt: str) -> str | None:
        if self._lines is None:
            self._lines = asyncio.Queue()
            reading = (asyncio.get_running_loop(), self._lines)
            # A daemon, since a thread that waits for a line cannot be asked to end.
            threading.Thread(target=_read_lines, args=reading, daemon=True).start()
        line = await self._lines.get()
        if line is None:
            # The end stays the end, however often it is asked for.
            self._lines.put_nowait(None)
        else:
            self.write(f"\n{prompt}{line}\n", "bold")
        return line

    def remember(self, lines: Iterable[str]) -> None:
        """There are no arrow keys."""


def _read_lines(loop: asyncio.AbstractEventLoop, lines: "asyncio.Queue[str | None]") -> None:
    # RuntimeError: the loop was closed while a line was on its way.
    with suppress(RuntimeError), open(0, "rb", closefd=False) as stdin:
        for line in stdin:
            text = line.decode(errors="surrogateescape").rstrip("\r\n")
            loop.call_soon_threadsafe(lines.put_nowait, text)
        loop.call_soon_threadsafe(lines.put_nowait, None)


_RICH: dict[Style, str] = {"good": "green", "bad": "red", "tool": "cyan"}


class Terminal:
    """A prompt with history and editing; a spinner while something goes on."""

    interactive = True

    def __init__(self, *, colour: bool) -> None:
        # Together they take a tenth of a second to import, so only a terminal pays for them.
        from prompt_toolkit import PromptSession
        from prompt_toolkit.history import InMemoryHistory
        from rich.console import Console

        self._console = Console(no_color=not colour, highlight=False, soft_wrap=True)
        self._history = InMemoryHistory()
        self._session: PromptSession[str] = PromptSession(history=self._history)
        self._status: Status = self._console.status("", spinner="dots")
        self._working = False
        self._escaper = prose_escaper()

    def write(self, text: str, style: Style = "") -> None:
        from rich.text import Text

        self._status.stop()
        shown = self._escaper.feed(text)
        self._console.print(Text(shown, style=_RICH.get(style, style)), end="")
        if self._working and text.endswith("\n"):
            self._status.start()

    def busy(self, working: bool) -> None:
        self._working = working
        if working:
            self._status.start()
        else:
            self._status.stop()

    async def ask(self, prompt: str) -> str | None:
        try:
            return await self._session.prompt_async(prompt)
        except EOFError:
            return None

    def remember(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._history.append_string(escape_prose(line))
