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


def group() -> list[str]:
    """The URLs of the three servers of a MySQL group, the primary first; started when needed."""
    return _shared_service("group")


def kill_node(cluster: str, number: int) -> None:
    """End a node of `galera` or `group` as a power cut would. Nodes count from 1."""
    _control(cluster, "kill", str(number))


def freeze_node(cluster: str, number: int) -> None:
    """Stop a node of `galera` or `group` without ending it: it no longer responds."""
    pid = _home() / cluster / str(number) / "pid"
    os.kill(int(pid.read_text()), signal.SIGSTOP)


def join_node(cluster: str, *numbers: int) -> None:
    """Start nodes that were killed; returns when they are part of the cluster again."""
    _control(cluster, "join", *map(str, numbers))


def switch_group(mode: str) -> None:
    """Let the group have a "single" primary, or "multi": every member is one."""
    _control("group", "mode", mode)


def _control(cluster: str, *arguments: str) -> None:
    script = _shared() / "services" / cluster
    done = subprocess.run([script, *arguments], stdout=subprocess.DEVNULL)
    if done.returncode != 0:
        raise ServersError(f"{script} {' '.join(arguments)}: exit {done.returncode}")


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
        os.killpg(int((_home() / "rabbitmq" / "pid").read_text()), signal.SIGKILL)


def smtp() -> tuple[str, Path]:
    """The URL of a mail server, started when it is not running yet, and the maildir it fills."""
    return _shared_service("smtp")[-1], _home() / "smtp" / "maildir"


def _home() -> Path:
    return Path(os.environ.get("SERVICES_HOME") or Path(tempfile.gettempdir()) / "twelve-services")


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
    # A script that has printed the URLs has started its servers, also if its last command fails.
    if started.returncode != 0 and not started.stdout:
        raise ServersError(f"{script} start: exit {started.returncode}")
    return started.stdout.split()
