"""A clone with its own remote, and a fake `gh` that records its calls."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GH = """\
#!/bin/sh
printf '%s\\n' "$*" >>"$GH_CALLS"
case "$*" in
  "pr list"*) cat "$GH_OPEN" 2>/dev/null || true ;;
  "release view"*) exit 1 ;;
  "release create"*) cat ;;
  "api "*) cat "$GH_API" ;;
esac
"""


class Clone:
    """The checkout of a workflow."""

    def __init__(self, home: Path) -> None:
        self.path, self.calls, self._origin = home / "clone", home / "calls", home / "origin"
        (home / "bin").mkdir()
        (home / "bin" / "gh").write_text(GH)
        (home / "bin" / "gh").chmod(0o755)
        self.environ = {
            "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(home),
            "GH_CALLS": str(self.calls),
            "GH_OPEN": str(home / "open"),
            "GH_API": str(home / "api"),
            "GITHUB_ACTOR": "ann",
            "GIT_CONFIG_GLOBAL": os.devnull,
            **{f"GIT_{role}_NAME": "Ann" for role in ("AUTHOR", "COMMITTER")},
            **{f"GIT_{role}_EMAIL": "ann@example.org" for role in ("AUTHOR", "COMMITTER")},
        }
        home.joinpath("api").touch()
        self.git("init", "--quiet", "--bare", str(self._origin), at=home)
        self.git("clone", "--quiet", str(self._origin), str(self.path), at=home)
        self.commit("main", "begin")
        for branch in ("next", "beta", "alpha"):
            self.git("push", "--quiet", "origin", f"main:refs/heads/{branch}")

    def git(self, *arguments: str, at: Path | None = None) -> str:
        return self.run("git", *arguments, at=at).stdout.strip()

    def run(
        self, *command: str, at: Path | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=at or self.path,
            env=self.environ,
            capture_output=True,
            text=True,
            check=check,
        )

    def commit_file(self, branch: str, subject: str, file: str, text: str) -> None:
        """Push a commit to the branch that writes a file."""
        self._check_out(branch)
        (self.path / file).parent.mkdir(parents=True, exist_ok=True)
        (self.path / file).write_text(text)
        self.git("add", file)
        self._push(branch, subject)

    def commit(self, branch: str, subject: str) -> None:
        """Push an empty commit to the branch."""
        self._check_out(branch)
        self._push(branch, subject)

    def _check_out(self, branch: str) -> None:
        self.git("fetch", "--quiet", "origin")
        self.git("checkout", "--quiet", "-B", branch)
        if self.git("ls-remote", "origin", branch):
            self.git("reset", "--quiet", "--hard", f"origin/{branch}")

    def _push(self, branch: str, subject: str) -> None:
        self.git("commit", "--quiet", "--allow-empty", "--message", subject)
        self.git("push", "--quiet", "origin", branch)

    def log(self, branch: str) -> list[str]:
        """Return the subjects of the remote branch, newest first."""
        return self.git("log", "--format=%s", branch, at=self._origin).splitlines()

    def gh_calls(self) -> list[str]:
        """Return the arguments of each call of `gh`."""
        return self.calls.read_text().splitlines() if self.calls.exists() else []


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)
