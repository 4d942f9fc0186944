"""A contender's process: does what it is told on standard input, and tells what it took.

Each runs on uvloop, and measures its own CPU and memory; the database's and the model's are not
in these figures.
"""

import argparse
import asyncio
import itertools
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import uvloop

from bench.asking import Asking

Measured = dict[str, Any]


class Contender(Protocol):
    """Drives enrolment runs: four replies of the model, three tools between them."""

    async def run(self, number: int) -> None:
        """One whole run, of a student who is new."""
        ...

    async def turn(self, number: int) -> None:
        """The next run of one conversation."""
        ...


@dataclass(frozen=True, slots=True)
class Options:
    """What a contender is told about the world. `tag` sets its students apart from others."""

    base_url: str
    model: str
    asking: Asking
    database_url: str
    tag: str
    streamed: bool
    chat: bool


Open = Callable[[Options], AbstractAsyncContextManager[Contender]]


def main(open_contender: Open) -> None:
    """The whole process: a command a line in, its figures a line out."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--model", default="mock")
    parser.add_argument("--asking", required=True)
    parser.add_argument("--database-url", default="")
    parser.add_argument("--tag", default="")
    parser.add_argument("--streamed", action="store_true", help="read replies as they come in")
    parser.add_argument("--chat", action="store_true", help="use Chat Completions")
    arguments = vars(parser.parse_args())
    asking = Asking.read(Path(arguments.pop("asking")))
    uvloop.run(_serve(open_contender, Options(asking=asking, **arguments)))


async def _serve(open_contender: Open, options: Options) -> None:
    loop = asyncio.get_running_loop()
    numbers = itertools.count(1)
    async with open_contender(options) as contender:
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            told = json.loads(line)
            do: Any = {"for_a_while": for_a_while, "burst": burst, "turns": turns}[told.pop("do")]
            print(json.dumps(await do(contender, numbers, **told)), flush=True)


async def for_a_while(
    contender: Contender, numbers: Iterator[int], at_once: int, seconds: float
) -> Measured:
    """Runs, so many at once, for so long."""
    began, cpu_began = time.monotonic(), _cpu_s()
    done = 0

    async def one_after_the_other() -> None:
        nonlocal done
        while time.monotonic() < began + seconds:
            await contender.run(next(numbers))
            done += 1

    async with asyncio.TaskGroup() as tasks:
        for _ in range(at_once):
            tasks.create_task(one_after_the_other())
    wall_s = time.monotonic() - began
    return {"runs_s": done / wall_s, "cpu_ms": (_cpu_s() - cpu_began) * 1000 / done, "runs": done}


async def burst(contender: Contender, numbers: Iterator[int], runs: int) -> Measured:
    """So many runs, all started at the same moment."""
    began, cpu_began = time.monotonic(), _cpu_s()
    async with asyncio.TaskGroup() as tasks:
        for number in itertools.islice(numbers, runs):
            tasks.create_task(contender.run(number))
    wall_s, cpu_s = time.monotonic() - began, _cpu_s() - cpu_began
    rss_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"wall_s": wall_s, "cpu_s": cpu_s, "rss_mib": rss_kib / 1024, "runs": runs}


async def turns(
    contender: Contender, numbers: Iterator[int], count: int, seconds: float
) -> Measured:
    """One conversation of so many turns, each timed; given up when it takes too long."""
    took_ms: list[float] = []
    end = time.monotonic() + seconds
    for number in itertools.islice(numbers, count):
        if time.monotonic() > end:
            break
        began = time.monotonic()
        await contender.turn(number)
        took_ms.append((time.monotonic() - began) * 1000)
    return {"took_ms": took_ms}


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
