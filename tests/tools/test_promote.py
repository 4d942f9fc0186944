"""A branch's commits go one further, and no branch loses any."""

from pathlib import Path

import pytest

from tests.tools.conftest import ROOT, Clone

PROMOTE = str(ROOT / "tools" / "promote")
VERSION = "src/twelvefold/__init__.py"


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
    assert created.startswith("pr create --base beta --head promote-alpha-to-beta --title chore:")
    assert set(clone.log("promote-alpha-to-beta")) == {
        *("chore: promote alpha to beta", "feat: greet", "chore: release 0.2.0-beta.1", "begin"),
    }


def released(clone: Clone, branch: str, version: str) -> None:
    """What a release changes in the branch."""
    clone.changes(branch, f"chore: release {version}", VERSION, f'__version__ = "{version}"\n')


def merged(clone: Clone, branch: str) -> None:
    """Somebody merges the pull request."""
    clone.git("fetch", "--quiet", "origin")
    clone.git("checkout", "--quiet", "-B", branch, f"origin/{branch}")
    clone.git("merge", "--quiet", "--no-ff", "--no-edit", f"origin/promote-alpha-to-{branch}")
    clone.git("push", "--quiet", "origin", branch)


def test_each_branch_keeps_its_version_however_often_it_is_promoted_to(clone: Clone) -> None:
    released(clone, "alpha", "0.2.0-alpha.1")
    clone.run(PROMOTE, "alpha")
    for cycle in (1, 2):
        released(clone, "beta", f"0.2.0-beta.{cycle}")
        clone.changes("alpha", f"fix: {cycle}", "thing.txt", str(cycle))
        released(clone, "alpha", f"0.2.0-alpha.{cycle + 1}")
        clone.run(PROMOTE, "alpha")
        merged(clone, "beta")

    assert clone.git("show", f"beta:{VERSION}") == '__version__ = "0.2.0-beta.2"'
    assert clone.git("show", "beta:thing.txt") == "2"
    assert {"fix: 1", "fix: 2"} <= set(clone.log("beta"))


def test_what_contradicts_is_left_to_people(clone: Clone) -> None:
    clone.changes("alpha", "feat: greet", "thing.txt", "hello")
    clone.changes("beta", "fix: thank", "thing.txt", "thanks")

    done = clone.run(PROMOTE, "alpha", check=False)

    assert done.returncode == 1
    assert "contradict each other, which somebody has to settle: thing.txt" in done.stderr
    assert clone.asked() == []


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
