"""How the checks are run: each row is its own, whatever goes wrong in it."""

import asyncio
from pathlib import Path

import pytest

from twelvefold.config import Settings
from twelvefold.errors import SettingsError
from twelvefold.factors import registry
from twelvefold.factors.harness import machine_load as pace
from twelvefold.factors.harness.report import Factor, Result, Witness
from twelvefold.factors.harness.testbed import Scene
from twelvefold.factors.registry import FACTORS, factors_of, prove


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(database_url=f"sqlite:///{tmp_path}/mine.db")


async def good(scene: Scene, witness: Witness) -> None:
    witness.saw("all is well")


async def bad(scene: Scene, witness: Witness) -> None:
    witness.saw("it began well")
    raise ValueError("then it did not")


async def elsewhere(scene: Scene, witness: Witness) -> None:
    witness.leave("this is only a laptop")


async def endless(scene: Scene, witness: Witness) -> None:
    await asyncio.Event().wait()


async def grouped(scene: Scene, witness: Witness) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(bad(scene, Witness()))


def test_the_twelve_are_there_in_their_order() -> None:
    numbers = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"]

    assert [one.number for one in FACTORS] == numbers
    assert len({one.check for one in FACTORS}) == len({one.name for one in FACTORS}) == 12


def test_factors_are_chosen_by_number_and_stay_in_order() -> None:
    assert [one.number for one in factors_of(("ix", "VI"))] == ["VI", "IX"]
    assert factors_of(()) == FACTORS


def test_a_number_that_is_no_factor_is_told() -> None:
    with pytest.raises(SettingsError, match="there is no factor XIII; there are I to XII"):
        factors_of(("I", "xiii"))


async def test_what_goes_wrong_in_a_check_is_its_own_row(settings: Settings) -> None:
    factors = [
        Factor("IX", "One", bad),
        Factor("II", "Two", good),
        Factor("III", "Three", elsewhere),
        Factor("IV", "Four", grouped),
    ]

    rows = await prove(settings, {}, factors)

    assert [(row.factor.number, row.result, row.evidence) for row in rows] == [
        ("IX", "fail", ("it began well", "failed: ValueError: then it did not")),
        ("II", "pass", ("all is well",)),
        ("III", "not claimed", ("not claimed: this is only a laptop",)),
        ("IV", "fail", ("failed: ValueError: then it did not",)),
    ]


async def test_a_check_without_an_end_is_ended(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "LIMIT_S", 0.2)

    monkeypatch.setattr(registry, "is_busy", lambda: False)
    monkeypatch.setattr(registry, "measure_pace", lambda: 1.0)

    (row,) = await prove(settings, {}, [Factor("IV", "Four", endless)])

    assert (row.result, row.evidence) == ("fail", ("failed: not over within 0 s",))


async def late(scene: Scene, witness: Witness) -> None:
    witness.saw("it began well")
    raise TimeoutError("after 20 s still not: ready")


async def slow(scene: Scene, witness: Witness) -> None:
    witness.expect_in_time(True, "quick", "slow")
    witness.expect_in_time(False, "quick", "slow")


@pytest.mark.parametrize(("seen", "result"), [(1.0, "fail"), (8.0, "inconclusive")])
async def test_a_check_that_had_no_time_on_a_busy_machine_has_not_failed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, seen: float, result: Result
) -> None:
    monkeypatch.setattr(pace, "_pace", 1.0)
    for module in ("registry", "harness.machine_load"):
        monkeypatch.setattr(f"twelvefold.factors.{module}.measure_pace", lambda: seen)

    rows = await prove(settings, {}, [Factor("IV", "Four", late), Factor("VI", "Six", slow)])

    assert [row.result for row in rows] == [result] * 2
    assert rows[0].evidence[0] == "it began well"
    assert rows[0].evidence[1].startswith(f"{'failed' if seen == 1 else result}: TimeoutError")


async def test_each_check_has_a_limit_of_its_own(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "LIMIT_S", 1.0)
    monkeypatch.setattr(registry, "AT_ONCE", 1)

    async def most_of_it(scene: Scene, witness: Witness) -> None:
        await asyncio.sleep(0.6)

    numbers = ("II", "III", "IV")
    rows = await prove(settings, {}, [Factor(number, "One", most_of_it) for number in numbers])

    assert [row.result for row in rows] == ["pass"] * 3


def test_limits_grow_with_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "_pace", 2.5)

    assert pace.scaled(10) == 25
    assert pace.is_busy()
    assert 1 <= pace.measure_pace() <= pace.SLOWEST


def test_a_failure_is_not_made_up_for_by_what_cannot_be_claimed() -> None:
    witness = Witness()

    witness.expect(False, "two", "three, not two")
    witness.leave("no server")
    witness.expect(True, "four", "five")

    assert witness.result == "fail"
    assert witness.evidence == ["failed: three, not two", "not claimed: no server", "four"]
