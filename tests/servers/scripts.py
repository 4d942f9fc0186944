"""Servers that a script of `TWELVEFOLD_SHARED` starts; they are left running."""

import os
import signal
import subprocess
import tempfile
from pathlib import Path

from tests.servers.home import ROOT, ServersError


def mysql9() -> str:
    """The URL of a real MySQL 9, started when it is not running yet; it is left running."""
    return _shared_service("mysql")[-1]


def galera() -> list[str]:
    """The URLs of a Galera cluster's three nodes, started when it is not running yet."""
    return _shared_service("galera")


def llm() -> str:
    """The base URL of a tiny real model, started when it is not running yet; it is left running."""
    return _shared_service("llm")[-1]


class RabbitMQ:
    """A real RabbitMQ, started when it is not running yet; it is left running."""

    def __init__(self) -> None:
        self.url = self.start()

    def start(self) -> str:
        return _shared_service("rabbitmq")[-1]

    def kill(self) -> None:
        """End the broker as a power cut would; quorum queues are there at the next start."""
        os.killpg(int((_services_home() / "rabbitmq" / "pid").read_text()), signal.SIGKILL)

    def control(self, *arguments: str) -> str:
        """What rabbitmqctl prints."""
        script = _shared() / "services" / "rabbitmq"
        return subprocess.run(
            [script, "ctl", *arguments], stdout=subprocess.PIPE, text=True, check=True
        ).stdout


def smtp() -> tuple[str, Path]:
    """The URL of a mail server, started when it is not running yet, and the maildir it fills."""
    return _shared_service("smtp")[-1], _services_home() / "smtp" / "maildir"


def _services_home() -> Path:
    home = os.environ.get("SERVICES_HOME")
    return Path(home) if home else Path(tempfile.gettempdir()) / "twelve-services"


def _shared() -> Path:
    return Path(os.environ.get("TWELVEFOLD_SHARED") or ROOT.parent / "shared")


def _shared_service(name: str) -> list[str]:
    shared = _shared()
    script = shared / "services" / name
    if not shared.exists() and "PYTEST_CURRENT_TEST" in os.environ:
        import pytest

        pytest.skip(f"no {shared}, which has what starts {name}")
    if not script.exists():
        raise ServersError(
            f"no script {script} to start {name}; TWELVEFOLD_SHARED says where services/ is"
        )
    started = subprocess.run([script, "start"], stdout=subprocess.PIPE, text=True)
    if started.returncode != 0:
        raise ServersError(f"{script} start: exit {started.returncode}")
    return started.stdout.split()
