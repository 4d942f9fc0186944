"""The figures of a measurement, as a table, and whether they are good enough."""

import math
from collections import Counter as Tally
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.acceptance.abuse.tenant import Sample

MOST_RATIO = 3.0
MOST_MIB = 300.0
READS = ("list", "items", "journal", "response")
TURNS = ("turn", "stream", "chat")
GROUPS: Mapping[str, Sequence[str]] = {
    "reads": READS,
    "turns": TURNS,
    "background": ("background",),
    "all": (*READS, *TURNS, "background"),
}


@dataclass(frozen=True, slots=True)
class Phase:
    """What was measured while the ways of `name` were at work."""

    name: str
    samples: Sequence[Sample]
    health_ms: Sequence[float]
    most_mib: Mapping[str, float]
    cpu: Mapping[str, float]
    statements_s: float
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    broken: Sequence[str] = ()

    def times_ms(self, kinds: Iterable[str]) -> list[float]:
        wanted = set(kinds)
        return sorted(one.took_ms for one in self.samples if one.kind in wanted)

    @property
    def errors(self) -> Tally[str]:
        return Tally(f"{one.kind} {one.error}" for one in self.samples if one.error)


def percentile(times_ms: Sequence[float], share: float) -> float:
    """The time within which this share of sorted times is, by the nearest rank."""
    if not times_ms:
        return 0.0
    return times_ms[max(0, math.ceil(share * len(times_ms)) - 1)]


def faults(alone: Phase, together: Phase) -> list[str]:
    """A sentence for each thing that is not good enough."""
    found = []
    for group, kinds in GROUPS.items():
        base, now = (percentile(one.times_ms(kinds), 0.99) for one in (alone, together))
        if now > MOST_RATIO * base:
            found.append(
                f"{group}: p99 is {now:.0f} ms, {now / base:.1f} times its {base:.0f} ms alone;"
                f" {MOST_RATIO:g} times is the most"
            )
    if (mib := together.most_mib["web"]) > MOST_MIB:
        found.append(f"web: {mib:.0f} MiB are resident; {MOST_MIB:g} MiB are the most")
    found += [f"the other tenant: {count} of {error}" for error, count in together.errors.items()]
    return found


def table(alone: Phase, phases: Sequence[Phase]) -> str:
    """The groups' p50 and p99 of each phase, how many times those alone, and the machine."""
    heads = [f"{group} p50/p99 ms (x)" for group in GROUPS]
    rows = [
        [
            "way",
            *heads,
            "errors",
            "healthz p99",
            "web MiB",
            "worker",
            "CPU web/worker/db/abuser/others",
            "SQL/s",
        ]
    ]
    rows += [_row(alone, phase) for phase in (alone, *phases)]
    return _aligned(rows)


def _row(alone: Phase, phase: Phase) -> list[str]:
    cells = [phase.name]
    for kinds in GROUPS.values():
        times, base = phase.times_ms(kinds), percentile(alone.times_ms(kinds), 0.99)
        p50, p99 = percentile(times, 0.5), percentile(times, 0.99)
        cells.append(f"{p50:.0f}/{p99:.0f} ({p99 / base if base else 0:.1f})")
    names = ("web", "worker", "database", "abuser", "others")
    shares = "/".join(f"{100 * phase.cpu.get(name, 0):.0f}" for name in names)
    return [
        *cells,
        str(sum(phase.errors.values())),
        f"{percentile(sorted(phase.health_ms), 0.99):.0f}",
        f"{phase.most_mib['web']:.0f}",
        f"{phase.most_mib['worker']:.0f}",
        shares,
        f"{phase.statements_s:.0f}",
    ]


def kinds_table(phases: Sequence[Phase]) -> str:
    """Each kind's p50 and p99 in these phases."""
    rows = [["kind", *(f"{phase.name} p50/p99 ms" for phase in phases), "n"]]
    for kind in GROUPS["all"]:
        times = [phase.times_ms([kind]) for phase in phases]
        shown = [f"{percentile(one, 0.5):.0f}/{percentile(one, 0.99):.0f}" for one in times]
        rows.append([kind, *shown, "/".join(str(len(one)) for one in times)])
    return _aligned(rows)


def answers(phases: Sequence[Phase]) -> str:
    """What the abusive tenant was answered, by way and status."""
    lines = []
    for phase in phases:
        for way, counts in phase.counts.items():
            told = ", ".join(f"{count} x {what}" for what, count in sorted(counts.items()))
            lines.append(f"{phase.name}: {way}: {told or 'nothing'}")
        lines += [f"{phase.name}: a lane failed: {one}" for one in phase.broken]
        lines += [f"{phase.name}: the other tenant: {n} x {e}" for e, n in phase.errors.items()]
    return "\n".join(lines)


def _aligned(rows: Sequence[Sequence[Any]]) -> str:
    widths = [max(len(str(row[at])) for row in rows) for at in range(len(rows[0]))]
    return "\n".join(
        "  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
