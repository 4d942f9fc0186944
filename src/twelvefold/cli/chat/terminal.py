"""A chat on a terminal.

Imported only by it: its libraries take a tenth of a second.
"""

from collections.abc import Iterable
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.history import DummyHistory
from rich.console import Console
from rich.status import Status
from rich.text import Text

from twelvefold.cli.chat.history import ChatHistory, history_file
from twelvefold.cli.chat.markdown import MarkdownStream
from twelvefold.cli.output import Style
from twelvefold.observe.escape import escape_prose, prose_escaper

__all__ = ["Terminal", "history_file"]
_RICH_STYLES: dict[Style, str] = {"good": "green", "bad": "red", "tool": "cyan"}


class Terminal:
    """A prompt with history and line editing, Markdown, and a spinner while work is in progress."""

    interactive = True

    def __init__(self, *, colour: bool, history_file: Path | None = None) -> None:
        self._console = Console(no_color=not colour, highlight=False)
        self._history = ChatHistory(history_file)
        self._messages: PromptSession[str] = PromptSession(history=self._history)
        self._answers: PromptSession[str] = PromptSession(history=DummyHistory())
        self._status: Status = self._console.status("", spinner="dots")
        self._markdown = MarkdownStream(self._console)
        self._busy = False
        self._escaper = prose_escaper()

    def write(self, text: str, style: Style = "") -> None:
        self._status.stop()
        escaped = self._escaper.feed(text)
        if style == "prose":
            self._markdown.feed(escaped)
            return
        self._markdown.end()
        styled = Text(escaped, style=_RICH_STYLES.get(style, style))
        self._console.print(styled, end="", overflow="fold")
        if self._busy and text.endswith("\n"):
            self._status.start()

    def show_busy(self, busy: bool) -> None:
        self._busy = busy
        if busy:
            self._status.start()
        else:
            self._status.stop()
            self._markdown.end()

    async def ask(self, prompt: str, *, is_message: bool = False) -> str | None:
        session = self._messages if is_message else self._answers
        try:
            return await session.prompt_async(prompt)
        except EOFError:
            return None

    def add_history(self, lines: Iterable[str]) -> None:
        self._markdown.end()
        self._history.add_earlier(map(escape_prose, lines))
