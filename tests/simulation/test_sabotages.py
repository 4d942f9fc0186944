"""The simulation finds a violation for each rule that is broken."""

import pytest

from tests.simulation.faults import AtStatement, During
from tests.simulation.sabotages import SABOTAGES, sabotaged
from tests.simulation.shrink import as_python, shrink
from tests.simulation.simulation import simulate

SEEDS = 200
LATE_COMMIT = (
    During(at_s=10.0, for_s=17.0, does="hang", statement="renew"),
    AtStatement("commit", 5, "answered late", 14.0),
)
"""What the version without the check of the lease was found to fail on: `ship` was begun twice."""


@pytest.mark.parametrize("name", SABOTAGES)
def test_a_broken_rule_is_found(name: str) -> None:
    with sabotaged(name):
        assert any(simulate(seed).violations for seed in range(SEEDS))


def test_no_call_starts_without_a_lease_after_a_late_commit_with_hanging_renewals() -> None:
    seeds = range(20)
    assert not any(simulate(seed, LATE_COMMIT).violations for seed in seeds)

    with sabotaged("a_lapsed_lease_is_good_enough"):
        found = [simulate(seed, LATE_COMMIT).violations for seed in seeds]

    assert any("ship" in one and "taken over" in one for violations in found for one in violations)


def test_a_violation_shrinks_to_a_test() -> None:
    with sabotaged("a_database_error_is_charged_to_the_tool"):
        report = next(
            report
            for report in map(simulate, range(SEEDS))
            if len(report.schedule) > 2 and report.violations
        )
        shrunk = shrink(report)

        assert len(shrunk.schedule) < len(report.schedule)
        assert simulate(shrunk.seed, shrunk.schedule).violations == shrunk.violations
        assert f"simulate({shrunk.seed}, schedule)" in as_python(shrunk)
