"""The measurements, each with all contenders in turn, in several rounds."""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench.processes import Entrant, Running, World, contender
from bench.samples import Samples
from bench.system import cpu_s

ONE, MANY = 1, 32
BURST_DELAY_MS = 300
TURNS = 200
MARKS = (1, 10, 50, 100, 200)
CURVE = (1, 5, *range(10, TURNS + 1, 10))
AROUND = 3
"""The figure of a turn is the median of itself and of so many before and after it."""
MAX_SLOW_ROUNDS = 3
Say = Callable[[str], None]
Do = Callable[[], list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure."""

    rounds: int
    seconds: float
    burst_runs: int = 1000

    @property
    def slow_rounds(self) -> int:
        return min(self.rounds, MAX_SLOW_ROUNDS)


def measure(world: World, entrants: Sequence[Entrant], effort: Effort, say: Say) -> Samples:
    """Measure everything but starts."""
    samples = Samples()
    with _all_running(world, entrants) as running:
        for number in range(1, effort.rounds + 1):
            say(f"round {number}")
            for entrant, processes in running:
                _throughput(world, entrant, processes, effort.seconds, samples)
    for number in range(1, effort.slow_rounds + 1):
        for entrant in entrants:
            if "bursts" in entrant.parts:
                say(f"{effort.burst_runs} at once, round {number}: {entrant.name}")
                _burst(world, entrant, effort.burst_runs, samples)
    for number in range(1, effort.slow_rounds + 1):
        for entrant in entrants:
            if "turns" in entrant.parts:
                say(f"{TURNS} turns, round {number}: {entrant.name}")
                _turns(world, entrant, samples)
    return samples


@contextmanager
def _all_running(
    world: World, entrants: Sequence[Entrant]
) -> Iterator[list[tuple[Entrant, list[Running]]]]:
    """Start one process per contender, and a second one of those that are measured in pairs."""
    with ExitStack() as stack:
        yield [
            (one, [stack.enter_context(contender(one, world)) for _ in range(_processes(one))])
            for one in entrants
        ]


def _processes(entrant: Entrant) -> int:
    return 2 if "pairs" in entrant.parts else 1


def _throughput(
    world: World, entrant: Entrant, processes: Sequence[Running], seconds: float, samples: Samples
) -> None:
    for at_once in (ONE, MANY):
        alone = partial(_together, processes[:1], at_once, seconds)
        _add(samples, entrant.name, f"at {at_once}", _with_server(world, alone))
    if "pairs" in entrant.parts:
        pair = partial(_together, processes, MANY, seconds)
        _add(samples, entrant.name, "in pairs", _with_server(world, pair))


def _add(samples: Samples, name: str, where: str, figures: Mapping[str, float]) -> None:
    for what, value in figures.items():
        samples.add(name, f"{what} {where}", value)


def _together(processes: Sequence[Running], at_once: int, seconds: float) -> list[dict[str, Any]]:
    """Divide the runs that are driven at once between the processes."""
    for one in processes:
        one.start("for_a_while", at_once=at_once // len(processes), seconds=seconds)
    return [one.result() for one in processes]


def _with_server(world: World, do: Do) -> dict[str, float]:
    """Return runs a second, and the CPU ms a run of the clients and of the database server."""
    began = cpu_s(world.server_pid) if world.server_pid else 0.0
    results = do()
    runs = sum(one["runs"] for one in results)
    figures = {"client": sum(one["cpu_ms"] * one["runs"] for one in results) / runs}
    if world.server_pid:
        figures["server"] = (cpu_s(world.server_pid) - began) * 1000 / runs
    if "runs_s" in results[0]:
        figures["runs/s"] = sum(one["runs_s"] for one in results)
    if "wall_s" in results[0]:
        figures |= {"seconds": results[0]["wall_s"], "MiB": results[0]["rss_mib"]}
    return figures


def _burst(world: World, entrant: Entrant, runs: int, samples: Samples) -> None:
    """Measure a fresh process, because its memory is the most that it ever had."""
    with contender(entrant, world, f"delay-{BURST_DELAY_MS}") as running:
        figures = _with_server(world, lambda: [running.do("burst", runs=runs)])
        _add(samples, entrant.name, "in a burst", figures)


def _turns(world: World, entrant: Entrant, samples: Samples) -> None:
    with contender(entrant, world) as running:
        results = running.do("turns", count=TURNS + AROUND)
    for mark in CURVE:
        samples.add(entrant.name, f"client at turn {mark}", _around(results["cpu_ms"], mark))
        samples.add(entrant.name, f"wall at turn {mark}", _around(results["wall_ms"], mark))


def _around(found: Sequence[float], mark: int) -> float:
    if mark <= AROUND:
        return found[mark - 1]
    return statistics.median(found[mark - 1 - AROUND : mark + AROUND])
