"""The measurements of the bench, each with all contenders in turn, several rounds, medians."""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from bench.processes import ENTRANTS, Entrant, Running, World, contender

AT_ONCE = (1, 32, 256)
BURST_RUNS = 1_000
BURST_DELAY_MS = 300
TURNS = 200
TURNS_S = 60.0
"""A conversation that takes longer is given up; its later turns are not told."""
MARKS = (1, 10, 50, 200)
AROUND = 2
"""A turn is told as the median of itself and so many before and after it."""
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Throughput:
    """So many runs at once, one after the other. CPU is the contender's own process."""

    runs_s: float
    cpu_ms: float


@dataclass(frozen=True, slots=True)
class Burst:
    """A thousand runs at the same moment, with a model that takes 300 ms."""

    wall_s: float
    rss_mib: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of one contender."""

    throughput: Mapping[int, Throughput]
    burst: Burst
    turns_ms: Mapping[int, float]


def measure(world: World, rounds: int, seconds: float, say: Say) -> dict[str, Figures]:
    """All figures by contender."""
    throughput = _throughputs(world, rounds, seconds, say)
    bursts = {one.name: _burst(one, world, rounds, say) for one in ENTRANTS}
    turns = {one.name: _turns(one, world, say) for one in ENTRANTS}
    names = [one.name for one in ENTRANTS]
    return {name: Figures(throughput[name], bursts[name], turns[name]) for name in names}


def _throughputs(
    world: World, rounds: int, seconds: float, say: Say
) -> dict[str, dict[int, Throughput]]:
    found: dict[tuple[str, int], list[Throughput]] = {}
    with _all_running(world) as running:
        for number in range(1, rounds + 1):
            for at_once in AT_ONCE:
                for name, one in running.items():
                    say(f"round {number}, {at_once} at once: {name}")
                    told = one.do("for_a_while", at_once=at_once, seconds=seconds)
                    figures = Throughput(told["runs_s"], told["cpu_ms"])
                    found.setdefault((name, at_once), []).append(figures)
    return {
        one.name: {at_once: _median(found[one.name, at_once]) for at_once in AT_ONCE}
        for one in ENTRANTS
    }


@contextmanager
def _all_running(world: World) -> Iterator[dict[str, Running]]:
    with ExitStack() as stack:
        yield {one.name: stack.enter_context(contender(one, world)) for one in ENTRANTS}


def _median(found: Sequence[Throughput]) -> Throughput:
    return Throughput(
        statistics.median(one.runs_s for one in found),
        statistics.median(one.cpu_ms for one in found),
    )


def _burst(entrant: Entrant, world: World, rounds: int, say: Say) -> Burst:
    """A process of its own each time: the most memory that it ever had is told."""
    found = []
    for _ in range(min(rounds, 3)):
        say(f"{BURST_RUNS} at once: {entrant.name}")
        with contender(entrant, world, f"delay-{BURST_DELAY_MS}") as running:
            told = running.do("burst", runs=BURST_RUNS)
        found.append((told["wall_s"], told["rss_mib"]))
    walls_s, rss_mib = zip(*found, strict=True)
    return Burst(statistics.median(walls_s), statistics.median(rss_mib))


def _turns(entrant: Entrant, world: World, say: Say) -> dict[int, float]:
    say(f"a conversation of {TURNS} turns: {entrant.name}")
    with contender(entrant, world) as running:
        took_ms = running.do("turns", count=TURNS + AROUND, seconds=TURNS_S)["took_ms"]
    return {mark: _around(took_ms, mark) for mark in MARKS if len(took_ms) >= mark + AROUND}


def _around(took_ms: Sequence[float], mark: int) -> float:
    first = mark - 1 if mark == 1 else mark - 1 - AROUND
    last = mark if mark == 1 else mark + AROUND
    return statistics.median(took_ms[first:last])
