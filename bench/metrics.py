"""The CPU time that metrics add to a run: one process with and without them, in turn.

    DATABASE_URL=mysql://… python -m bench.metrics [--rounds 40] [--runs 96]

A round drives `--runs` runs, 32 at once, without metrics, and as many with them; then the other way
round. With metrics they are also read once. Prints the median of the rounds' ratios.
"""

import argparse
import asyncio
import itertools
import os
import secrets
import statistics
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from bench.asking import Asking
from bench.contender import Contender, Options, burst
from bench.database import private_database
from bench.durable import Durable, environment
from bench.processes import mock_model
from bench.workload import asking
from twelvefold.boot import open_metrics, open_services
from twelvefold.config import Settings
from twelvefold.engine.services import Services
from twelvefold.observe.log import start_logging

AT_ONCE = 32
OFF, ON = "without metrics", "with metrics"


@dataclass
class Overhead:
    """Measures batches of `runs` runs; `numbers` give each run its course."""

    services: Services
    settings: Settings
    contender: Contender
    runs: int
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    async def cpu_ms(self, kind: str) -> float:
        """Return the CPU time of a run."""
        metrics = open_metrics(self.settings, self.services) if kind == ON else nullcontext()
        async with metrics as port:
            started_s = self.contender.cpu_s()
            for _ in range(self.runs // AT_ONCE):
                await burst(self.contender, self.numbers, AT_ONCE)
            if port:
                await asyncio.to_thread(_read, port)
            return (self.contender.cpu_s() - started_s) * 1_000 / self.runs


def _read(port: int) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        answer.read()


async def measure(options: Options, rounds: int, runs: int) -> list[dict[str, float]]:
    """Return the CPU time of a run of each kind, for each round."""
    settings = Settings.from_environ({**environment(options), "METRICS_PORT": "0"})
    async with open_services(settings) as services:
        overhead = Overhead(services, settings, Durable(services, options.tag), runs)
        for kind in (OFF, ON):
            await overhead.cpu_ms(kind)  # imports and connections are no part of a run
        found = []
        for number in range(rounds):
            kinds = (OFF, ON) if number % 2 else (ON, OFF)
            found.append({kind: await overhead.cpu_ms(kind) for kind in kinds})
        return found


async def bench(server_url: str, base_url: str, rounds: int, runs: int) -> list[dict[str, float]]:
    """Measure on a database of its own."""
    async with private_database(server_url, f"bench_{secrets.token_hex(6)}") as url:
        options = Options(
            base_url,
            "mock",
            _asking(),
            url,
            "metrics",
            streamed=False,
            chat=False,
            one_by_one=False,
        )
        return await measure(options, rounds, runs)


def _asking() -> Asking:
    with tempfile.TemporaryDirectory() as folder:
        asking().write(Path(folder) / "asking.json")
        return Asking.read(Path(folder) / "asking.json")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--runs", type=int, default=96)
    given = parser.parse_args()
    with open(os.devnull, "w") as sink, mock_model() as base_url:
        start_logging(sink, format="json", level="info", release="bench", per_turn=True)
        work = bench(os.environ["DATABASE_URL"], base_url, given.rounds, given.runs)
        found = uvloop.run(work)
    for kind in (OFF, ON):
        print(f"{kind}: {statistics.median(one[kind] for one in found):.3f} ms of CPU a run")
    ratios = sorted(one[ON] / one[OFF] for one in found)
    low, *_, high = statistics.quantiles(ratios, n=4)
    print(f"ratio: {statistics.median(ratios):.3f} (quartiles {low:.3f} to {high:.3f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
