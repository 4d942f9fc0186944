"""The ratios and the turns of a conversation as an SVG, for a light and a dark page."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from xml.sax.saxutils import escape

from bench.entrants import COMMITS, FLOOR, MEMORY, OURS
from bench.measure import CURVE
from bench.samples import Samples
from bench.table import BEFORE, Ratio

WIDTH, LEFT, LONGEST_BAR, ROW = 840, 355, 265, 36
MAX_RATIO = 4.0
CHART_HEIGHT = 240
SERIES = (MEMORY, FLOOR, COMMITS, OURS + BEFORE, OURS)
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.small { font-size: 11px; fill: #59636e }
.axis { stroke: #d1d9e0 } .target { stroke: #1f2328; stroke-width: 2 }
polyline { fill: none; stroke-width: 2 }
.now { fill: #0969da } .before { fill: #afb8c1 } .s0 { stroke: #afb8c1 } .s1 { stroke: #59636e }
.s2 { stroke: #1a7f37 } .s3 { stroke: #bc4c00 } .s4 { stroke: #0969da }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc } .small { fill: #9198a1 }
.axis { stroke: #3d444d } .target { stroke: #f0f6fc }
.now { fill: #4493f8 } .before { fill: #656c76 } .s0 { stroke: #656c76 } .s1 { stroke: #9198a1 }
.s2 { stroke: #3fb950 } .s3 { stroke: #db6d28 } .s4 { stroke: #4493f8 } }
"""


def svg(ratios: Sequence[Ratio], samples: Samples) -> str:
    """Return the drawing: a bar per ratio that has a target, then a line per contender."""
    targeted = [ratio for ratio in ratios if ratio.target and ratio.now is not None]
    bars_end = 40 + ROW * len(targeted)
    height = bars_end + CHART_HEIGHT + 110
    parts = [
        _text(0, 18, "Ratios within one run; the vertical line is the target"),
        *(part for row, ratio in enumerate(targeted) for part in _bar(ratio, 36 + row * ROW)),
        _text(0, bars_end + 30, "Client CPU ms of turns 1 to 200 of one conversation"),
        *_chart(samples, bars_end + 50),
    ]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}">'
    return "\n".join([head, f"<style>{STYLE}</style>", *parts, "</svg>\n"])


def _bar(ratio: Ratio, top: int) -> Iterable[str]:
    yield _text(0, top + 16, ratio.what.removeprefix("… "))
    for value, kind, y, height in ((ratio.before, "before", 15, 6), (ratio.now, "now", 2, 12)):
        if value is not None:
            width = _bar_x(value) - LEFT
            size = f'width="{width}" height="{height}"'
            yield f'<rect class="{kind}" x="{LEFT}" y="{top + y}" {size}/>'
    before = "" if ratio.before is None else f"before {ratio.before:.2f}x, "
    ends = _bar_x(max(ratio.now or 0, ratio.before or 0))
    yield _text(ends + 6, top + 14, f"{ratio.now:.2f}x ({before}target {ratio.target})", "small")
    target = _bar_x(float(ratio.target.strip("≤≥ x")))
    yield _line("target", [(target, top - 2), (target, top + 25)])


def _bar_x(value: float) -> int:
    return round(LEFT + min(value, MAX_RATIO) / MAX_RATIO * LONGEST_BAR)


def _chart(samples: Samples, top: int) -> Iterable[str]:
    found = {
        name: [samples.median(name, f"client at turn {mark}") or 0.0 for mark in CURVE]
        for name in SERIES
        if samples.median(name, f"client at turn {CURVE[0]}") is not None
    }
    highest = max(map(max, found.values())) * 1.05
    right = WIDTH - 250

    def place(turn: int, value: float) -> tuple[int, int]:
        x = 50 + turn / CURVE[-1] * (right - 50)
        return round(x), round(top + CHART_HEIGHT * (1 - value / highest))

    for share in range(5):
        value = highest * share / 4
        (x, y), (end, _) = place(0, value), place(CURVE[-1], value)
        yield _line("axis", [(x, y), (end, y)])
        yield _text(0, y + 4, f"{value:.0f} ms", "small")
    for turn in (1, 50, 100, 150, 200):
        yield _text(place(turn, 0)[0] - 10, top + CHART_HEIGHT + 18, str(turn), "small")
    labels = _spread([place(CURVE[-1], values[-1])[1] for values in found.values()])
    for (name, values), y in zip(found.items(), labels, strict=True):
        kind = f"s{SERIES.index(name)}"
        points = [place(mark, value) for mark, value in zip(CURVE, values, strict=True)]
        yield _line(kind, [*points, (right + 10, y)])
        yield _text(right + 14, y + 4, f"{name}: {values[-1]:.0f} ms", "small")


def _spread(tops: Sequence[int], apart: int = 16) -> list[int]:
    """Return places of labels, near their lines and not over each other."""
    placed = list(tops)
    order = sorted(range(len(tops)), key=lambda one: -tops[one])
    for below, above in pairwise(order):
        placed[above] = min(placed[above], placed[below] - apart)
    return placed


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    return f'<text x="{x}" y="{y}" class="{kind}">{escape(text)}</text>'


def _line(kind: str, points: Iterable[tuple[int, int]]) -> str:
    placed = " ".join(f"{x},{y}" for x, y in points)
    return f'<polyline class="{kind}" points="{placed}"/>'
