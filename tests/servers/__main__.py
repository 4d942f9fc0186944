"""A MariaDB for a command, or one that stays.

    python -m tests.servers run -- CMD…    CMD with DATABASE_URL set; the server ends with it
    python -m tests.servers start          a server that stays; prints its URL
    python -m tests.servers url            its URL, or exit 3
    python -m tests.servers stop           ends every server of this checkout
    python -m tests.servers wipe           and removes their data

A DATABASE_URL that is set is used as it is. Servers keep their data under `.services/` of the
checkout (or the directory TWELVEFOLD_SERVICES), listen on a free loopback port and run as the
current user, with default durability. Standard library only, so that `make` may call it early.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from tests.servers.home import Record, ServersError, end_servers, home, only_one, say
from tests.servers.mariadb import PrivateMariaDB


def _run(command: Sequence[str]) -> int:
    if not shutil.which(command[0]):
        raise ServersError(f"no program {command[0]}")
    if os.environ.get("DATABASE_URL"):
        os.execvp(command[0], list(command))  # noqa: S606 - the command is what the caller asked for
    _on_signals(_leave)
    end_servers(lambda record: record.orphaned)
    if standing := _standing():
        return _run_child(command, standing)
    directory = Path(tempfile.mkdtemp(prefix="run-", dir=home()))
    try:
        with PrivateMariaDB(directory) as server:
            say(f"MariaDB on 127.0.0.1:{server.port}")
            return _run_child(command, server.url)
    finally:
        end_servers(lambda record: record.owner == os.getpid() or record.orphaned)
        shutil.rmtree(directory, ignore_errors=True)


def _run_child(command: Sequence[str], url: str) -> int:
    child = subprocess.Popen(command, env={**os.environ, "DATABASE_URL": url})

    def forward(number: int, frame: FrameType | None) -> None:
        # Ctrl-C reaches the whole foreground group, so the child has had it already.
        if number == signal.SIGINT and _in_foreground():
            return
        child.send_signal(number)

    _on_signals(forward)
    code = child.wait()
    _on_signals(signal.SIG_IGN)  # nothing shall cut short the end of the server
    return 128 - code if code < 0 else code


def _on_signals(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handler)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _in_foreground() -> bool:
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except OSError:
        return False


def _standing_directory() -> Path:
    return home() / "standing"


def _standing() -> str | None:
    """The URL of the server that `start` left, if it lives."""
    directory = _standing_directory()
    if any(r.alive and r.directory == str(directory) for r in Record.all()):
        return (directory / "url").read_text()
    return None


def _start() -> str:
    if url := os.environ.get("DATABASE_URL") or _standing():
        return url
    with only_one("start"):
        server = PrivateMariaDB(_standing_directory(), owned=False)
        (_standing_directory() / "url").write_text(url := server.start())
    return url


def _remove_data() -> None:
    place = home()
    shutil.rmtree(_standing_directory(), ignore_errors=True)
    for directory in (*place.glob("run-*"), *place.glob("conformance-*")):
        shutil.rmtree(directory, ignore_errors=True)
    for lock in place.glob("*.lock"):
        lock.unlink(missing_ok=True)
    with suppress(OSError):  # something that is not ours is in it
        place.rmdir()


def main(arguments: Sequence[str]) -> int:
    match arguments:
        case ["run", "--", _, *_]:
            return _run(arguments[2:])
        case ["start"]:
            print(_start())
        case ["url"]:
            if not (url := os.environ.get("DATABASE_URL") or _standing()):
                return 3
            print(url)
        case ["stop"]:
            end_servers(lambda record: True)
        case ["wipe"]:
            end_servers(lambda record: True)
            _remove_data()
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ServersError as error:
        say(str(error))
        sys.exit(1)
