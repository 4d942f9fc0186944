"""Moves the entries under [Unreleased] in CHANGELOG.md to a version.

    python tools/changelog.py VERSION DATE [SINCE]

edits CHANGELOG.md and prints the notes of the version. Without entries under [Unreleased] the notes
come from the commits after SINCE, the tag of the last final version. A pre-release (0.2.0-rc.1)
only prints the notes: its entries stay under [Unreleased] for the final version.
Source of the formats: keepachangelog.com 1.1.0 and conventionalcommits.org 1.0.0.
"""

import re
import subprocess
import sys
from pathlib import Path

CHANGELOG = Path("CHANGELOG.md")
UNRELEASED = "## [Unreleased]\n"
BREAKS = re.compile(r"^BREAKING[ -]CHANGE: ", re.MULTILINE)
SUBJECT = re.compile(r"(?P<type>[a-z]+)(?:\([^)]*\))?(?P<breaks>!)?: (?P<change>.+)")
HEADINGS = {"feat": "Added", "perf": "Changed", "fix": "Fixed"}
"""Commits of other types change nothing for users."""


def released(changelog: str, version: str, date: str, commits: list[str]) -> tuple[str, str]:
    """Return the changelog with the version, and its notes; `commits` are whole messages.

    A version that is already in the changelog does not change. Raises ValueError if [Unreleased] is
    missing or there are no notes.
    """
    if existing := re.search(rf"(?ms)^## \[{re.escape(version)}\].*?$(.*?)(?=^## |\Z)", changelog):
        return changelog, existing[1].strip()
    before, found, after = changelog.partition(UNRELEASED)
    if not found:
        raise ValueError(f"CHANGELOG.md has no line {UNRELEASED.strip()!r}")
    entries, older = re.match(r"(?s)(.*?)(?=^## |\Z)(.*)", after, re.MULTILINE).groups()  # type: ignore[union-attr] # anything matches
    notes = entries.strip() or _notes_from(commits)
    if not notes:
        raise ValueError("no entries under [Unreleased] and no commits with a feature or fix")
    head = f"## [{version}] - {date}"
    return f"{before}{UNRELEASED}\n{head}\n\n{notes}\n\n{older}".rstrip() + "\n", notes


def _notes_from(messages: list[str]) -> str:
    sections: dict[str, list[str]] = {}
    for message in messages:
        subject, _, body = message.strip().partition("\n")
        commit = SUBJECT.fullmatch(subject)
        breaks = bool(commit and (commit["breaks"] or BREAKS.search(body)))
        heading = commit and ("Changed" if breaks else HEADINGS.get(commit["type"]))
        if commit and heading:
            change = commit["change"]
            line = f"- {change[0].upper()}{change[1:]}{' (breaks)' if breaks else ''}."
            sections.setdefault(heading, []).append(line)
    parts = [f"### {heading}\n\n" + "\n".join(lines) for heading, lines in sorted(sections.items())]
    return "\n\n".join(parts)


def main() -> None:
    version, date, *since = sys.argv[1:]
    span = f"{since[0]}..HEAD" if since and since[0] else "HEAD"
    log = ["git", "log", "--reverse", "--no-merges", "--format=%B%x00", span]
    messages = subprocess.run(log, capture_output=True, text=True, check=True).stdout.split("\0")
    try:
        changelog, notes = released(CHANGELOG.read_text(), version, date, messages)
    except ValueError as error:
        sys.exit(f"changelog: {error}")
    if "-" not in version:
        CHANGELOG.write_text(changelog)
    print(notes)


if __name__ == "__main__":
    main()
