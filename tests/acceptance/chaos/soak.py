"""Ten thousand runs without a fault: memory, descriptors and connections do not grow.

    python -m tests.acceptance.chaos.soak [--runs 10000] [--open 120] [--plot SVG] [--samples CSV]

Exit 1 unless memory, file descriptors and database connections of each process are flat from the
middle to the end, and no run is lost, doubled or stuck. Ctrl-C ends it with the runs so far.
"""

import argparse
import asyncio
import random
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.acceptance.chaos.arena import Arena
from tests.acceptance.chaos.enqueue import enqueue_one
from tests.acceptance.chaos.people import People
from tests.acceptance.chaos.play import OPEN, ended
from tests.acceptance.chaos.plot import plot
from tests.acceptance.chaos.samples import Growth, Sample, growths, sample, write_samples
from tests.acceptance.chaos.stage import arena
from tests.acceptance.chaos.table import table
from tests.acceptance.chaos.terms import Load, Terms
from tests.acceptance.chaos.verdict import Verdict, evidence, judged
from twelvefold.services.store import open_store

RUNS = 10_000
OPEN_RUNS = 120
PAUSE_S = 0.1
SETTLE_S = 120.0
TERMS = Terms(Load(0.0, (0.0, 0.05), 80), variant_of=lambda number: "short")


async def soak(runs: int, open_runs: int) -> tuple[Verdict, list[Sample]]:
    """Write so many runs, `open_runs` at a time, and sample the processes each second."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
    async with arena(TERMS, random.Random(), None) as made:
        began = time.monotonic()
        samples: list[Sample] = []
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(People(made).work()),
                group.create_task(sample(made, samples)),
            ]
            await _written(made, runs, open_runs, stop)
            await _settled(made)
            for task in tasks:
                task.cancel()
        notes = await ended(made)
        found = await evidence(made)
        took_s = time.monotonic() - began
        return judged("soak", made, found, len(samples), took_s, notes), samples


async def _written(made: Arena, runs: int, open_runs: int, stop: asyncio.Event) -> None:
    store = await open_store(made.admin_url, pool_size=1)
    try:
        written = 0
        while written < runs and not stop.is_set():
            room = open_runs - await made.admin.number(OPEN)
            for _ in range(min(room, runs - written)):
                await enqueue_one(made, store, written)
                written += 1
            await asyncio.sleep(PAUSE_S)
    finally:
        await store.close()


async def _settled(made: Arena) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(SETTLE_S):
            while await made.admin.number(OPEN):
                await asyncio.sleep(PAUSE_S)


def growth_table(found: Sequence[Growth]) -> str:
    """A line for each process and quantity, in Markdown."""
    lines = ["| process | held | in the middle | at the end | |", "| --- | --- | --: | --: | --- |"]
    for one in found:
        name, word = one.quantity.replace("_mib", " (MiB)"), "flat" if one.is_flat else "grows"
        lines.append(f"| {one.process} | {name} | {one.middle:.1f} | {one.end:.1f} | {word} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--open", type=int, default=OPEN_RUNS, help="runs that are open at a time")
    parser.add_argument("--plot", type=Path, help="the SVG to write")
    parser.add_argument("--samples", type=Path, help="the CSV to write")
    arguments = parser.parse_args()
    verdict, samples = asyncio.run(soak(arguments.runs, arguments.open))
    if arguments.samples:
        write_samples(samples, arguments.samples)
    if arguments.plot:
        arguments.plot.write_text(plot(samples, f"What {verdict.runs:,} runs hold"))
    found = growths(samples)
    print(f"{table([verdict])}\n\n{growth_table(found)}")
    return 0 if verdict.is_good and all(one.is_flat for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
