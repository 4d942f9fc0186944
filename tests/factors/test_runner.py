"""How the checks run: an error in one of them is part of its own result only."""

import asyncio
from pathlib import Path

import pytest

from tests.loop_clock import LoopClock
from twelvefold.config import Settings
from twelvefold.errors import SettingsError
from twelvefold.factors.harness import MachineLoad, Report, Result, TestBed
from twelvefold.factors.harness.machine_load import MAX_SLOWDOWN, measure_slowdown
from twelvefold.factors.registry import FACTORS, Factor, select_factors
from twelvefold.factors.runner import run_checks

QUIET = MachineLoad(lambda: 1.0)
LIMIT_S = 3_600.0


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(database_url=f"sqlite:///{tmp_path}/mine.db")


async def passing(bed: TestBed, report: Report) -> None:
    report.record("all is well")


async def failing(bed: TestBed, report: Report) -> None:
    report.record("the first step worked")
    raise ValueError("the second did not")


async def not_claimed(bed: TestBed, report: Report) -> None:
    report.mark_not_claimed("this is only a laptop")


async def endless(bed: TestBed, report: Report) -> None:
    await asyncio.Event().wait()


async def grouped(bed: TestBed, report: Report) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(failing(bed, Report(bed.load)))


def test_the_twelve_factors_are_in_order() -> None:
    numbers = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"]

    assert [factor.number for factor in FACTORS] == numbers
    assert len({one.check for one in FACTORS}) == len({one.name for one in FACTORS}) == 12


def test_factors_are_selected_by_number_and_keep_their_order() -> None:
    assert [factor.number for factor in select_factors(("ix", "VI"))] == ["VI", "IX"]
    assert select_factors(()) == FACTORS


def test_an_unknown_number_is_an_error() -> None:
    with pytest.raises(SettingsError, match="unknown factor XIII; use I to XII"):
        select_factors(("I", "xiii"))


async def test_an_exception_in_a_check_fails_only_that_check(settings: Settings) -> None:
    factors = [
        Factor("IX", "One", failing),
        Factor("II", "Two", passing),
        Factor("III", "Three", not_claimed),
        Factor("IV", "Four", grouped),
    ]

    results = await run_checks(settings, {}, factors, load=QUIET)

    assert [(one.factor.number, one.result, one.evidence) for one in results] == [
        ("IX", "fail", ("the first step worked", "failed: ValueError: the second did not")),
        ("II", "pass", ("all is well",)),
        ("III", "not claimed", ("not claimed: this is only a laptop",)),
        ("IV", "fail", ("failed: ValueError: the second did not",)),
    ]


async def test_a_check_that_does_not_end_times_out(settings: Settings) -> None:
    factors = [Factor("IV", "Four", endless)]

    (result,) = await run_checks(settings, {}, factors, timeout_s=0.2, load=QUIET)

    assert (result.result, result.evidence) == ("fail", ("failed: timed out after 0 s",))


async def late(bed: TestBed, report: Report) -> None:
    report.record("the first step worked")
    raise TimeoutError("not within 20 s: ready")


async def slow(bed: TestBed, report: Report) -> None:
    report.expect_in_time(True, "quick", "slow")
    report.expect_in_time(False, "quick", "slow")


@pytest.mark.parametrize(("slowdown", "expected"), [(1.0, "fail"), (8.0, "inconclusive")])
async def test_a_check_that_runs_out_of_time_on_a_busy_machine_is_inconclusive(
    settings: Settings, slowdown: float, expected: Result
) -> None:
    slowdowns = iter([1.0])  # quiet at the start
    load = MachineLoad(lambda: next(slowdowns, slowdown))
    factors = [Factor("IV", "Four", late), Factor("VI", "Six", slow)]

    results = await run_checks(settings, {}, factors, load=load)

    assert [one.result for one in results] == [expected] * 2
    assert results[0].evidence[0] == "the first step worked"
    prefix = "failed" if expected == "fail" else "inconclusive"
    assert results[0].evidence[1].startswith(f"{prefix}: TimeoutError")


async def test_each_check_has_a_timeout_from_its_own_start(settings: Settings) -> None:
    async def most_of_it(bed: TestBed, report: Report) -> None:
        LoopClock().let_pass(0.6 * LIMIT_S)
        await asyncio.sleep(0.001)  # lets timers fire

    factors = [Factor(number, "One", most_of_it) for number in ("II", "III", "IV")]
    results = await run_checks(
        settings, {}, factors, timeout_s=LIMIT_S, max_concurrent=1, load=QUIET
    )

    assert [one.result for one in results] == ["pass"] * 3


def test_time_limits_grow_with_the_slowdown_at_the_start() -> None:
    slowdowns = iter([2.5, 1.0])
    load = MachineLoad(lambda: next(slowdowns))

    assert load.scaled(10) == 25
    assert load.is_busy()
    assert 1 <= measure_slowdown() <= MAX_SLOWDOWN


def test_a_failure_stands_after_something_that_cannot_be_claimed() -> None:
    report = Report(QUIET)

    report.expect(False, "two", "three, not two")
    report.mark_not_claimed("no server")
    report.expect(True, "four", "five")

    assert report.result == "fail"
    assert report.evidence == ["failed: three, not two", "not claimed: no server", "four"]
