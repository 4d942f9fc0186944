"""Processes of the release that runs, with an environment of their own and nothing inherited."""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from twelvefold.factors.harness.http_client import get
from twelvefold.factors.harness.machine_load import scaled

READY_S = 25.0
END_S = 30.0
_IMPORTS = "PYTHONPATH"
"""Not a setting: where the interpreter finds the release, if it was told."""


class Release:
    """Starts commands of the release; `close` ends those that still run."""

    def __init__(self, environ: Mapping[str, str], directory: Path) -> None:
        self._base = {"PATH": ""}
        if places := environ.get(_IMPORTS):
            # They work elsewhere, so what is relative has to be told in full.
            whole = (str(Path(one).absolute()) for one in places.split(os.pathsep) if one)
            self._base[_IMPORTS] = os.pathsep.join(whole)
        self._directory = directory
        self._started: list[Running] = []
        self._ports: set[int] = set()

    async def start(
        self,
        *command: str,
        settings: Mapping[str, str],
        watched: bool = False,
        stdout: BinaryIO | None = None,
        dotenv: str = "",
    ) -> "Running":
        """The process of a command, in a directory of its own, which is empty but for `.env`."""
        home = self._directory / f"process-{len(self._started)}"
        running = Running(command, home)
        self._started.append(running)
        (home / "work").mkdir(parents=True)
        if dotenv:
            (home / "work" / ".env").write_text(dotenv)
        module = (
            ["twelvefold.factors.harness.audit_hook", str(running.audit)]
            if watched
            else ["twelvefold"]
        )
        environment = {**self._base, **settings}
        if watched:  # or the interpreter's own cache would be among what is written
            environment["PYTHONDONTWRITEBYTECODE"] = "1"
        with running.out.open("wb") as out, running.err.open("wb") as err:
            running.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", *module, *command),
                cwd=home / "work",
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stdout or out,
                stderr=err,
            )
        return running

    async def done(
        self, *command: str, settings: Mapping[str, str], watched: bool = False
    ) -> "Running":
        """The process of a command, which has come to its end."""
        running = await self.start(*command, settings=settings, watched=watched)
        await running.ended()
        return running

    async def web(
        self, settings: Mapping[str, str], *, watched: bool = False, stdout: BinaryIO | None = None
    ) -> "Running":
        """A web process that takes requests, at a port that was free."""
        port = self.free_port()
        started = time.monotonic()
        running = await self.start(
            "web", settings={**settings, "PORT": str(port)}, watched=watched, stdout=stdout
        )
        running.port = port
        await running.answers()
        running.ready_s = time.monotonic() - started
        return running

    def free_port(self) -> int:
        """A port where nobody listens, given away once."""
        while True:
            with socket.create_server(("127.0.0.1", 0)) as free:
                port: int = free.getsockname()[1]
            if port not in self._ports:
                self._ports.add(port)
                return port

    async def close(self) -> None:
        for running in self._started:
            await running.kill()


class Running:
    """A process of the release, and what it has written."""

    process: asyncio.subprocess.Process
    port = 0
    ready_s = 0.0

    def __init__(self, command: tuple[str, ...], home: Path) -> None:
        self.home = home
        self.name = command[0] if command else ""
        self.out = home / "stdout"
        self.err = home / "stderr"
        self.audit = home / "audit"

    async def answers(self) -> None:
        """Until a web process is ready; raises RuntimeError with its last words if it ends."""
        async with asyncio.timeout(scaled(READY_S)):
            while True:
                if self.process.returncode is not None:
                    raise RuntimeError(f"web ended with {self.process.returncode}: {self.last}")
                try:
                    if (await get(self.port, "/readyz")).status == 200:
                        return
                except (OSError, TimeoutError):
                    pass
                await asyncio.sleep(0.03)

    async def ended(self, within_s: float = END_S) -> int:
        """The exit status, once there is one."""
        try:
            async with asyncio.timeout(scaled(within_s)):
                return await self.process.wait()
        except TimeoutError:
            raise TimeoutError(f"{self.name} had not ended after {within_s:g} s") from None

    async def end(self, how: signal.Signals) -> int:
        """Send a signal; returns the exit status."""
        if self.process.returncode is None:
            self.process.send_signal(how)
        return await self.ended()

    async def kill(self) -> None:
        if hasattr(self, "process"):
            await self.end(signal.SIGKILL)

    @property
    def status(self) -> int | None:
        return self.process.returncode

    @property
    def answer(self) -> str:
        return self.out.read_text(errors="replace").strip()

    @property
    def last(self) -> str:
        """Its last line on standard error, or else on standard output."""
        for file in (self.err, self.out):
            if lines := file.read_text(errors="replace").strip().splitlines():
                return lines[-1]
        return "it said nothing"

    @property
    def log(self) -> list[dict[str, Any]]:
        """The log of web or worker: their standard output."""
        return _lines(self.out)

    @property
    def errors(self) -> list[dict[str, Any]]:
        """The log of any other command: in standard error."""
        return _lines(self.err)

    def watched(self) -> Iterator[dict[str, Any]]:
        """What the interpreter reported of a watched process."""
        for line in self.audit.read_text().splitlines():
            yield json.loads(line)


def _lines(file: Path) -> list[dict[str, Any]]:
    """Its JSON lines. The last one of a process that was killed may be cut off."""
    lines = file.read_text(errors="replace").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
