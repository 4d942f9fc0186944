"""`twelvefold factors`."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.cli.conftest import Twelvefold, child
from twelvefold.factors.harness import Result
from twelvefold.factors.registry import FACTORS
from twelvefold.factors.runner import FactorResult

SIXTH, TENTH = FACTORS[5], FACTORS[9]


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> list[Result]:
    """Replace the checks: the results of VI and X can be set."""
    results: list[Result] = ["pass", "not claimed"]

    async def run_checks(*_: object) -> Sequence[FactorResult]:
        return [
            FactorResult(SIXTH, results[0], ("two turns", "and the same text"), 1.234),
            FactorResult(TENTH, results[1], ("not claimed: it is SQLite",), 0.5),
        ]

    # The real checks take a minute; tests/factors runs them.
    monkeypatch.setattr("twelvefold.cli.factors.run_checks", run_checks)
    return results


def test_the_table_has_one_line_per_evidence(
    here: Path, tw: Twelvefold, results: list[Result]
) -> None:
    done = tw("factors")

    assert done.status == 0
    assert done.lines == [
        "NO  FACTOR           RESULT        EVIDENCE",
        "VI  Processes        pass          two turns",
        "                                   and the same text",
        "X   Dev/prod parity  not claimed   not claimed: it is SQLite",
    ]


def test_json_has_one_object_per_factor(here: Path, tw: Twelvefold, results: list[Result]) -> None:
    done = tw("factors", "--json")

    first = json.loads(done.lines[0])
    assert first == {
        "factor": "VI",
        "name": "Processes",
        "result": "pass",
        "evidence": ["two turns", "and the same text"],
        "took_s": 1.23,
    }
    assert len(done.lines) == 2


def test_the_exit_status_is_1_if_a_factor_failed(
    here: Path, tw: Twelvefold, results: list[Result]
) -> None:
    results[0] = "fail"

    assert tw("factors").status == 1


def test_an_inconclusive_factor_is_not_a_failure(
    here: Path, tw: Twelvefold, results: list[Result]
) -> None:
    results[0] = "inconclusive"

    assert tw("factors").status == 0


def test_an_unknown_factor_is_bad_usage(here: Path, tw: Twelvefold) -> None:
    done = tw("factors", "XIII")

    assert (done.status, done.out) == (2, "")
    assert "unknown factor XIII; use I to XII" in done.err


def test_the_checks_work_on_the_embedded_database(here: Path) -> None:
    done = child(here, "factors", "vi", "x", "--json")

    turns, parity = (json.loads(line) for line in done.out.splitlines())
    assert (done.status, turns["factor"], turns["result"]) == (0, "VI", "pass"), done.out + done.err
    assert "two web processes alternately answered 4 turns" in turns["evidence"][0]
    assert (parity["factor"], parity["result"]) == ("X", "not claimed")
    assert "found no error" in parity["evidence"][0]
    assert {path.name for path in here.iterdir()} <= {"shop.py", "__pycache__"}
