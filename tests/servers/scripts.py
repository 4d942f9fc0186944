"""Servers that a script of `TWELVEFOLD_SHARED` starts; they are left running."""

import os
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
    """The URLs of three nodes of Group Replication, all of them primaries."""
    urls = _shared_service("group")
    subprocess.run([_script("group"), "mode", "multi"], stdout=subprocess.DEVNULL, check=True)
    return urls


def llm() -> str:
    """The base URL of a tiny real model, started when it is not running yet; it is left running."""
    return _shared_service("llm")[-1]


def smtp() -> tuple[str, Path]:
    """The URL of a mail server, started when it is not running yet, and the maildir it fills."""
    home = os.environ.get("SERVICES_HOME") or Path(tempfile.gettempdir()) / "twelve-services"
    return _shared_service("smtp")[-1], Path(home) / "smtp" / "maildir"


def _shared_service(name: str) -> list[str]:
    script = _script(name)
    shared = script.parents[1]
    if not shared.exists() and "PYTEST_CURRENT_TEST" in os.environ:
        import pytest

        pytest.skip(f"no {shared}, which has what starts {name}")
    if not script.exists():
        raise ServersError(
            f"no script {script} to start {name}; TWELVEFOLD_SHARED says where services/ is"
        )
    started = subprocess.run([script, "start"], stdout=subprocess.PIPE, text=True)
    if started.returncode != 0 and not started.stdout:
        raise ServersError(f"{script} start: exit {started.returncode}")
    return started.stdout.split()


def _script(name: str) -> Path:
    shared = Path(os.environ.get("TWELVEFOLD_SHARED") or ROOT.parent / "shared")
    return shared / "services" / name
