"""Input and output of a chat: a terminal, or plain standard input and output."""

import asyncio
import sys
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from twelvefold.cli.command import has_colour
from twelvefold.cli.output import Style, stdout_writer
from twelvefold.observe.escape import escape_prose, prose_escaper

if TYPE_CHECKING:
    from rich.status import Status


class Screen(Protocol):
    """Input and output of a chat. `interactive`: a person types, and the terminal echoes it."""

    interactive: bool

    def write(self, text: str, style: Style = "") -> None:
        """Write text, escaped, without a newline."""
        ...

    def show_busy(self, busy: bool) -> None:
        """Show or hide that work is in progress."""
        ...

    async def ask(self, prompt: str) -> str | None:
        """Return the next line, or None after the last. Raises KeyboardInterrupt for Ctrl-C."""
        ...

    def add_history(self, lines: Iterable[str]) -> None:
        """Add lines to the history of the prompt."""
        ...


def open_screen(environ: Mapping[str, str]) -> Screen:
    """Return the screen of this process."""
    if sys.stdin.isatty() and sys.stdout.isatty() and environ.get("TERM") != "dumb":
        return Terminal(colour=has_colour(sys.stdout, environ))
    return Pipe(colour=has_colour(sys.stdout, environ))


class Pipe:
    """Lines in, lines out. Input is echoed, so that the output has the whole conversation."""

    interactive = False

    def __init__(self, *, colour: bool) -> None:
        self._write = stdout_writer(colour=colour)
        self._lines: asyncio.Queue[str | None] | None = None

    def write(self, text: str, style: Style = "") -> None:
        self._write(text, style)

    def show_busy(self, busy: bool) -> None:
        """Do nothing: a pipe has no spinner."""

    async def ask(self, prompt: str) -> str | None:
        if self._lines is None:
            self._lines = asyncio.Queue()
            arguments = (asyncio.get_running_loop(), self._lines)
            # A daemon thread: a thread that waits for a line cannot be stopped.
            threading.Thread(target=_read_lines, args=arguments, daemon=True).start()
        line = await self._lines.get()
        if line is None:
            self._lines.put_nowait(None)  # for the next call
        else:
            self.write(f"\n{prompt}{line}\n", "bold")
        return line

    def add_history(self, lines: Iterable[str]) -> None:
        """Do nothing: a pipe has no history."""


def _read_lines(loop: asyncio.AbstractEventLoop, lines: "asyncio.Queue[str | None]") -> None:
    # RuntimeError: the loop was closed meanwhile.
    with suppress(RuntimeError), open(0, "rb", closefd=False) as stdin:
        for line in stdin:
            text = line.decode(errors="surrogateescape").rstrip("\r\n")
            loop.call_soon_threadsafe(lines.put_nowait, text)
        loop.call_soon_threadsafe(lines.put_nowait, None)


_RICH_STYLES: dict[Style, str] = {"good": "green", "bad": "red", "tool": "cyan"}


class Terminal:
    """A prompt with history and line editing, and a spinner while work is in progress."""

    interactive = True

    def __init__(self, *, colour: bool) -> None:
        # Importing these takes a tenth of a second, which only a terminal needs to spend.
        from prompt_toolkit import PromptSession
        from prompt_toolkit.history import InMemoryHistory
        from rich.console import Console

        self._console = Console(no_color=not colour, highlight=False, soft_wrap=True)
        self._history = InMemoryHistory()
        self._session: PromptSession[str] = PromptSession(history=self._history)
        self._status: Status = self._console.status("", spinner="dots")
        self._busy = False
        self._escaper = prose_escaper()

    def write(self, text: str, style: Style = "") -> None:
        from rich.text import Text

        self._status.stop()
        escaped = self._escaper.feed(text)
        self._console.print(Text(escaped, style=_RICH_STYLES.get(style, style)), end="")
        if self._busy and text.endswith("\n"):
            self._status.start()

    def show_busy(self, busy: bool) -> None:
        self._busy = busy
        if busy:
            self._status.start()
        else:
            self._status.stop()

    async def ask(self, prompt: str) -> str | None:
        try:
            return await self._session.prompt_async(prompt)
        except EOFError:
            return None

    def add_history(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._history.append_string(escape_prose(line))
