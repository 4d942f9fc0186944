"""A release at GitHub has the notes of its tag and the files of dist/."""

import pytest

from tests.tools.conftest import ROOT, Clone

PUBLISH = str(ROOT / "tools" / "publish")


@pytest.mark.parametrize(
    ("version", "kind", "notes"),
    [("0.2.0-beta.1", "--prerelease", "- It greets."), ("0.2.0", "--latest", "- It thanks.")],
)
def test_a_tag_is_published(clone: Clone, version: str, kind: str, notes: str) -> None:
    (clone.path / "dist").mkdir()
    (clone.path / "dist" / "a.whl").touch()
    message = f"Twelvefold {version}\n\n### Added\n\n{notes}"
    clone.git("tag", "--annotate", "--cleanup=verbatim", f"v{version}", "--message", message)

    done = clone.run(PUBLISH)

    title = f"--title Twelvefold {version} --notes-file - dist/a.whl"
    assert clone.gh_calls()[-1] == f"release create v{version} --verify-tag {kind} {title}"
    assert done.stdout.strip() == f"### Added\n\n{notes}"


def test_a_commit_without_a_tag_is_not_published(clone: Clone) -> None:
    done = clone.run(PUBLISH)

    assert "HEAD is not a release" in done.stderr
    assert clone.gh_calls() == []
