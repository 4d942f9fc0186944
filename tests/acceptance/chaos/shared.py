"""Services that are not in the repository: clusters and a broker, by scripts beside it."""

import asyncio
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.home import ROOT, ServersError

STOPPED = 3
"""The exit status of `status` where the service does not run."""


def script_of(service: str) -> Path:
    shared = Path(os.environ.get("TWELVEFOLD_SHARED") or ROOT.parent / "shared")
    return shared / "services" / service


@dataclass
class SharedService:
    """A service that a script starts; it is stopped at the end unless it ran before.

    `urls` names its servers, from the start on.
    """

    name: str
    urls: list[str] = field(default_factory=list)
    _ran_before: bool = False

    @property
    def missing(self) -> str:
        return "" if script_of(self.name).exists() else f"no server: no script for {self.name}"

    def start(self) -> None:
        self._ran_before = self._run("status").returncode != STOPPED
        started = self._run("start")
        # The last lines are the URLs. The exit status is not used: `group` ends with 1 after them.
        self.urls = [one for one in started.stdout.split() if "://" in one]
        if not self.urls:
            raise ServersError(f"{self.name} start: exit {started.returncode}\n{started.stderr}")

    def stop(self) -> None:
        if not self._ran_before:
            self.command("stop")

    def command(self, *arguments: str) -> str:
        """Run the script; return its output. Raises ServersError."""
        done = self._run(*arguments)
        if done.returncode != 0:
            text = f"{self.name} {' '.join(arguments)}: exit {done.returncode}"
            raise ServersError(f"{text}\n{done.stderr}")
        return done.stdout

    async def attempt(self, *arguments: str) -> None:
        """Run the script and ignore its exit status."""
        await asyncio.to_thread(self._run, *arguments)

    async def do(self, *arguments: str) -> None:
        await asyncio.to_thread(self.command, *arguments)

    def _run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command: Sequence[str | Path] = (script_of(self.name), *arguments)
        return subprocess.run(command, capture_output=True, text=True)


class Cluster(SharedService):
    """A database of several servers, one after the other in its URL.

    Node 1 is the first of them. `session` makes a session read what another server has committed.
    """

    def __init__(self, name: str, session: str) -> None:
        super().__init__(name)
        self.session = session

    @property
    def nodes(self) -> list[str]:
        """The URL of each node, in the order of their numbers, which is that of the ports."""
        return sorted(self.urls)

    @property
    def url(self) -> str:
        """One URL with all servers."""
        first, *others = self.nodes
        head, _, tail = first.rpartition("/")
        hosts = [one.rpartition("/")[0].rpartition("@")[2] for one in others]
        return f"{','.join([head, *hosts])}/{tail}"
