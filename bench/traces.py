"""CPU of a worker per run with traces at full sampling, interleaved with runs without traces.

    DATABASE_URL=mysql://… python -m bench.traces [--runs 200] [--rounds 5]

A real `twelvefold worker` drives enrolments (four replies, three tools, nine spans) with the mock
model; the collector runs in the process of the bench. The CPU includes the export of every span.
"""

import argparse
import asyncio
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

from bench.processes import mock_model
from bench.system import cpu_s
from bench.table import markdown
from bench.workers import COMPLETED, START_S, Bench, opened
from tests.collector import Collector, collecting

WARM_UP = 40
EXPORT_S = 3.0
"""Longer than the pause between two exports."""


async def cpu_ms(bench: Bench, runs: int, environ: Mapping[str, str]) -> float:
    """Return the CPU per run, in milliseconds, of a worker that has driven some runs before."""
    own = replace(bench, environment={**bench.environment, **environ})
    with ExitStack() as stack:
        worker = stack.enter_context(own.worker())
        await asyncio.sleep(START_S)
        done = await drive(own, WARM_UP)
        before = cpu_s(worker.pid)
        await drive(own, runs, done)
        await asyncio.sleep(EXPORT_S)
        return (cpu_s(worker.pid) - before) * 1000 / runs


async def drive(bench: Bench, runs: int, done: int | None = None) -> int:
    """Enqueue so many runs and wait until they are completed; return how many are now."""
    begun = await bench.number(COMPLETED) if done is None else done
    await bench.enqueue(range(begun, begun + runs))
    await bench.until(COMPLETED, begun + runs)
    return begun + runs


async def rounds(server_url: str, runs: int, count: int) -> tuple[list[float], list[float], int]:
    off: list[float] = []
    on: list[float] = []
    with mock_model() as base_url, collecting() as collector:
        async with opened(server_url, base_url, 20) as bench:
            for _ in range(count):
                off.append(await cpu_ms(bench, runs, {}))
                on.append(await cpu_ms(bench, runs, traced(collector)))
    return off, on, len(collector.spans)


def traced(collector: Collector) -> dict[str, str]:
    return collector.environ(OTEL_BSP_SCHEDULE_DELAY="1000")


def table(off: Sequence[float], on: Sequence[float]) -> str:
    rows = [
        [name, f"{statistics.median(found):.2f}", f"{min(found):.2f}", f"{max(found):.2f}"]
        for name, found in (("off", off), ("on", on))
    ]
    each = [later / one - 1 for one, later in zip(off, on, strict=True)]
    overhead = f"overhead: {statistics.median(each):+.1%} (median of the rounds)"
    return markdown(["traces", "CPU ms a run", "least", "most"], rows) + f"\n\n{overhead}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    began = time.monotonic()
    off, on, spans = asyncio.run(rounds(os.environ["DATABASE_URL"], given.runs, given.rounds))
    print(table(off, on))
    print(f"{spans} spans in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
