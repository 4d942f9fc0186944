"""The source of two releases, and their processes on one database."""

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from tests.acceptance.crash import ENTRY_POINT, ROOT, Process
from tests.ports import free_port

BEFORE = "d009e0a"
"""The last commit with schema 0005: the release before waits, sub-workflows and typed output."""
LEASE_S = 2.0


def extract_source(directory: Path) -> Path:
    """Write the source of `BEFORE`; return its `src`. Raises LookupError without the history."""
    archive = directory / "before.tar"
    done = subprocess.run(
        ["git", "archive", "--output", archive, BEFORE, "src"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise LookupError(
            f"this checkout has no commit {BEFORE}, the release that is upgraded: clone the whole "
            f"history, or run `git fetch --unshallow` ({done.stderr.strip()})"
        )
    subprocess.run(["tar", "-xf", archive, "-C", directory], check=True)
    return directory / "src"


@dataclass
class Started:
    """A process and the file that its output goes to."""

    process: Process
    log: Path
    port: int = 0

    async def end(self, how: signal.Signals) -> int:
        if self.process.returncode is None:
            self.process.send_signal(how)
        return await self.process.wait()

    def count(self, event: str) -> int:
        """How often the log has an event; the last line of a killed process may be cut off."""
        return self.log.read_text().count(f'"event": "{event}"')

    async def probe(self) -> tuple[int, str]:
        """Return the status and the body of `/readyz`."""
        async with httpx2.AsyncClient() as client:
            answer = await client.get(f"http://127.0.0.1:{self.port}/readyz")
        return answer.status_code, answer.text


@dataclass
class ReleaseProcesses:
    """Starts processes of one release; `source` is "" for the one under test."""

    name: str
    source: str
    settings: dict[str, str]
    logs: Path
    started: list[Started] = field(default_factory=list)

    async def worker(self, workflows: str) -> Started:
        return await self._start("worker", {"WORKFLOWS": workflows})

    async def web(self, workflows: str) -> Started:
        """Start web; return when it takes requests."""
        port = free_port()
        web = await self._start("web", {"WORKFLOWS": workflows, "PORT": str(port)}, port)
        while web.process.returncode is None:
            try:
                await web.probe()
                break
            except httpx2.HTTPError:
                await asyncio.sleep(0.05)
        assert web.process.returncode is None, web.log.read_text()
        return web

    async def run(self, *command: str, workflows: str) -> tuple[int, str]:
        """Run a command to its end; return its status and all output."""
        return await self._finish(["-c", ENTRY_POINT, *command], {"WORKFLOWS": workflows})

    async def run_module(self, module: str, *arguments: str, workflows: str = "") -> str:
        """Run a module of these tests with this release; return its output."""
        name = f"tests.acceptance.upgrade.{module}"
        status, text = await self._finish(["-m", name, *arguments], {"WORKFLOWS": workflows})
        assert status == 0, text
        return text

    async def close(self) -> None:
        for one in self.started:
            await one.end(signal.SIGKILL)

    async def _start(self, command: str, settings: dict[str, str], port: int = 0) -> Started:
        log = self.logs / f"{self.name}-{command}-{len(self.started)}.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", ENTRY_POINT, command),
                env=self._environment(settings),
                cwd=self.logs,
                stdout=output,
                stderr=output,
            )
        self.started.append(started := Started(process, log, port))
        return started

    async def _finish(self, arguments: list[str], settings: dict[str, str]) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *arguments),
            env=self._environment(settings),
            cwd=self.logs,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode()

    def _environment(self, settings: dict[str, str]) -> dict[str, str]:
        paths = (self.source, str(ROOT), *sys.path)
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
            "OPENAI_MODEL": "mock",
            "LEASE_S": f"{LEASE_S:g}",
            "GRACE_S": "10",
            "MAX_RUNS": "6",
            "DATABASE_POOL_SIZE": "6",
            "RELEASE_ID": self.name,
            **self.settings,
            **settings,
        }
