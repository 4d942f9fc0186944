"""The figures as Markdown: first the ratios with their targets, then the values behind them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.cold_start import BARE_START, HELP, RUN_START, SMALLEST_START, WEB_START
from bench.entrants import COMMITS, FLOOR, HTTP, HTTP_STREAMED, OURS
from bench.measure import BURST_DELAY_MS, CURVE, MANY, MARKS, ONE
from bench.samples import Samples

BYTES = "bytes a turn"
BEFORE = ", before"
THROUGHPUT = (
    (f"runs/s at {ONE}", 0),
    (f"runs/s at {MANY}", 0),
    ("runs/s in pairs", 0),
    (f"client at {ONE}", 2),
    (f"client at {MANY}", 2),
    (f"server at {MANY}", 2),
)
BURST = (("seconds in a burst", 1), ("client in a burst", 2), ("server in a burst", 2))
BURST_HEADS = ("s", "client CPU ms a run", "MariaDB CPU ms a run", "peak RSS, MiB")


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio of this version and perhaps of the one before, and its target."""

    what: str
    now: float | None
    before: float | None
    target: str = ""
    form: str = "{:.2f}x"

    @property
    def is_met(self) -> bool | None:
        """None without a target or a figure."""
        if not self.target or self.now is None:
            return None
        sign, limit = self.target.rstrip("x").split()
        return self.now <= float(limit) if sign == "≤" else self.now >= float(limit)

    def cells(self) -> list[str]:
        met = {None: "", True: "met", False: "missed"}[self.is_met]
        now, before = _cell(self.now, self.form), _cell(self.before, self.form)
        return [self.what, now, before, self.target, met]


def ratios(samples: Samples) -> list[Ratio]:
    """Return the ratios that `bench/README.md` explains."""
    cpu, rate, server = f"client at {MANY}", f"runs/s at {MANY}", f"server at {MANY}"
    burst, turn = "seconds in a burst", "client at turn {}".format

    def ratio(
        what: str, names: tuple[str, str], figure: str, target: str = "", over: str = ""
    ) -> Ratio:
        found = []
        for suffix in ("", BEFORE):
            numerator, base = (
                name + suffix if name.lower().startswith(OURS.lower()) else name for name in names
            )
            found.append(samples.ratio(numerator, base, figure, over))
        return Ratio(what, found[0], found[1], target)

    return [
        ratio(
            f"client CPU a run, {MANY} at once, over the bare loop", (OURS, FLOOR), cpu, "≤ 1.3x"
        ),
        ratio("… over five commits without an engine", (OURS, COMMITS), cpu),
        ratio(f"runs a second, {MANY} at once, over the bare loop", (OURS, FLOOR), rate, "≥ 0.75x"),
        ratio("… two processes over one", (OURS, OURS), "runs/s in pairs", over=rate),
        _server_over_before(samples, server),
        ratio("MariaDB CPU a run, over five commits without an engine", (OURS, COMMITS), server),
        ratio("CPU of turn 200 over turn 10", (OURS, OURS), turn(200), "≤ 1.5x", turn(10)),
        ratio("1,000 runs at once, time over the bare loop", (OURS, FLOOR), burst, "≤ 1.3x"),
        ratio(
            f"CPU of a turn over HTTP, {MANY} at once, over the engine",
            (HTTP, OURS),
            cpu,
            "≤ 1.15x",
        ),
        ratio("… 1 at once", (HTTP, OURS), f"client at {ONE}"),
        ratio(f"… streamed, {MANY} at once", (HTTP_STREAMED, OURS), cpu),
        ratio(
            "CPU up to the first request, over the bare loop", (RUN_START, BARE_START), "start cpu"
        ),
        ratio("CPU up to ready, over the smallest app", (WEB_START, SMALLEST_START), "start cpu"),
        _single(
            samples, "CPU of `twelvefold --help` over `python -c pass`", "twelvefold --help", HELP
        ),
        _single(samples, "bytes that a turn adds to the journal", OURS, BYTES, "{:.0f}"),
    ]


def _server_over_before(samples: Samples, figure: str) -> Ratio:
    now = samples.ratio(OURS, OURS + BEFORE, figure)
    return Ratio("MariaDB CPU a run, over the version before", now, now and 1.0, "≤ 0.75x")


def _single(samples: Samples, what: str, name: str, figure: str, form: str = "{:.1f}x") -> Ratio:
    now, before = samples.median(name, figure), samples.median(name + BEFORE, figure)
    return Ratio(what, now, before, form=form)


def report(samples: Samples, circumstances: str) -> str:
    """Return the section of results of `bench/README.md`."""
    heads = ("ratio", "now", "before", "target", "")
    parts = [
        circumstances,
        markdown(heads, (ratio.cells() for ratio in ratios(samples))),
        "![The ratios and the CPU time of the turns of a conversation](results.svg)",
        _throughput_table(samples),
        f"A thousand runs at once, the model takes {BURST_DELAY_MS} ms:",
        _burst_table(samples),
        "Client CPU ms of the turns of one conversation, each with the whole conversation:",
        _turns_table(samples),
        "Starts:",
        _starts_table(samples),
    ]
    return "\n\n".join(parts)


def _throughput_table(samples: Samples) -> str:
    heads = ["contender", f"runs/s, {ONE} at once", f"{MANY} at once", "two processes"]
    heads += [f"client CPU ms a run, {ONE} at once", f"{MANY} at once", "MariaDB CPU ms a run"]
    return _table(samples, heads, THROUGHPUT)


def _burst_table(samples: Samples) -> str:
    return _table(samples, ["contender", *BURST_HEADS], (*BURST, ("MiB in a burst", 0)))


def _turns_table(samples: Samples) -> str:
    rows = []
    for name in samples.names(f"client at turn {CURVE[0]}"):
        found = [samples.median(name, f"client at turn {mark}") for mark in MARKS]
        growth = samples.ratio(name, name, "client at turn 200", "client at turn 10")
        rows.append([name, *(_cell(one, "{:.1f}") for one in found), _cell(growth, "{:.1f}x")])
    return markdown(["contender", *(f"turn {mark}" for mark in MARKS), "200 over 10"], rows)


def _starts_table(samples: Samples) -> str:
    figures = (("start wall", 0), ("start cpu", 0))
    heads = ["to the first request or to ready", "wall ms", "CPU ms"]
    return _table(samples, heads, figures)


def _table(samples: Samples, heads: Sequence[str], figures: Sequence[tuple[str, int]]) -> str:
    rows = []
    for name in samples.names(figures[0][0]):
        found = ((samples.median(name, figure), digits) for figure, digits in figures)
        rows.append([name, *(_cell(value, f"{{:.{digits}f}}") for value, digits in found)])
    return markdown(heads, rows)


def _cell(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table whose columns are as wide as their longest cell."""
    cells = [list(heads), *map(list, rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    cells.insert(1, ["-" * width for width in widths])
    lines = ("| " + " | ".join(_padded(row, widths)) + " |" for row in cells)
    return "\n".join(lines)


def _padded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)]
