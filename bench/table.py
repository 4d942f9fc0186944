"""The bench's figures as a table, and the goals that they hit or miss."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.cold_start import Start
from bench.measure import AT_ONCE, BURST_DELAY_MS, BURST_RUNS, MARKS, Figures
from bench.processes import FLOOR, OURS, SDK

Read = Callable[[Figures], float | None]


@dataclass(frozen=True, slots=True)
class Stored:
    """Bytes of Twelvefold's journal: of the tenth and the last turn, and on disk a turn."""

    early_turn: int
    late_turn: int
    on_disk: int


@dataclass(frozen=True, slots=True)
class Everything:
    """All that was measured."""

    figures: Mapping[str, Figures]
    stored: Stored
    cold: Mapping[str, Start]
    help_ratio: float


@dataclass(frozen=True, slots=True)
class Goal:
    """One of the design's numbers, and whether it is met."""

    what: str
    wanted: str
    measured: str
    hit: bool


def table(everything: Everything) -> str:
    """Everything, in the form of `bench/README.md`."""
    parts = [
        _figures_table(everything.figures),
        _cold_table(everything.cold, everything.help_ratio),
        _goals_table(goals(everything)),
    ]
    return "\n\n".join(parts)


def goals(everything: Everything) -> list[Goal]:
    """The design's goals, section 17, and the two of the command line."""
    ours, sdk = everything.figures[OURS.name], everything.figures[SDK.name]
    at_32, stored = ours.throughput[32], everything.stored
    cold, bare_cold, sdk_cold = (
        everything.cold[name][1] for name in ("twelvefold run, SQLite", FLOOR.name, SDK.name)
    )
    growth = ours.turns_ms[200] / ours.turns_ms[10]
    times = at_32.runs_s / sdk.throughput[32].runs_s
    return [
        _at_least("runs/s at 32", 270, at_32.runs_s),
        _at_least("… over the SDK loop's", 3, times, "x", 1),
        _at_most("CPU ms a run at 32", 5, at_32.cpu_ms, "", 1),
        _at_most(f"{BURST_RUNS:,} at once, s", 5, ours.burst.wall_s, "", 1),
        _at_most("… peak RSS, MiB", 250, ours.burst.rss_mib),
        _at_most("turn 200 over turn 10", 2, growth, "x", 2),
        _at_most("bytes stored a turn", 2048, stored.late_turn),
        _at_most("… turn 200 over turn 10", 1.05, stored.late_turn / stored.early_turn, "x", 2),
        _at_most("cold start over the SDK loop's", 0.5, cold / sdk_cold, "x", 2),
        _at_most("cold start over the bare loop's", 1.6, cold / bare_cold, "x", 2),
        _at_most("--help over `python -c pass`", 4, everything.help_ratio, "x", 1),
    ]


def _at_least(what: str, goal: float, found: float, unit: str = "", digits: int = 0) -> Goal:
    return Goal(what, f"≥ {goal:g}{unit}", f"{found:.{digits}f}{unit}", found >= goal)


def _at_most(what: str, goal: float, found: float, unit: str = "", digits: int = 0) -> Goal:
    return Goal(what, f"≤ {goal:g}{unit}", f"{found:.{digits}f}{unit}", found <= goal)


def _figures_table(figures: Mapping[str, Figures]) -> str:
    floor = figures[FLOOR.name]
    rows: list[tuple[str, Read, int]] = []
    for n in AT_ONCE:
        rows.append((f"runs/s, {n} at once", _of(n, "runs_s"), 0))
    for n in AT_ONCE:
        rows.append((f"CPU ms a run, {n} at once", _of(n, "cpu_ms"), 2))
    burst = f"{BURST_RUNS:,} at once, model {BURST_DELAY_MS} ms:"
    rows.append((f"{burst} s", lambda one: one.burst.wall_s, 1))
    rows.append((f"{burst} peak RSS, MiB", lambda one: one.burst.rss_mib, 0))
    for mark in MARKS:
        rows.append((f"turn {mark} of a conversation, ms", _turn(mark), 1))
    heads = ["", *figures]
    return markdown(
        heads,
        (
            [what, *(_with_ratio(read(one), read(floor), digits) for one in figures.values())]
            for what, read, digits in rows
        ),
    )


def _of(at_once: int, what: str) -> Read:
    return lambda one: float(getattr(one.throughput[at_once], what))


def _turn(mark: int) -> Read:
    return lambda one: one.turns_ms.get(mark)


def _with_ratio(value: float | None, floor: float | None, digits: int) -> str:
    if value is None or not floor:
        return "too slow"
    return f"{value:.{digits}f} ({value / floor:.2g}x)"


def _cold_table(cold: Mapping[str, Start], help_ratio: float) -> str:
    _, bare_cpu = cold[FLOOR.name]
    rows = [
        [name, f"{wall:.0f}", f"{cpu:.0f}", f"{cpu / bare_cpu:.2f}x"]
        for name, (wall, cpu) in cold.items()
    ]
    rows.append(["twelvefold --help", "", "", f"{help_ratio:.1f}x `python -c pass`"])
    return markdown(["start to first request", "wall ms", "CPU ms", "of the floor"], rows)


def _goals_table(goals: Sequence[Goal]) -> str:
    rows = ([one.what, one.wanted, one.measured, "hit" if one.hit else "MISS"] for one in goals)
    return markdown(["goal", "wanted", "measured", ""], rows)


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, its columns as wide as they must be."""
    cells = [list(heads), *map(list, rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    cells.insert(1, ["-" * width for width in widths])
    lines = ("| " + " | ".join(_padded(row, widths)) + " |" for row in cells)
    return "\n".join(lines)


def _padded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)]
