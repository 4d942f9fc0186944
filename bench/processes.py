"""The processes of the bench: the mock model, and the contenders, which exchange lines of JSON."""

import json
import os
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parent.parent
NEUTRAL = "/"
"""The working directory of all processes: without modules and without a file `.env`."""
WORKFLOW = "bench.workload:workflow"
Part = Literal["pairs", "bursts", "turns"]


@dataclass(frozen=True, slots=True)
class Version:
    """A checkout of Twelvefold whose sources are measured, and its databases."""

    root: Path
    mysql_url: str
    sqlite_url: str
    suffix: str = ""

    @property
    def environment(self) -> dict[str, str]:
        return source_environment(self.root)


def source_environment(root: Path) -> dict[str, str]:
    """Return the environment of a process that imports Twelvefold from a checkout.

    `bench` is imported from there too, unless the checkout is older than the workload.
    """
    has_bench = (root / "bench" / "workload.py").exists()
    paths = (root / "src", root if has_bench else ROOT)
    imports = {"PYTHONPATH": os.pathsep.join(map(str, paths)), "WORKFLOWS": WORKFLOW}
    # Without bytecode a new checkout would be compiled at each start, and this one would not.
    return {**os.environ, **imports, "PYTHONDONTWRITEBYTECODE": ""}


@dataclass(frozen=True, slots=True)
class Entrant:
    """A contender by name, and the program that is started for it.

    `parts`: the measurements beside throughput in which it takes part.
    """

    name: str
    module: str
    flags: Sequence[str]
    database_url: str
    environment: Mapping[str, str]
    python: str = sys.executable
    parts: Collection[Part] = ()


@dataclass(frozen=True, slots=True)
class World:
    """The addresses for all contenders, and the server's process if it is on this machine."""

    base_url: str
    asking: Path
    server_pid: int | None


class Running:
    """A contender's process."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def do(self, what: str, **how: Any) -> dict[str, Any]:
        """Execute a command and return its figures. Raises RuntimeError if the process has died."""
        self.start(what, **how)
        return self.result()

    def start(self, what: str, **how: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, **how}) + "\n")
        self._process.stdin.flush()

    def result(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} died")
        figures: dict[str, Any] = json.loads(line)
        return figures


@contextmanager
def contender(entrant: Entrant, world: World, model: str = "mock") -> Iterator[Running]:
    """A contender in a process of its own, which has warmed up."""
    command = [entrant.python, "-P", "-m", entrant.module, *entrant.flags, "--model", model]
    command += ["--base-url", world.base_url, "--asking", str(world.asking)]
    command += ["--database-url", entrant.database_url, "--tag", f"s{os.urandom(6).hex()}"]
    with _process(command, entrant.environment) as process:
        running = Running(process)
        running.do("for_a_while", at_once=1, seconds=0.3)
        yield running


@contextmanager
def mock_model() -> Iterator[str]:
    """The mock model in a process of its own; its base URL."""
    command = [sys.executable, "-P", "-m", "bench.mock_model"]
    with _process(command, source_environment(ROOT)) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"


@contextmanager
def _process(
    command: Sequence[str], environment: Mapping[str, str]
) -> Iterator["subprocess.Popen[str]"]:
    """A process that ends when its standard input does."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=NEUTRAL,
        env=environment,
    )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
