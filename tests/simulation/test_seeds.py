"""No run or message is lost, doubled or stuck, whatever the faults of a seed."""

import os
import subprocess
import sys

import pytest

from tests.simulation.many import reports
from tests.simulation.simulation import simulate

SEEDS = 800
"""About 30 seconds on one core."""
CHUNK = 100
MANY = 100_000


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_no_seed_violates_an_invariant(first: int) -> None:
    for seed in range(first, first + CHUNK):
        report = simulate(seed)
        assert not report.violations, f"python -m tests.simulation --seed {seed} --shrink"


@pytest.mark.slow
@pytest.mark.timeout(3 * 3600)
def test_no_seed_of_many_violates_an_invariant() -> None:
    found = [seed for seed, report in reports(range(MANY), os.cpu_count() or 1) if report]
    assert not found, f"python -m tests.simulation --seed {found[0]} --shrink"


def test_without_faults_nothing_is_violated() -> None:
    for seed in range(20):
        assert simulate(seed, ()).violations == ()


def test_the_same_seed_has_the_same_history() -> None:
    for seed in range(10):
        assert simulate(seed).trace == simulate(seed).trace


def test_another_process_has_the_same_history() -> None:
    program = (
        "from tests.simulation.simulation import simulate\n"
        "print(*(simulate(seed).trace for seed in range(10)))"
    )
    traces = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()

    assert traces == [simulate(seed).trace for seed in range(10)]
