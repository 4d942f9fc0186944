"""The report of a crash test: what each kill has lost, doubled or changed."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from twelvefold.testing.crash.jobs import Ending, Rows

MAX_LINES = 12
"""Differences of one boundary that a report shows."""
MARK_WIDTH = len("asks a person  ")


@dataclass(frozen=True)
class Boundary:
    """One kill: where it was, and how the rows differ from those of an undisturbed run.

    `lost` and `doubled` are rows that are missing, or there too often; `changed` are pairs of rows
    that stand in the place of each other. `asks`: the run waits for a person, because a call of an
    unsafe tool may have happened. `problem` is the reason why a run did not end as it should.
    """

    place: str
    lost: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    problem: str = ""
    asks: bool = False

    @property
    def ok(self) -> bool:
        """Whether nothing is lost, doubled or changed, and the run ended as it should."""
        return not (self.lost or self.doubled or self.changed or self.problem)

    def lines(self) -> Iterator[str]:
        """Yield what is wrong, a line each."""
        yield from (f"lost:    {row}" for row in self.lost)
        yield from (f"doubled: {row}" for row in self.doubled)
        yield from (f"changed: {row}" for row in self.changed)
        if self.problem:
            yield self.problem


@dataclass(frozen=True)
class CrashReport:
    """What `crash_matrix` found. `ignored` are the columns that differ in undisturbed runs, too.

    `str(report)` is a table with a line for each boundary, and what is wrong below it.

    Example:
        from twelvefold.testing import CrashReport

        report = CrashReport((), status="completed")
        assert report.ok and report.lost == report.doubled == 0
    """

    boundaries: tuple[Boundary, ...]
    status: str
    ignored: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether no kill has lost, doubled or changed anything."""
        return all(one.ok for one in self.boundaries)

    @property
    def lost(self) -> int:
        """The number of kills that lost a row, a mail or a call."""
        return sum(bool(one.lost) for one in self.boundaries)

    @property
    def doubled(self) -> int:
        """The number of kills that doubled a row, a mail or a call."""
        return sum(bool(one.doubled) for one in self.boundaries)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"{len(self.boundaries)} kills, {self.lost} lost, {self.doubled} doubled"
        if self.ignored:
            yield f"not compared: {', '.join(self.ignored)}"
        for one in self.boundaries:
            mark = "asks a person" if one.asks and one.ok else "ok" if one.ok else "FAILED"
            yield f"{mark:<{MARK_WIDTH}}{one.place}"
            lines = list(one.lines())
            indent = " " * MARK_WIDTH
            yield from (f"{indent}{line}" for line in lines[:MAX_LINES])
            if len(lines) > MAX_LINES:
                yield f"{indent}… and {len(lines) - MAX_LINES} more"


class Baseline:
    """The rows of undisturbed runs, which those of a disturbed one are compared with.

    `ignore` are columns that are not compared, as `table.column`, or whole tables.
    """

    def __init__(self, first: Ending, second: Ending, ignore: Collection[str] = ()) -> None:
        """Find the columns that differ anyway. Raises ValueError if the runs differ otherwise."""
        found = {f"{table}.{column}" for table, column in _volatile(first.rows, second.rows)}
        self.ignored = frozenset(found - set(ignore))
        self._ignore = self.ignored | set(ignore)
        self.status = first.status
        self._counts = self._count(first.rows)
        if first.status != second.status or self._counts != self._count(second.rows):
            difference = "\n".join(self.compare("", second).lines())
            raise ValueError(
                "two undisturbed runs differ, so a kill cannot be judged; "
                f"make the workflow repeatable, or pass `ignore`:\n{difference}"
            )

    def compare(self, place: str, ending: Ending) -> Boundary:
        """Return how a run that was killed at the place differs."""
        counts = self._count(ending.rows)
        asks = ending.status == "waiting" and _is_unknown(ending.rows)
        lost, doubled, changed = [], [], []
        for table in sorted(self._counts.keys() | counts.keys()):
            before, after = self._counts.get(table, Counter()), counts.get(table, Counter())
            missing, extra = list((before - after).elements()), list((after - before).elements())
            if asks and len(missing) >= len(extra):
                continue  # the run is not at its end yet
            if len(missing) == len(extra):
                pairs = zip(missing, extra, strict=True)
                changed += [f"{table}: {old} is {new}" for old, new in pairs]
                continue
            lost += [] if asks else [f"{table}: {row}" for row in missing]
            doubled += [f"{table}: {row}" for row in extra]
        problem = ""
        if ending.status != self.status and not asks:
            problem = f"the run is {ending.status}, not {self.status}: {ending.error}"
        return Boundary(place, tuple(lost), tuple(doubled), tuple(changed), problem, asks)

    def _count(self, rows: Rows) -> Mapping[str, Counter[str]]:
        return {
            table: Counter(self._text(table, row) for row in found)
            for table, found in rows.items()
            if table not in self._ignore and found
        }

    def _text(self, table: str, row: Mapping[str, Any]) -> str:
        kept = {name: value for name, value in row.items() if f"{table}.{name}" not in self._ignore}
        return msgspec.json.encode(kept).decode()


def _volatile(first: Rows, second: Rows) -> Iterator[tuple[str, str]]:
    """Yield the columns whose values differ between two undisturbed runs."""
    for table, rows in first.items():
        others = second.get(table, ())
        for column in rows[0] if rows else ():
            if _values(rows, column) != _values(others, column):
                yield table, column


def _values(rows: Sequence[Mapping[str, Any]], column: str) -> Counter[Any]:
    return Counter(row.get(column) for row in rows)


def _is_unknown(rows: Rows) -> bool:
    return any(
        row["outcome"] == "unknown"
        for table, found in rows.items()
        if table.startswith("calls of ")
        for row in found
    )
