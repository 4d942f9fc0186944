"""A plot of a soak as SVG: one panel for each quantity, one line for each process."""

from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

from tests.acceptance.chaos.samples import Quantity, Sample

WIDTH, PANEL, GAP, LEFT, RIGHT, TOP = 1000, 150, 52, 70, 40, 76
POINTS = 300
"""The most points of a line; each is the mean of several samples."""
TITLES: dict[Quantity, str] = {
    "memory_mib": "Memory (resident, MiB)",
    "descriptors": "Open file descriptors",
    "connections": "Database connections",
}
STYLE = """
    .ground { fill: #ffffff; stroke: #d0d7de; }
    .axis { fill: none; stroke: #8c959f; stroke-width: 1; }
    .grid { fill: none; stroke: #d8dee4; stroke-width: 1; }
    .line { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
    .p0 { stroke: #0969da; } .p1 { stroke: #bc4c00; } .p2 { stroke: #1a7f37; }
    text { font-family: Inter, "Segoe UI", "Helvetica Neue", Arial, sans-serif; font-size: 14px; fill: #1f2328; }
    .title { font-size: 16px; font-weight: 600; }
    .small { font-size: 13px; fill: #57606a; }
    .end { text-anchor: end; } .middle { text-anchor: middle; }
    @media (prefers-color-scheme: dark) {
      .ground { fill: #0d1117; stroke: #30363d; }
      .axis { stroke: #8b949e; } .grid { stroke: #30363d; }
      .p0 { stroke: #58a6ff; } .p1 { stroke: #f0883e; } .p2 { stroke: #3fb950; }
      text { fill: #e6edf3; } .small { fill: #9da7b3; }
    }
"""  # noqa: E501 - as in the other images


def plot(samples: Sequence[Sample], title: str) -> str:
    """Return the SVG. The horizontal axis is the number of completed runs."""
    processes = list(dict.fromkeys(one.process for one in samples))
    height = TOP + len(TITLES) * (PANEL + GAP) + 16
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" role="img" aria-label="{escape(title)}">',
        f"  <style>{STYLE}  </style>",
        f'  <rect class="ground" x="1" y="1" width="{WIDTH - 2}" height="{height - 2}" rx="12"/>',
        *_legend(processes),
    ]
    for number, quantity in enumerate(TITLES):
        lines += _panel(samples, processes, quantity, TOP + number * (PANEL + GAP))
    lines.append(_label((LEFT + WIDTH - RIGHT) / 2, height - 10, "completed runs", "middle"))
    return "\n".join([*lines, "</svg>", ""])


def _legend(processes: Sequence[str]) -> Iterator[str]:
    for number, process in enumerate(processes):
        x = LEFT + 130 * number
        yield f'  <path class="line p{number}" d="M{x} 26 h26"/>'
        yield f'  <text x="{x + 34}" y="31">{escape(process)}</text>'


def _panel(
    samples: Sequence[Sample], processes: Sequence[str], quantity: Quantity, top: int
) -> Iterator[str]:
    last = max(one.runs for one in samples) or 1
    step, most = _scale(max(float(getattr(one, quantity)) for one in samples))
    right, bottom = WIDTH - RIGHT, top + PANEL
    yield f'  <text class="title" x="{LEFT}" y="{top - 8}">{TITLES[quantity]}</text>'
    for number in range(round(most / step) + 1):
        y = bottom - PANEL * number * step / most
        yield f'  <path class="{"grid" if number else "axis"}" d="M{LEFT} {y:.1f} H{right}"/>'
        yield _label(LEFT - 8, y + 4, f"{number * step:g}", "end")
    for part in range(5):
        yield _label(
            LEFT + (right - LEFT) * part / 4, bottom + 18, f"{last * part // 4:,}", "middle"
        )
    for number, process in enumerate(processes):
        own = [(one.runs, getattr(one, quantity)) for one in samples if one.process == process]
        places = [
            f"{LEFT + (right - LEFT) * runs / last:.1f} {bottom - PANEL * value / most:.1f}"
            for runs, value in _thinned(own)
        ]
        yield f'  <path class="line p{number}" d="M{" L".join(places)}"/>'


def _label(x: float, y: float, text: str, anchor: str) -> str:
    return f'  <text class="small {anchor}" x="{x:.1f}" y="{y:.1f}">{text}</text>'


def _scale(largest: float) -> tuple[float, float]:
    """The step of the vertical axis and its end: at most five steps of 1, 2 or 5 times a power."""
    step = 1.0
    while True:
        for factor in (1, 2, 5):
            if step * factor * 5 >= largest:
                steps = -(-largest // (step * factor))
                return step * factor, step * factor * max(1, steps)
        step *= 10


def _thinned(points: Sequence[tuple[int, float]]) -> Iterator[tuple[float, float]]:
    size = -(-len(points) // POINTS)
    for first in range(0, len(points), size):
        part = points[first : first + size]
        yield sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)
