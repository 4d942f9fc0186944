"""A branch's commits go one further, and no branch loses any."""

from pathlib import Path

import pytest

from tests.tools.conftest import ROOT, Clone

PROMOTE = str(ROOT / "tools" / "promote")


@pytest.mark.parametrize(("frm", "to"), [("alpha", "beta"), ("beta", "next"), ("next", "main")])
def test_a_branch_without_commits_of_its_own_moves_on(clone: Clone, frm: str, to: str) -> None:
    clone.commit(frm, "feat: greet")

    clone.run(PROMOTE, frm)

    assert clone.log(to) == ["feat: greet", "begin"]
    assert clone.asked() == []


def test_nothing_to_promote_changes_nothing(clone: Clone) -> None:
    clone.commit("beta", "fix: thank")

    done = clone.run(PROMOTE, "alpha")

    assert "nothing to promote: beta has all of alpha" in done.stderr
    assert clone.log("beta") == ["fix: thank", "begin"]


def test_a_branch_with_commits_of_its_own_gets_a_pull_request(clone: Clone) -> None:
    clone.commit("alpha", "feat: greet")
    clone.commit("beta", "chore: release 0.2.0-beta.1")

    clone.run(PROMOTE, "alpha")

    assert clone.log("beta") == ["chore: release 0.2.0-beta.1", "begin"]
    _, created = clone.asked()
    assert created.startswith("pr create --base beta --head alpha --title chore: promote alpha")


def test_an_open_pull_request_is_not_opened_again(clone: Clone) -> None:
    clone.commit("alpha", "feat: greet")
    clone.commit("beta", "chore: release 0.2.0-beta.1")
    Path(clone.environ["GH_OPEN"]).write_text("https://example.org/pull/7\n")

    done = clone.run(PROMOTE, "alpha")

    assert "the pull request is https://example.org/pull/7" in done.stderr
    assert [call.split()[1] for call in clone.asked()] == ["list"]


@pytest.mark.parametrize("frm", ["main", "", "alpha; true"])
def test_there_is_nothing_further_than_main(clone: Clone, frm: str) -> None:
    done = clone.run(PROMOTE, frm, check=False)

    assert done.returncode == 1
    assert f"from '{frm}': use alpha, beta or next" in done.stderr
