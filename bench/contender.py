"""The process of a contender: executes commands from standard input and prints what it measured.

Each runs on uvloop and measures its own CPU time and memory; the database's and the model's are not
in these figures.
"""

import argparse
import asyncio
import itertools
import json
import resource
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from bench.asking import Asking

Measured = dict[str, Any]


class Contender(ABC):
    """Drives enrolment runs: four replies of the model, three tools between them."""

    @abstractmethod
    async def run(self, number: int) -> None:
        """Drive one run of a new student."""

    @abstractmethod
    async def turn(self, number: int) -> None:
        """Drive the next run of one conversation."""

    def cpu_s(self) -> float:
        """Return the CPU time so far of the process that is measured."""
        return time.process_time()


@dataclass(frozen=True, slots=True)
class Options:
    """The command line of a contender. `tag` keeps its students apart from those of others."""

    base_url: str
    model: str
    asking: Asking
    database_url: str
    tag: str
    streamed: bool
    chat: bool
    one_by_one: bool


Open = Callable[[Options], AbstractAsyncContextManager[Contender]]


def main(open_contender: Open) -> None:
    """Run the process: a command per line of input, its figures per line of output."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--model", default="mock")
    parser.add_argument("--asking", required=True)
    parser.add_argument("--database-url", default="")
    parser.add_argument("--tag", default="")
    parser.add_argument("--streamed", action="store_true", help="use streams")
    parser.add_argument("--chat", action="store_true", help="use Chat Completions")
    parser.add_argument("--one-by-one", action="store_true", help="one statement per packet")
    arguments = vars(parser.parse_args())
    asking = Asking.read(Path(arguments.pop("asking")))
    uvloop.run(_serve(open_contender, Options(asking=asking, **arguments)))


async def _serve(open_contender: Open, options: Options) -> None:
    loop = asyncio.get_running_loop()
    numbers = itertools.count(1)
    async with open_contender(options) as contender:
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            command = json.loads(line)
            do: Any = {"for_a_while": for_a_while, "burst": burst, "turns": turns}
            measured = await do[command.pop("do")](contender, numbers, **command)
            print(json.dumps(measured), flush=True)


async def for_a_while(
    contender: Contender, numbers: Iterator[int], at_once: int, seconds: float
) -> Measured:
    """Drive runs one after the other in each of `at_once` tasks."""
    began, cpu_began = time.monotonic(), contender.cpu_s()
    done = 0

    async def drive_runs() -> None:
        nonlocal done
        while time.monotonic() < began + seconds:
            await contender.run(next(numbers))
            done += 1

    async with asyncio.TaskGroup() as tasks:
        for _ in range(at_once):
            tasks.create_task(drive_runs())
    wall_s, cpu_s = time.monotonic() - began, contender.cpu_s() - cpu_began
    return {"runs_s": done / wall_s, "cpu_ms": cpu_s * 1000 / done, "runs": done}


async def burst(contender: Contender, numbers: Iterator[int], runs: int) -> Measured:
    """Start all runs at the same moment."""
    began, cpu_began = time.monotonic(), contender.cpu_s()
    async with asyncio.TaskGroup() as tasks:
        for number in itertools.islice(numbers, runs):
            tasks.create_task(contender.run(number))
    wall_s, cpu_s = time.monotonic() - began, contender.cpu_s() - cpu_began
    rss_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    measured = {"wall_s": wall_s, "cpu_ms": cpu_s * 1000 / runs, "runs": runs}
    return {**measured, "rss_mib": rss_kib / 1024}


async def turns(contender: Contender, numbers: Iterator[int], count: int) -> Measured:
    """Drive one conversation of `count` turns and measure each."""
    wall_ms: list[float] = []
    cpu_ms: list[float] = []
    for number in itertools.islice(numbers, count):
        began, cpu_began = time.monotonic(), contender.cpu_s()
        await contender.turn(number)
        wall_ms.append((time.monotonic() - began) * 1000)
        cpu_ms.append((contender.cpu_s() - cpu_began) * 1000)
    return {"wall_ms": wall_ms, "cpu_ms": cpu_ms, "runs": count}
