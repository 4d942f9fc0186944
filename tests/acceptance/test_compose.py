"""The service of compose.yaml, started as it says, but as processes of this machine."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.ci.workflow import ROOT, read
from tests.ports import free_port
from tests.servers import PrivateMariaDB

SERVICES: dict[str, Any] = read(ROOT / "compose.yaml")["services"]
READY_S = 240.0
CHECKS = 20
pytestmark = pytest.mark.mysql


class Composed:
    """The containers of ours, with a MariaDB in place of the container `mysql`.

    Its user and database have the names that compose.yaml gives them; the rest of an address, and
    the port that a container has for itself, are this machine's.
    """

    def __init__(self, server: PrivateMariaDB) -> None:
        self._port = str(free_port())
        self._server = server

    def environ(self, name: str) -> dict[str, str]:
        dotenv = {"DATABASE_PASSWORD": urlsplit(self._server.url).password or ""}
        given = {
            key: re.sub(r"\$\{(\w+):.*\}", lambda found: dotenv.get(found[1], ""), value)
            for key, value in SERVICES[name]["environment"].items()
        }
        return given | {
            "MYSQL_HOST": "127.0.0.1",
            "MYSQL_PORT": str(self._server.port),
            "HOST": "0.0.0.0",  # noqa: S104 - as the image has it
            "PORT": self._port,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }

    def done(self, name: str, *command: str) -> str:
        """`compose run --rm NAME`, with the service's own command unless another is given."""
        words = ["twelvefold", *(command or SERVICES[name]["command"])]
        environ = self.environ(name)
        return subprocess.run(
            words, env=environ, check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    @contextmanager
    def up(self, name: str, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
        with log.open("wb") as out:
            command = ["twelvefold", *SERVICES[name]["command"]]
            process = subprocess.Popen(command, env=self.environ(name), stdout=out)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def healthy(self, name: str) -> bool:
        """What its health check says, with the port that it has here."""
        _, *command = SERVICES[name]["healthcheck"]["test"]
        here = [word.replace("127.0.0.1:8000", f"127.0.0.1:{self._port}") for word in command]
        return subprocess.run(here, env=self.environ(name), capture_output=True).returncode == 0

    def becomes_healthy(self, name: str) -> bool:
        """Repeat its health check, as its timeout may be too short for a busy machine."""
        return any(self.healthy(name) for _ in range(CHECKS))


@pytest.fixture
def composed(tmp_path: Path) -> Iterator[Composed]:
    with PrivateMariaDB(tmp_path / "mysql") as server:
        yield Composed(server)


def logged(log: Path, event: str, process: "subprocess.Popen[bytes]") -> bool:
    """Waits until it is. False: the process ended without."""
    deadline = time.monotonic() + READY_S
    while f'"{event}"' not in log.read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_the_processes_of_compose_work_in_their_order(composed: Composed, tmp_path: Path) -> None:
    web_log, worker_log = tmp_path / "web.log", tmp_path / "worker.log"
    composed.done("migrate")
    with composed.up("web", web_log) as early:
        assert early.wait(READY_S) == 2, "before a key is made nobody may be let in"
    composed.done("migrate", "keys", "create", "site")

    with composed.up("web", web_log) as web, composed.up("worker", worker_log) as worker:
        assert logged(web_log, "web_ready", web), web_log.read_text()
        assert logged(worker_log, "worker_started", worker), worker_log.read_text()
        assert composed.becomes_healthy("web")
        for process in (web, worker):
            process.send_signal(signal.SIGTERM)
        assert [web.wait(READY_S), worker.wait(READY_S)] == [0, 0]
    assert not composed.healthy("web")
