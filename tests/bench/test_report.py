"""The report of the bench: ratios within one round, their targets, tables and the drawing."""

from xml.etree import ElementTree

import pytest

from bench.entrants import COMMITS, FLOOR, OURS
from bench.measure import CURVE
from bench.plot import svg
from bench.samples import Samples
from bench.table import BEFORE, Ratio, ratios, report


def test_a_ratio_is_the_median_of_the_ratios_of_each_round() -> None:
    samples = Samples()
    for ours, floor in ((3.0, 1.0), (40.0, 10.0), (10.0, 2.0)):
        samples.add("ours", "cpu", ours)
        samples.add("floor", "cpu", floor)

    assert samples.ratio("ours", "floor", "cpu") == 4.0
    assert samples.median("ours", "cpu") == 10.0


def test_a_figure_that_was_not_measured_has_no_ratio() -> None:
    samples = Samples()
    samples.add("ours", "cpu", 1.0)

    assert samples.ratio("ours", "floor", "cpu") is None
    assert samples.median("ours", "wall") is None


@pytest.mark.parametrize(
    ("now", "target", "is_met"),
    [
        (1.3, "≤ 1.3x", True),
        (1.31, "≤ 1.3x", False),
        (0.75, "≥ 0.75x", True),
        (0.74, "≥ 0.75x", False),
        (1.0, "", None),
        (None, "≤ 1.3x", None),
    ],
)
def test_a_target_is_met_up_to_its_limit(
    now: float | None, target: str, is_met: bool | None
) -> None:
    assert Ratio("any", now, None, target).is_met is is_met


def test_the_version_before_is_compared_with_the_same_loop() -> None:
    samples = Samples()
    for name, cpu_ms in ((FLOOR, 5.0), (OURS, 6.0), (OURS + BEFORE, 10.0)):
        samples.add(name, "client at 32", cpu_ms)

    over_floor = ratios(samples)[0]

    assert (over_floor.now, over_floor.before) == (1.2, 2.0)
    assert "over the bare loop" in over_floor.what
    assert "| 1.20x | 2.00x  | ≤ 1.3x  | met" in report(samples, "on a machine")


def test_the_drawing_has_a_line_per_contender_and_a_bar_per_figure() -> None:
    samples = Samples()
    for name, cpu_ms in ((FLOOR, 5.0), (COMMITS, 2.0), (OURS, 6.0), (OURS + BEFORE, 10.0)):
        samples.add(name, "client at 32", cpu_ms)
        for mark in CURVE:
            samples.add(name, f"client at turn {mark}", cpu_ms + mark / 100)

    drawing = ElementTree.fromstring(svg(ratios(samples), samples))  # noqa: S314 - our own

    kinds = [element.get("class") for element in drawing.iter()]
    assert kinds.count("now") == kinds.count("before") == 2
    assert {"s1", "s2", "s3", "s4"} <= set(kinds)
