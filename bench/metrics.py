"""The CPU time that metrics add to a run: one process with and without them, in turn.

    DATABASE_URL=mysql://… python -m bench.metrics [--rounds 100] [--runs 32]

A round drives `--runs` runs, 32 at once, without metrics, and as many with them; the next round the
other way round. Prints the median of the rounds' ratios, and what it costs to read the metrics.
"""

import argparse
import asyncio
import os
import secrets
import statistics
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from itertools import count
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
from twelvefold.observe import metrics
from twelvefold.observe.log import start_logging

AT_ONCE = 32
OFF, ON, READ = "without metrics", "with metrics", "read"


async def measure(options: Options, rounds: int, runs: int) -> list[dict[str, float]]:
    """Return the CPU time of a run of each kind, and of a read, for each round in milliseconds."""
    settings = Settings.from_environ({**environment(options), "METRICS_PORT": "0"})
    async with open_services(settings) as services, open_metrics(settings, services) as port:
        contender, numbers, recorder = Durable(services, options.tag), count(1), metrics.active
        recorders = {OFF: None, ON: recorder}

        async def cpu_ms(kind: str) -> float:
            with metrics.reported_to(recorders[kind]):
                return await _cpu_of_runs(contender, numbers, runs)

        for kind in recorders:
            await cpu_ms(kind)  # imports and connections are no part of a run
        found = []
        for number in range(rounds):
            kinds = (OFF, ON) if number % 2 else (ON, OFF)
            figures = {kind: await cpu_ms(kind) for kind in kinds}
            found.append(figures | {READ: await _cpu_of_a_read(contender, port or 0)})
        return found


async def _cpu_of_runs(contender: Contender, numbers: Iterator[int], runs: int) -> float:
    began_s = contender.cpu_s()
    for _ in range(runs // AT_ONCE):
        await burst(contender, numbers, AT_ONCE)
    return (contender.cpu_s() - began_s) * 1_000 / runs


async def _cpu_of_a_read(contender: Contender, port: int) -> float:
    began_s = contender.cpu_s()
    await asyncio.to_thread(_read, port)
    return (contender.cpu_s() - began_s) * 1_000


def _read(port: int) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        answer.read()


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
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--runs", type=int, default=32)
    given = parser.parse_args()
    with open(os.devnull, "w") as sink, mock_model() as base_url:
        start_logging(sink, format="json", level="info", release="bench", per_turn=True)
        work = bench(os.environ["DATABASE_URL"], base_url, given.rounds, given.runs)
        found = uvloop.run(work)
    for kind in (OFF, ON):
        print(f"{kind}: {statistics.median(one[kind] for one in found):.3f} ms of CPU a run")
    print(f"to read them: {statistics.median(one[READ] for one in found):.1f} ms of CPU")
    ratios = sorted(one[ON] / one[OFF] for one in found)
    low, *_, high = statistics.quantiles(ratios, n=4)
    print(f"ratio: {statistics.median(ratios):.3f} (quartiles {low:.3f} to {high:.3f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
