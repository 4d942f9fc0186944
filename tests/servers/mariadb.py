"""One MariaDB of this checkout's own: made, started, stopped, killed."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.ports import free_port
from tests.servers.home import STOP_S, Record, ServersError
from tests.servers.install import programs

USER = DATABASE = "twelvefold"
START_S = 240.0


class PrivateMariaDB:
    """One MariaDB with its data in `directory`, which its user may stop, kill and start again.

    The port is chosen at the first start and kept by this object, so that clients find the
    server again. `url` names a user who may do everything, databases included. `options` are
    given to the server, and when its data are made.
    """

    def __init__(self, directory: Path, *, owned: bool = True, options: Sequence[str] = ()) -> None:
        self._directory = directory.resolve()
        self._owned = owned
        self._options = tuple(options)
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
        mariadbd, install_db = programs()
        self._make_data(install_db)
        ports = [self._port] if self._port else [free_port() for _ in range(3)]
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

    def _own_tmp(self) -> Path:
        """Of its own: a server that starts removes the temporary tables that it finds there."""
        tmp = self._directory / "tmp"
        tmp.mkdir(exist_ok=True)
        return tmp

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
        # Relative, since it is a script that takes a path with a space in it for two.
        command = [install_db, "--no-defaults", *as_root(), f"--datadir=./{unfinished.name}"]
        command += ["--skip-test-db", "--skip-name-resolve", *self._options]
        environment = {**os.environ, "TMPDIR": str(self._own_tmp())}
        with self._log.open("wb") as log:
            made = subprocess.run(
                command,
                cwd=self._directory,
                env=environment,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        if made.returncode != 0:
            raise ServersError(f"{install_db} failed; {self._log} ends:\n{self._log_tail()}")
        unfinished.rename(data)

    def _spawn(self, mariadbd: str, port: int) -> bool:
        """Start the server. False: it ended at once, most likely because the port is taken."""
        command = [mariadbd, "--no-defaults", *as_root()]
        command += [f"--datadir={self._directory / 'data'}"]
        command += [f"--init-file={self._directory / 'init.sql'}"]
        command += [f"--tmpdir={self._own_tmp()}"]
        # Relative to the data: a whole path may be longer than the 107 bytes of a socket's name.
        command += ["--socket=server.sock", "--pid-file=server.pid"]
        command += ["--bind-address=127.0.0.1", f"--port={port}", "--skip-name-resolve"]
        command += ["--innodb-flush-log-at-trx-commit=1", "--max-connections=500"]
        command += ["--character-set-server=utf8mb4", "--collation-server=utf8mb4_unicode_ci"]
        command += self._options
        with self._log.open("ab") as log:
            # A session of its own: Ctrl-C is for the tests, which end before their database does.
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        Record.of(self._process.pid, self._directory, owned=self._owned).write()
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
        Record.path(process.pid).unlink(missing_ok=True)


def as_root() -> list[str]:
    return ["--user=root"] if os.geteuid() == 0 else []


def _greets(port: int) -> bool:
    """Whether a server speaks: MySQL says its version first, once it takes connections."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as client:
            return client.recv(1) != b""
    except OSError:
        return False
