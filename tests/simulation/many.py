"""Many seeds, in one process or several; the reports come in the order of the seeds."""

import gc
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.simulation import Report, simulate

CHUNK = 100


def settle_down() -> None:
    """Import and prepare everything, and exclude it from garbage collection."""
    simulate(0, ())
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)


def reports(seeds: range, processes: int) -> Iterator[tuple[int, Report | None]]:
    """Yield each seed in order, with its report if that is not empty."""
    if processes < 2:
        settle_down()
        yield from map(_tried, seeds)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawn, settle_down) as pool:
        chunk = min(CHUNK, 1 + len(seeds) // processes)
        try:
            yield from pool.map(_tried, seeds, chunksize=chunk)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _tried(seed: int) -> tuple[int, Report | None]:
    report = simulate(seed)
    return seed, report if report.violations else None
