"""Figures by contender and measurement, one per round."""

import statistics
from collections import defaultdict
from collections.abc import Iterable


class Samples:
    """Medians of the rounds, and medians of the rounds' ratios.

    A machine is never idle: the ratio of two contenders within one round changes less than their
    figures.
    """

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], list[float]] = defaultdict(list)

    def add(self, name: str, what: str, value: float) -> None:
        self._found[name, what].append(value)

    def names(self, what: str) -> list[str]:
        """Return the contenders that have this figure."""
        return [name for name, measured in self._found if measured == what]

    def median(self, name: str, what: str) -> float | None:
        found = self._found.get((name, what))
        return statistics.median(found) if found else None

    def ratio(self, name: str, over: str, what: str, over_what: str = "") -> float | None:
        """Return a figure over another contender's, or over another figure."""
        found = self._found.get((name, what), [])
        base = self._found.get((over, over_what or what), [])
        return _median(a / b for a, b in zip(found, base, strict=False) if b)


def _median(values: Iterable[float]) -> float | None:
    found = list(values)
    return statistics.median(found) if found else None
