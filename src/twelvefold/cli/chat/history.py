"""The messages that were typed in chats, for the arrow keys. Imported by a chat on a terminal."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from prompt_toolkit.history import FileHistory, History

MAX_BYTES = 1 << 20
FILE_NAME = "chat-history"


class ChatHistory(History):
    """Messages of a file, and of the conversation that is continued. Only new ones are stored.

    Without a file, or if it cannot be used, messages are kept until the process ends.
    """

    def __init__(self, file: Path | None) -> None:
        super().__init__()
        self._file = FileHistory(str(file)) if file and _prepare(file) else None
        self._earlier: list[str] = []

    def add_earlier(self, lines: Iterable[str]) -> None:
        """Add the messages of a conversation, oldest first, before the first prompt."""
        self._earlier += lines

    def load_history_strings(self) -> Iterator[str]:
        """Yield the messages, newest first."""
        yield from reversed(self._earlier)
        if self._file:
            yield from self._file.load_history_strings()

    def store_string(self, string: str) -> None:
        if self._file:
            with suppress(OSError):  # a full disk does not end a chat
                self._file.store_string(string)


def history_file(environ: Mapping[str, str]) -> Path | None:
    """Return the file in the user's state directory; None without a home directory.

    Source: XDG Base Directory Specification.
    """
    given, home = environ.get("XDG_STATE_HOME", ""), environ.get("HOME", "")
    if given.startswith("/"):
        return Path(given) / "twelvefold" / FILE_NAME
    return Path(home) / ".local" / "state" / "twelvefold" / FILE_NAME if home else None


def _prepare(file: Path) -> bool:
    """Create the file for the user alone and shorten it. Return whether it can be used."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
        file.chmod(0o600)
        if file.stat().st_size > MAX_BYTES:
            _drop_older_half(file)
    except OSError:
        return False
    return True


def _drop_older_half(file: Path) -> None:
    entries = file.read_bytes()[-MAX_BYTES // 2 :].partition(b"\n\n#")[2]
    shorter = file.with_suffix(".new")
    shorter.touch(0o600)
    shorter.write_bytes(b"\n#" + entries)
    shorter.replace(file)
