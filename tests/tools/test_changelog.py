"""What a version's section of the changelog says."""

import pytest

from tools.changelog import released

OLD = "## [0.1.0] - 2026-01-02\n\n- All.\n"
KEPT = f"# Changelog\n\n## [Unreleased]\n\n### Added\n\n- A page.\n\n{OLD}"
EMPTY = f"# Changelog\n\n## [Unreleased]\n\n{OLD}"


def test_what_is_unreleased_becomes_the_version_s() -> None:
    changelog, notes = released(KEPT, "0.2.0", "2026-03-04", ["fix: not told twice"])

    assert notes == "### Added\n\n- A page."
    assert changelog == (
        "# Changelog\n\n## [Unreleased]\n\n## [0.2.0] - 2026-03-04\n\n### Added\n\n- A page.\n\n"
        "## [0.1.0] - 2026-01-02\n\n- All.\n"
    )


def test_without_a_word_there_the_commits_speak() -> None:
    subjects = [
        "feat(web): show a page",
        "fix: mend a thing",
        "feat!: turn it round",
        "docs: say so",
        "no commit of ours",
        "perf: hurry",
        "refactor: move it\n\nFor order's sake.\n\nBREAKING CHANGE: it is elsewhere.\n",
    ]

    changelog, notes = released(EMPTY, "0.2.0", "2026-03-04", subjects)

    assert notes == (
        "### Added\n\n- Show a page.\n\n"
        "### Changed\n\n- Turn it round (breaks).\n- Hurry.\n- Move it (breaks).\n\n"
        "### Fixed\n\n- Mend a thing."
    )
    assert f"## [Unreleased]\n\n## [0.2.0] - 2026-03-04\n\n{notes}\n\n## [0.1.0]" in changelog


def test_a_version_that_is_there_already_stays_as_it_is() -> None:
    changelog, _ = released(KEPT, "0.2.0", "2026-03-04", [])

    assert released(changelog, "0.2.0", "2026-03-05", ["fix: late"]) == (
        changelog,
        "### Added\n\n- A page.",
    )


def test_the_first_version_has_nothing_behind_it() -> None:
    changelog, _ = released("## [Unreleased]\n\n- All.\n", "0.1.0", "2026-01-02", [])

    assert changelog == "## [Unreleased]\n\n## [0.1.0] - 2026-01-02\n\n- All.\n"


@pytest.mark.parametrize(
    ("changelog", "why"),
    [("# Changelog\n", "has no line"), (EMPTY, "neither .* say what is new")],
)
def test_a_release_of_nothing_is_refused(changelog: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        released(changelog, "0.2.0", "2026-03-04", ["docs: say so"])
