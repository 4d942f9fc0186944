"""Input and output of a chat: a terminal, or plain standard input and output."""

import asyncio
import sys
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Protocol

from twelvefold.cli.command import has_colour
from twelvefold.cli.output import Style, stdout_writer


class Screen(Protocol):
    """Input and output of a chat. `interactive`: a person types, and the terminal echoes it."""

    interactive: bool

    def write(self, text: str, style: Style = "") -> None:
        """Write text, escaped, without a newline."""
        ...

    def show_busy(self, busy: bool) -> None:
        """Show or hide that work is in progress."""
        ...

    async def ask(self, prompt: str, *, is_message: bool = False) -> str | None:
        """Return the next line, or None after the last. Raises KeyboardInterrupt for Ctrl-C.

        Only messages are added to the history of the prompt.
        """
        ...

    def add_history(self, lines: Iterable[str]) -> None:
        """Add lines to the history of the prompt."""
        ...


def open_screen(environ: Mapping[str, str], *, keeps_history: bool = True) -> Screen:
    """Return the screen of this process. `keeps_history`: messages are stored for later chats."""
    if sys.stdin.isatty() and sys.stdout.isatty() and environ.get("TERM") != "dumb":
        from twelvefold.cli.chat.terminal import Terminal, history_file

        file = history_file(environ) if keeps_history else None
        return Terminal(colour=has_colour(sys.stdout, environ), history_file=file)
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

    async def ask(self, prompt: str, *, is_message: bool = False) -> str | None:
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
