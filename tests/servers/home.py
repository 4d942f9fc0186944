"""Where servers keep their data, and a record on disk of each that runs.

Whoever comes after an owner that was killed finds its server by the record, and ends it.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STOP_S = 60.0


class ServersError(Exception):
    """A server cannot be had; the message says what to do about it."""


def say(words: str) -> None:
    print(f"servers: {words}", file=sys.stderr, flush=True)


def home() -> Path:
    home = Path(os.environ.get("TWELVEFOLD_SERVICES") or ROOT / ".services").resolve()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return home


@contextmanager
def only_one(at: str) -> Iterator[None]:
    with (home() / f"{at}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _born(pid: int) -> str | None:
    """When the process began, as the system tells it. None: it is gone, or dead."""
    if Path("/proc/self/stat").exists():
        try:
            state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        born = fields[18]  # proc(5): starttime, in ticks since the machine started
    else:
        ps = ["ps", "-o", "stat=", "-o", "lstart=", "-p", str(pid)]
        listed = subprocess.run(ps, stdout=subprocess.PIPE, text=True).stdout.split(maxsplit=1)
        state, born = listed if listed else ("X", "")
    return None if state[0] in "ZX" else born


@dataclass(frozen=True)
class Record:
    """A server that runs, on disk: whoever comes after a killed owner finds and ends it."""

    pid: int
    born: str | None
    directory: str
    owner: int | None
    owner_born: str | None

    @staticmethod
    def path(pid: int) -> Path:
        return home() / f"{pid}.json"

    @classmethod
    def of(cls, pid: int, directory: Path, *, owned: bool) -> "Record":
        owner = os.getpid() if owned else None
        return cls(pid, _born(pid), str(directory), owner, _born(owner) if owner else None)

    @classmethod
    def all(cls) -> Iterator["Record"]:
        for path in home().glob("*.json"):
            with suppress(OSError, ValueError):  # another process has just removed or begun it
                yield cls(**json.loads(path.read_text()))

    def write(self) -> None:
        self.path(self.pid).write_text(json.dumps(vars(self)))

    @property
    def alive(self) -> bool:
        """Whether the very process that was started lives, not another with its number."""
        return self.born is not None and _born(self.pid) == self.born

    @property
    def orphaned(self) -> bool:
        return self.owner is not None and _born(self.owner) != self.owner_born

    def end(self) -> None:
        """End the server, and remove data that were a `run`'s own."""
        for how in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                if self.alive:
                    os.kill(self.pid, how)
            deadline = time.monotonic() + STOP_S
            while self.alive and time.monotonic() < deadline:
                time.sleep(0.02)
        if Path(self.directory).parent == home() and self.owner is not None:
            shutil.rmtree(self.directory, ignore_errors=True)
        self.path(self.pid).unlink(missing_ok=True)


def end_servers(which: Callable[[Record], bool]) -> None:
    for record in Record.all():
        if which(record) or not record.alive:
            record.end()
