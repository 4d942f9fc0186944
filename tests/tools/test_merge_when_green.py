"""Auto-merge is enabled only if a rule of the branch requires the tests."""

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


def test_auto_merge_is_enabled_if_the_tests_are_required(pull_request: Clone) -> None:
    required(pull_request, "lint", "passed")

    pull_request.run(MERGE, UPDATE, "main")

    rules, merge = pull_request.gh_calls()
    assert rules.startswith("api repos/desk/desk/rules/branches/main ")
    assert merge == f"pr merge --auto --squash {UPDATE}"


@pytest.mark.parametrize("checks", [(), ("lint", "passed-once")])
def test_without_that_rule_the_update_is_not_merged(
    pull_request: Clone, checks: tuple[str, ...]
) -> None:
    required(pull_request, *checks)

    done = pull_request.run(MERGE, UPDATE, "main", check=False)

    assert done.returncode == 1
    assert "no rule of main requires the check `passed`" in done.stderr
    assert not any(call.startswith("pr merge") for call in pull_request.gh_calls())
