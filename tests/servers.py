"""Real MySQL for the tests: a MariaDB of this checkout's own, and others that a script starts.

    python -m tests.servers run -- CMD…    CMD with DATABASE_URL set; the server ends with it
    python -m tests.servers start          a server that stays; prints its URL
    python -m tests.servers url            its URL, or exit 3
    python -m tests.servers stop           ends every server of this checkout
    python -m tests.servers wipe           and removes their data

A DATABASE_URL that is set is used as it is. Servers keep their data under `.services/` of the
checkout (or the directory TWELVEFOLD_SERVICES), listen on a free loopback port and run as the
current user, with default durability. Standard library only, so that `make` may call it early.
"""

import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import NoReturn, Self

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("mariadb-server-core", "mariadb-client-core")  # the second has my_print_defaults
USER = DATABASE = "twelvefold"
START_S = 60.0
STOP_S = 60.0


class ServersError(Exception):
    """A server cannot be had; the message says what to do about it."""


class PrivateMariaDB:
    """One MariaDB with its data in `directory`, which its user may stop, kill and start again.

    The port is chosen at the first start and kept by this object, so that clients find the
    server again. `url` names a user who may do everything, databases included.
    """

    def __init__(self, directory: Path, *, owned: bool = True) -> None:
        self._directory = directory.resolve()
        self._owned = owned
        self._port: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        if self._port is None:
            raise ServersError("the server has not been started yet")
        return self._port

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ServersError("the server is not running")
        return self._process.pid

    @property
    def url(self) -> str:
        return f"mysql://{USER}:{self._password()}@127.0.0.1:{self.port}/{DATABASE}"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> str:
        """Start the server, making its data first if there are none, and return its URL."""
        if self.running:
            return self.url
        mariadbd, install_db = _programs()
        self._make_data(install_db)
        ports = [self._port] if self._port else [_free_port() for _ in range(3)]
        for port in ports:
            self._port = port
            if self._spawn(mariadbd, port):
                return self.url
        raise ServersError(f"MariaDB ended while starting; {self._log} ends:\n{self._log_tail()}")

    def stop(self) -> None:
        """Ask the server to end, and wait until it has."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server as a power cut would; what was committed is there at the next start."""
        self._end(signal.SIGKILL)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def _log(self) -> Path:
        return self._directory / "log"

    def _log_tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])

    def _password(self) -> str:
        return (self._directory / "password").read_text()

    def _make_data(self, install_db: str) -> None:
        data, unfinished = self._directory / "data", self._directory / "data.new"
        if data.exists():
            return
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.rmtree(unfinished, ignore_errors=True)
        password = secrets.token_hex(16)
        (self._directory / "password").write_text(password)
        (self._directory / "init.sql").write_text(
            f"CREATE DATABASE IF NOT EXISTS {DATABASE} CHARACTER SET utf8mb4;\n"
            f"CREATE USER IF NOT EXISTS '{USER}'@'%' IDENTIFIED BY '{password}';\n"
            f"GRANT ALL ON *.* TO '{USER}'@'%' WITH GRANT OPTION;\n"
        )
        command = [install_db, "--no-defaults", *_as_root(), f"--datadir={unfinished}"]
        command += ["--skip-test-db", "--skip-name-resolve"]
        with self._log.open("wb") as log:
            made = subprocess.run(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        if made.returncode != 0:
            raise ServersError(f"{install_db} failed; {self._log} ends:\n{self._log_tail()}")
        unfinished.rename(data)

    def _spawn(self, mariadbd: str, port: int) -> bool:
        """Start the server. False: it ended at once, most likely because the port is taken."""
        command = [mariadbd, "--no-defaults", *_as_root()]
        command += [f"--datadir={self._directory / 'data'}"]
        command += [f"--init-file={self._directory / 'init.sql'}"]
        # Relative to the data: a whole path may be longer than the 107 bytes of a socket's name.
        command += ["--socket=server.sock", "--pid-file=server.pid"]
        command += ["--bind-address=127.0.0.1", f"--port={port}", "--skip-name-resolve"]
        command += ["--innodb-flush-log-at-trx-commit=1", "--max-connections=500"]
        command += ["--character-set-server=utf8mb4", "--collation-server=utf8mb4_unicode_ci"]
        with self._log.open("ab") as log:
            # A session of its own: Ctrl-C is for the tests, which end before their database does.
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        _Record.of(self._process.pid, self._directory, owned=self._owned).write()
        deadline = time.monotonic() + START_S
        while self.running:
            if _greets(port):
                return True
            if time.monotonic() > deadline:
                self.kill()
                raise ServersError(
                    f"MariaDB is not ready after {START_S:.0f} s; {self._log} ends:\n"
                    f"{self._log_tail()}"
                )
            time.sleep(0.02)
        self._end(signal.SIGKILL)
        return False

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _Record.path(process.pid).unlink(missing_ok=True)


def mysql9() -> str:
    """The URL of a real MySQL 9, started when it is not running yet; it is left running."""
    return _shared_service("mysql")[-1]


def galera() -> list[str]:
    """The URLs of a Galera cluster's three nodes, started when it is not running yet."""
    return _shared_service("galera")


def llm() -> str:
    """The base URL of a tiny real model, started when it is not running yet; it is left running."""
    return _shared_service("llm")[-1]


def _shared_service(name: str) -> list[str]:
    shared = Path(os.environ.get("TWELVEFOLD_SHARED") or ROOT.parent / "shared")
    script = shared / "services" / name
    if not script.exists():
        raise ServersError(
            f"no script {script} to start {name}; TWELVEFOLD_SHARED says where services/ is"
        )
    started = subprocess.run([script, "start"], stdout=subprocess.PIPE, text=True)
    if started.returncode != 0:
        raise ServersError(f"{script} start: exit {started.returncode}")
    return started.stdout.split()


def _programs() -> tuple[str, str]:
    found = _find_programs()
    if not found:
        with _only_one("install"):
            found = _find_programs() or _install()
    return found


def _find_programs() -> tuple[str, str] | None:
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/bin"])
    mariadbd = shutil.which("mariadbd", path=places)
    install_db = shutil.which("mariadb-install-db", path=places)
    helper = shutil.which("my_print_defaults", path=places)  # mariadb-install-db calls it
    return (mariadbd, install_db) if mariadbd and install_db and helper else None


def _install() -> tuple[str, str]:
    names = " ".join(PACKAGES)
    if not shutil.which("apt-get"):
        raise ServersError("MariaDB is missing: install its server, or set DATABASE_URL")
    become = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if become and not _may_sudo():
        raise ServersError(
            "MariaDB is missing and only root may install it:"
            f" run `sudo apt-get install {names}`, or set DATABASE_URL"
        )
    _say(f"installing {names}")
    apt = [*become, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]
    # An index that cannot be brought up to date may still have the packages.
    for command in (["update"], ["install", "-y", "--no-install-recommends", *PACKAGES]):
        done = subprocess.run(
            [*apt, "-o", "DPkg::Lock::Timeout=300", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    found = _find_programs()
    if done.returncode != 0 or not found:
        _say("apt-get says:\n" + "\n".join(done.stdout.splitlines()[-15:]))
        raise ServersError(
            f"apt-get could not install {names}; install MariaDB or set DATABASE_URL"
        )
    return found


def _may_sudo() -> bool:
    if not shutil.which("sudo"):
        return False
    return subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0


def _as_root() -> list[str]:
    return ["--user=root"] if os.geteuid() == 0 else []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _greets(port: int) -> bool:
    """Whether a server speaks: MySQL says its version first, once it takes connections."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as client:
            return client.recv(1) != b""
    except OSError:
        return False


def _home() -> Path:
    home = Path(os.environ.get("TWELVEFOLD_SERVICES") or ROOT / ".services").resolve()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return home


@contextmanager
def _only_one(at: str) -> Iterator[None]:
    with (_home() / f"{at}.lock").open("w") as lock:
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
class _Record:
    """A server that runs, on disk: whoever comes after a killed owner finds and ends it."""

    pid: int
    born: str | None
    directory: str
    owner: int | None
    owner_born: str | None

    @staticmethod
    def path(pid: int) -> Path:
        return _home() / f"{pid}.json"

    @classmethod
    def of(cls, pid: int, directory: Path, *, owned: bool) -> "_Record":
        owner = os.getpid() if owned else None
        return cls(pid, _born(pid), str(directory), owner, _born(owner) if owner else None)

    @classmethod
    def all(cls) -> Iterator["_Record"]:
        for path in _home().glob("*.json"):
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
        if Path(self.directory).parent == _home() and self.owner is not None:
            shutil.rmtree(self.directory, ignore_errors=True)
        self.path(self.pid).unlink(missing_ok=True)


def _end_servers(which: Callable[[_Record], bool]) -> None:
    for record in _Record.all():
        if which(record) or not record.alive:
            record.end()


def _run(command: Sequence[str]) -> int:
    if not shutil.which(command[0]):
        raise ServersError(f"no program {command[0]}")
    if os.environ.get("DATABASE_URL"):
        os.execvp(command[0], list(command))  # noqa: S606 - the command is what the caller asked for
    _on_signals(_leave)
    _end_servers(lambda record: record.orphaned)
    if standing := _standing():
        return _run_child(command, standing)
    directory = Path(tempfile.mkdtemp(prefix="run-", dir=_home()))
    try:
        with PrivateMariaDB(directory) as server:
            _say(f"MariaDB on 127.0.0.1:{server.port}")
            return _run_child(command, server.url)
    finally:
        _end_servers(lambda record: record.owner == os.getpid() or record.orphaned)
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
    return _home() / "standing"


def _standing() -> str | None:
    """The URL of the server that `start` left, if it lives."""
    directory = _standing_directory()
    if any(r.alive and r.directory == str(directory) for r in _Record.all()):
        return (directory / "url").read_text()
    return None


def _start() -> str:
    if url := os.environ.get("DATABASE_URL") or _standing():
        return url
    with _only_one("start"):
        server = PrivateMariaDB(_standing_directory(), owned=False)
        (_standing_directory() / "url").write_text(url := server.start())
    return url


def _remove_data() -> None:
    home = _home()
    shutil.rmtree(_standing_directory(), ignore_errors=True)
    for directory in home.glob("run-*"):
        shutil.rmtree(directory, ignore_errors=True)
    for lock in home.glob("*.lock"):
        lock.unlink(missing_ok=True)
    with suppress(OSError):  # something that is not ours is in it
        home.rmdir()


def _say(words: str) -> None:
    print(f"servers: {words}", file=sys.stderr, flush=True)


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
            _end_servers(lambda record: True)
        case ["wipe"]:
            _end_servers(lambda record: True)
            _remove_data()
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ServersError as error:
        _say(str(error))
        sys.exit(1)
