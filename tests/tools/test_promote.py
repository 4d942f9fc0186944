"""Promotion of a branch to the next one; no branch loses commits."""

from pathlib import Path

import pytest

from tests.tools.conftest import ROOT, Clone

PROMOTE = str(ROOT / "tools" / "promote")
VERSION = "src/twelvefold/__init__.py"


@pytest.mark.parametrize(("frm", "to"), [("alpha", "beta"), ("beta", "next"), ("next", "main")])
def test_a_branch_without_commits_of_its_own_is_fast_forwarded(
    clone: Clone, frm: str, to: str
) -> None:
    clone.commit(frm, "feat: greet")

    clone.run(PROMOTE, frm)

    assert clone.log(to) == ["feat: greet", "begin"]
    assert clone.gh_calls() == []


def test_nothing_to_promote_changes_nothing(clone: Clone) -> None:
    clone.commit("beta", "fix: thank")

    done = clone.run(PROMOTE, "alpha")

    assert "nothing to promote: beta has all commits of alpha" in done.stderr
    assert clone.log("beta") == ["fix: thank", "begin"]


def test_a_branch_with_commits_of_its_own_gets_a_pull_request(clone: Clone) -> None:
    clone.commit("alpha", "feat: greet")
    clone.commit("beta", "chore: release 0.2.0-beta.1")

    clone.run(PROMOTE, "alpha")

    assert clone.log("beta") == ["chore: release 0.2.0-beta.1", "begin"]
    _, created = clone.gh_calls()
    assert created.startswith("pr create --base beta --head promote-alpha-to-beta --title chore:")
    assert set(clone.log("promote-alpha-to-beta")) == {
        *("chore: promote alpha to beta", "feat: greet", "chore: release 0.2.0-beta.1", "begin"),
    }


def release(clone: Clone, branch: str, version: str) -> None:
    """Push the commit of a release to the branch."""
    clone.commit_file(branch, f"chore: release {version}", VERSION, f'__version__ = "{version}"\n')


def merge(clone: Clone, branch: str) -> None:
    """Merge the pull request."""
    clone.git("fetch", "--quiet", "origin")
    clone.git("checkout", "--quiet", "-B", branch, f"origin/{branch}")
    clone.git("merge", "--quiet", "--no-ff", "--no-edit", f"origin/promote-alpha-to-{branch}")
    clone.git("push", "--quiet", "origin", branch)


def test_each_branch_keeps_its_version_after_repeated_promotions(clone: Clone) -> None:
    release(clone, "alpha", "0.2.0-alpha.1")
    clone.run(PROMOTE, "alpha")
    for cycle in (1, 2):
        release(clone, "beta", f"0.2.0-beta.{cycle}")
        clone.commit_file("alpha", f"fix: {cycle}", "thing.txt", str(cycle))
        release(clone, "alpha", f"0.2.0-alpha.{cycle + 1}")
        clone.run(PROMOTE, "alpha")
        merge(clone, "beta")

    assert clone.git("show", f"beta:{VERSION}") == '__version__ = "0.2.0-beta.2"'
    assert clone.git("show", "beta:thing.txt") == "2"
    assert {"fix: 1", "fix: 2"} <= set(clone.log("beta"))


def test_a_conflict_is_an_error(clone: Clone) -> None:
    clone.commit_file("alpha", "feat: greet", "thing.txt", "hello")
    clone.commit_file("beta", "fix: thank", "thing.txt", "thanks")

    done = clone.run(PROMOTE, "alpha", check=False)

    assert done.returncode == 1
    assert "alpha and beta conflict; merge them by hand: thing.txt" in done.stderr
    assert clone.gh_calls() == []


def test_an_open_pull_request_is_reused(clone: Clone) -> None:
    clone.commit("alpha", "feat: greet")
    clone.commit("beta", "chore: release 0.2.0-beta.1")
    Path(clone.environ["GH_OPEN"]).write_text("https://example.org/pull/7\n")

    done = clone.run(PROMOTE, "alpha")

    assert "the pull request is https://example.org/pull/7" in done.stderr
    assert [call.split()[1] for call in clone.gh_calls()] == ["list"]


@pytest.mark.parametrize("frm", ["main", "", "alpha; true"])
def test_only_alpha_beta_and_next_can_be_promoted(clone: Clone, frm: str) -> None:
    done = clone.run(PROMOTE, frm, check=False)

    assert done.returncode == 1
    assert f"from '{frm}': use alpha, beta or next" in done.stderr
