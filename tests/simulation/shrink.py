"""The smallest schedule that still violates the same invariant, printed as a regression test."""

import re
from collections.abc import Callable, Collection
from dataclasses import replace

from tests.simulation.faults import AtMail, AtModel, AtStatement, During, Fault, Schedule, Signal
from tests.simulation.simulation import Report, simulate


def kinds(report: Report) -> set[str]:
    """What is violated, without places and numbers."""
    return {re.sub(r"\S*\d\S*|\(.*|\[.*", "", one).strip() for one in report.violations}


def shrink(report: Report, run: Callable[[int, Schedule], Report] = simulate) -> Report:
    """Remove faults one by one, then round their numbers, as long as a kind of violation stays."""
    wanted = kinds(report)
    report = _with_fewer(report, wanted, run)
    return _with_rounder(report, wanted, run)


def _with_fewer(
    report: Report, wanted: Collection[str], run: Callable[[int, Schedule], Report]
) -> Report:
    index = 0
    while index < len(report.schedule):
        fewer = report.schedule[:index] + report.schedule[index + 1 :]
        tried = run(report.seed, fewer)
        if kinds(tried) & set(wanted):
            report, index = tried, 0
        else:
            index += 1
    return report


def _with_rounder(
    report: Report, wanted: Collection[str], run: Callable[[int, Schedule], Report]
) -> Report:
    for index, fault in enumerate(report.schedule):
        for simpler in _rounder(fault):
            schedule = (*report.schedule[:index], simpler, *report.schedule[index + 1 :])
            tried = run(report.seed, schedule)
            if kinds(tried) & set(wanted):
                report = tried
                break
    return report


def _rounder(fault: Fault) -> list[Fault]:
    match fault:
        case During():
            return [replace(fault, at_s=float(int(fault.at_s)), for_s=float(int(fault.for_s) + 1))]
        case AtStatement() | Signal() | AtModel() | AtMail() if fault.for_s:
            return [replace(fault, for_s=float(int(fault.for_s) + 1))]
        case _:
            return []


def as_python(report: Report) -> str:
    """A test to paste into tests/simulation/test_regressions.py."""
    faults = "".join(f"        {fault!r},\n" for fault in report.schedule)
    problems = "".join(f"    # {one}\n" for one in report.violations)
    return (
        f"def test_seed_{report.seed}() -> None:\n{problems}"
        f"    schedule = (\n{faults}    )\n\n"
        f"    assert simulate({report.seed}, schedule).violations == ()\n"
    )
