"""Gives what CHANGELOG.md has under [Unreleased] to a version, or what the commits say.

    python tools/changelog.py VERSION DATE [SINCE]

edits CHANGELOG.md and prints the version's notes; SINCE is the tag of the last final version. One
that is not final (0.2.0-rc.1) has the notes alone: [Unreleased] stays whole for the final version.
Source of the form: keepachangelog.com 1.1.0 and conventionalcommits.org 1.0.0.
"""

import re
import subprocess
import sys
from pathlib import Path

CHANGELOG = Path("CHANGELOG.md")
UNRELEASED = "## [Unreleased]\n"
BREAKS = re.compile(r"^BREAKING[ -]CHANGE: ", re.MULTILINE)
SUBJECT = re.compile(r"(?P<type>[a-z]+)(?:\([^)]*\))?(?P<breaks>!)?: (?P<what>.+)")
HEADINGS = {"feat": "Added", "perf": "Changed", "fix": "Fixed"}
"""Commits of other types are nothing that a user notices."""


def released(changelog: str, version: str, date: str, commits: list[str]) -> tuple[str, str]:
    """The changelog with the version in it, and what it says of that; `commits` are whole messages.

    A version that it has already stays as it is. Raises ValueError for one without [Unreleased], or
    where there is nothing to say.
    """
    if there := re.search(rf"(?ms)^## \[{re.escape(version)}\].*?$(.*?)(?=^## |\Z)", changelog):
        return changelog, there[1].strip()
    before, found, behind = changelog.partition(UNRELEASED)
    if not found:
        raise ValueError(f"CHANGELOG.md has no line {UNRELEASED.strip()!r}")
    notes, older = re.match(r"(?s)(.*?)(?=^## |\Z)(.*)", behind, re.MULTILINE).groups()  # type: ignore[union-attr] # anything matches
    said = notes.strip() or _of_commits(commits)
    if not said:
        raise ValueError("neither [Unreleased] nor the commits say what is new")
    head = f"## [{version}] - {date}"
    return f"{before}{UNRELEASED}\n{head}\n\n{said}\n\n{older}".rstrip() + "\n", said


def _of_commits(messages: list[str]) -> str:
    sections: dict[str, list[str]] = {}
    for message in messages:
        subject, _, body = message.strip().partition("\n")
        commit = SUBJECT.fullmatch(subject)
        breaks = bool(commit and (commit["breaks"] or BREAKS.search(body)))
        heading = commit and ("Changed" if breaks else HEADINGS.get(commit["type"]))
        if commit and heading:
            what = commit["what"]
            line = f"- {what[0].upper()}{what[1:]}{' (breaks)' if breaks else ''}."
            sections.setdefault(heading, []).append(line)
    told = [f"### {heading}\n\n" + "\n".join(lines) for heading, lines in sorted(sections.items())]
    return "\n\n".join(told)


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
