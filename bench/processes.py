"""The bench's processes: the mock model, and a contender each, talked to by lines of JSON."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Entrant:
    """A contender by name, and the program that is it."""

    name: str
    module: str
    flags: Sequence[str] = ()


FLOOR = Entrant("bare aiohttp loop", "bench.bare_loop")
BARE_STREAMED = Entrant("bare aiohttp loop, streamed", "bench.bare_loop", ("--streamed",))
SDK = Entrant("openai SDK loop", "bench.sdk_loop")
SDK_CHAT = Entrant("openai SDK loop, Chat Completions", "bench.sdk_loop", ("--chat",))
OURS = Entrant("Twelvefold", "bench.durable", ("--streamed",))
ENTRANTS = (FLOOR, BARE_STREAMED, SDK, SDK_CHAT, OURS)


@dataclass(frozen=True, slots=True)
class World:
    """Where the contenders find the model, what to ask it, and the database."""

    base_url: str
    asking: Path
    database_url: str


class Running:
    """A contender's process."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def do(self, what: str, **how: Any) -> dict[str, Any]:
        """Have it do something; returns its figures. Raises RuntimeError if it has died."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": what, **how}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} died")
        figures: dict[str, Any] = json.loads(line)
        return figures


@contextmanager
def contender(entrant: Entrant, world: World, model: str = "mock") -> Iterator[Running]:
    """A contender in a process of its own, which has warmed up."""
    command = [sys.executable, "-m", entrant.module, *entrant.flags, "--model", model]
    command += ["--base-url", world.base_url, "--asking", str(world.asking)]
    command += ["--database-url", world.database_url, "--tag", f"s{os.urandom(6).hex()}"]
    with _process(command) as process:
        running = Running(process)
        running.do("for_a_while", at_once=1, seconds=0.3)
        yield running


@contextmanager
def mock_model() -> Iterator[str]:
    """The mock model in a process of its own; its base URL."""
    with _process([sys.executable, "-m", "bench.mock_model"]) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"


@contextmanager
def _process(command: Sequence[str]) -> Iterator["subprocess.Popen[str]"]:
    """A process that ends when its standard input does."""
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
