"""The section of a version in the changelog."""

import pytest

from tools.changelog import released

OLD = "## [0.1.0] - 2026-01-02\n\n- All.\n"
KEPT = f"# Changelog\n\n## [Unreleased]\n\n### Added\n\n- A page.\n\n{OLD}"
EMPTY = f"# Changelog\n\n## [Unreleased]\n\n{OLD}"


def test_the_unreleased_entries_move_to_the_version() -> None:
    changelog, notes = released(KEPT, "0.2.0", "2026-03-04", ["fix: do not list this"])

    assert notes == "### Added\n\n- A page."
    assert changelog == (
        "# Changelog\n\n## [Unreleased]\n\n## [0.2.0] - 2026-03-04\n\n### Added\n\n- A page.\n\n"
        "## [0.1.0] - 2026-01-02\n\n- All.\n"
    )


def test_without_entries_the_notes_come_from_the_commits() -> None:
    subjects = [
        "feat(web): show a page",
        "fix: mend a thing",
        "feat!: reverse the order",
        "docs: explain",
        "not a conventional commit",
        "perf: read less",
        "refactor: move it\n\nTo make order.\n\nBREAKING CHANGE: it is elsewhere.\n",
    ]

    changelog, notes = released(EMPTY, "0.2.0", "2026-03-04", subjects)

    assert notes == (
        "### Added\n\n- Show a page.\n\n"
        "### Changed\n\n- Reverse the order (breaks).\n- Read less.\n- Move it (breaks).\n\n"
        "### Fixed\n\n- Mend a thing."
    )
    assert f"## [Unreleased]\n\n## [0.2.0] - 2026-03-04\n\n{notes}\n\n## [0.1.0]" in changelog


def test_a_version_that_exists_does_not_change() -> None:
    changelog, _ = released(KEPT, "0.2.0", "2026-03-04", [])

    assert released(changelog, "0.2.0", "2026-03-05", ["fix: late"]) == (
        changelog,
        "### Added\n\n- A page.",
    )


def test_the_first_version_has_no_older_one_after_it() -> None:
    changelog, _ = released("## [Unreleased]\n\n- All.\n", "0.1.0", "2026-01-02", [])

    assert changelog == "## [Unreleased]\n\n## [0.1.0] - 2026-01-02\n\n- All.\n"


@pytest.mark.parametrize(
    ("changelog", "message"),
    [("# Changelog\n", "has no line"), (EMPTY, "no entries under .* and no commits")],
)
def test_a_release_without_notes_is_an_error(changelog: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        released(changelog, "0.2.0", "2026-03-04", ["docs: explain"])
