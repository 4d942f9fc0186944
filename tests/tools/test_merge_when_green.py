"""An update merges itself where a rule has it wait for the tests, and nowhere else."""

from pathlib import Path

import pytest

from tests.tools.conftest import ROOT, Clone

MERGE = str(ROOT / "tools" / "merge-when-green")
UPDATE = "https://github.example/desk/desk/pull/7"


@pytest.fixture
def pull_request(clone: Clone) -> Clone:
    clone.environ["GITHUB_REPOSITORY"] = "desk/desk"
    return clone


def required(clone: Clone, *checks: str) -> None:
    Path(clone.environ["GH_API"]).write_text("".join(f"{check}\n" for check in checks))


def test_an_update_merges_once_the_tests_have_passed(pull_request: Clone) -> None:
    required(pull_request, "lint", "passed")

    pull_request.run(MERGE, UPDATE, "main")

    rules, merge = pull_request.asked()
    assert rules.startswith("api repos/desk/desk/rules/branches/main ")
    assert merge == f"pr merge --auto --squash {UPDATE}"


@pytest.mark.parametrize("checks", [(), ("lint", "passed-once")])
def test_where_nothing_has_it_wait_for_the_tests_it_waits_for_a_person(
    pull_request: Clone, checks: tuple[str, ...]
) -> None:
    required(pull_request, *checks)

    done = pull_request.run(MERGE, UPDATE, "main", check=False)

    assert done.returncode == 1
    assert "no rule of main requires the check `passed`" in done.stderr
    assert not any(asked.startswith("pr merge") for asked in pull_request.asked())
