"""Processes of the installed release. They inherit no environment variables of this process."""

import asyncio
import itertools
import json
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from twelvefold.factors.harness.http_client import HTTPClient
from twelvefold.factors.harness.machine_load import MachineLoad

EXIT_BAD_SETTINGS = 2
EXIT_TRY_AGAIN = 75
READY_TIMEOUT_S = 60.0
EXIT_TIMEOUT_S = 60.0
HTTP_TIMEOUT_S = 60.0
FIRST_PORT, LAST_PORT = 20_000, 32_000
"""Below Linux's default `ip_local_port_range`: no connection and no port 0 gets one of these."""
AUDIT_HOOK = Path(__file__).with_name("audit_hook.py")
_PYTHONPATH = "PYTHONPATH"


class ReleaseProcesses:
    """Starts commands of the release; `close` kills those that still run."""

    def __init__(self, environ: Mapping[str, str], directory: Path, load: MachineLoad) -> None:
        self._environ = {"PATH": ""}
        if search_path := environ.get(_PYTHONPATH):
            # The processes run in another directory, where relative paths would not resolve.
            entries = (
                str(Path(entry).absolute()) for entry in search_path.split(os.pathsep) if entry
            )
            self._environ[_PYTHONPATH] = os.pathsep.join(entries)
        self._directory = directory
        self._load = load
        self._numbers = itertools.count()
        self._started: list[Process] = []
        self._ports: set[int] = set()

    async def start(
        self,
        *command: str,
        settings: Mapping[str, str],
        audited: bool = False,
        stdout: BinaryIO | None = None,
        dotenv: str = "",
    ) -> "Process":
        """Start a command in a new directory, which is empty except for `.env`."""
        files = ProcessFiles(self._directory / f"process-{next(self._numbers)}", dotenv)
        program = [str(AUDIT_HOOK), str(files.audit)] if audited else ["-m", "twelvefold"]
        # Without this variable the interpreter's bytecode cache would be among the written files.
        audit = {"PYTHONDONTWRITEBYTECODE": "1"} if audited else {}
        with files.stdout.open("wb") as out, files.stderr.open("wb") as err:
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", *program, *command),
                cwd=files.work,
                env={**self._environ, **settings, **audit},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stdout or out,
                stderr=err,
            )
        process = Process(command[0], child, files, self._load)
        self._started.append(process)
        return process

    async def run(
        self, *command: str, settings: Mapping[str, str], audited: bool = False
    ) -> "Process":
        """Run a command to its end."""
        process = await self.start(*command, settings=settings, audited=audited)
        await process.wait()
        return process

    async def start_web(
        self, settings: Mapping[str, str], *, audited: bool = False, stdout: BinaryIO | None = None
    ) -> "Process":
        """Start a web process on a free port and wait until it is ready."""
        port = self.free_port()
        started = time.monotonic()
        web = await self.start(
            "web", settings={**settings, "PORT": str(port)}, audited=audited, stdout=stdout
        )
        web.http = HTTPClient(port, self._load.scaled(HTTP_TIMEOUT_S))
        await web.wait_until_ready()
        web.ready_s = time.monotonic() - started
        return web

    def free_port(self) -> int:
        """Return a free port; never the same one twice."""
        while True:
            # Seeded by the system: other checks on this machine must not try the same ones.
            port = random.SystemRandom().randint(FIRST_PORT, LAST_PORT)
            if port not in self._ports and _is_free(port):
                self._ports.add(port)
                return port

    async def close(self) -> None:
        for process in self._started:
            await process.stop(signal.SIGKILL)


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


class ProcessFiles:
    """The files of one process: working directory with `.env`, output and audit log."""

    def __init__(self, directory: Path, dotenv: str) -> None:
        self.work = directory / "work"
        self.stdout = directory / "stdout"
        self.stderr = directory / "stderr"
        self.audit = directory / "audit"
        self.work.mkdir(parents=True)
        if dotenv:
            (self.work / ".env").write_text(dotenv)


class Process:
    """A process of the release, with its output. `http` and `ready_s` are set for web."""

    http: HTTPClient
    ready_s = 0.0

    def __init__(
        self, name: str, child: asyncio.subprocess.Process, files: ProcessFiles, load: MachineLoad
    ) -> None:
        self.name = name
        self.files = files
        self._child = child
        self._load = load

    async def wait_until_ready(self) -> None:
        """Wait until `/readyz` returns 200. Raises RuntimeError if the process ends before."""
        async with asyncio.timeout(self._load.scaled(READY_TIMEOUT_S)):
            while True:
                if self.exit_status is not None:
                    raise RuntimeError(
                        f"{self.name} exited with {self.exit_status}: {self.last_line}"
                    )
                try:
                    if (await self.http.get("/readyz")).status == 200:
                        return
                except (OSError, TimeoutError):
                    pass
                await asyncio.sleep(0.03)

    async def wait(self) -> int:
        """Wait for the end and return the exit status. Raises TimeoutError."""
        try:
            async with asyncio.timeout(self._load.scaled(EXIT_TIMEOUT_S)):
                return await self._child.wait()
        except TimeoutError:
            raise TimeoutError(f"{self.name} did not exit within {EXIT_TIMEOUT_S:g} s") from None

    def send_signal(self, number: signal.Signals) -> None:
        if self.exit_status is None:
            self._child.send_signal(number)

    async def stop(self, number: signal.Signals) -> int:
        """Send a signal, wait for the end and return the exit status."""
        self.send_signal(number)
        return await self.wait()

    @property
    def exit_status(self) -> int | None:
        return self._child.returncode

    @property
    def output(self) -> str:
        return self.files.stdout.read_text(errors="replace").strip()

    @property
    def last_line(self) -> str:
        """The last line on standard error, or on standard output if that is empty."""
        for file in (self.files.stderr, self.files.stdout):
            if lines := file.read_text(errors="replace").strip().splitlines():
                return lines[-1]
        return "no output"

    @property
    def log(self) -> list[dict[str, Any]]:
        """The log of web or worker, from standard output."""
        return _json_lines(self.files.stdout)

    @property
    def command_log(self) -> list[dict[str, Any]]:
        """The log of every other command, from standard error."""
        return _json_lines(self.files.stderr)

    def audit_log(self) -> Iterator[dict[str, Any]]:
        """The entries of an audited process: files opened, programs started."""
        for line in self.files.audit.read_text().splitlines():
            yield json.loads(line)


def _json_lines(file: Path) -> list[dict[str, Any]]:
    """Parse the JSON lines. The last line of a killed process may be incomplete."""
    lines = file.read_text(errors="replace").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
