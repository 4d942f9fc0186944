"""`make tear-down` in a fresh clone: whatever was made there is gone, servers included."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ROOT = Path(__file__).resolve().parents[2]


class Clone:
    def __init__(self, path: Path) -> None:
        self.path = path
        subprocess.run(["git", "clone", "--quiet", ROOT, path], check=True)

    def does(self, *command: str) -> str:
        """Run a command there, without a terminal; what it says on standard output."""
        ours = ("DATABASE_URL", "MAKE", "PYTEST_", "PYTHON", "TWELVEFOLD_", "VIRTUAL_ENV")
        environ = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        done = subprocess.run(
            command,
            cwd=self.path,
            env=environ | {"PYTHON": f"{sys.base_prefix}/bin/python3"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def left(self) -> list[str]:
        return self.does("git", "status", "--porcelain", "--ignored").splitlines()

    def processes(self) -> list[str]:
        listed = subprocess.run(
            ["ps", "-ww", "-eo", "args"], capture_output=True, text=True, check=True
        )
        return [line for line in listed.stdout.splitlines() if str(self.path) in line]


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Clone]:
    clone = Clone(tmp_path / "clone")
    yield clone
    clone.does("make", "tear-down", "FORCE=1")


def test_it_leaves_nothing_behind(clone: Clone) -> None:
    clone.does("make", "init")
    clone.does(".venv/bin/python", "-m", "tests.servers", "start")
    python = ".venv/bin/python"  # each step of `make check` that leaves files, on little
    clone.does(python, "-m", "ruff", "check", "tools")
    clone.does(python, "-m", "mypy", "hatch_build.py")
    clone.does(".venv/bin/lint-imports", "--no-logo")
    clone.does(
        python, "-m", "pytest", "--cov", "--cov-fail-under=0", "tests/core/tools/test_schema.py"
    )
    clone.does("make", "build")
    clone.does("make", "run")
    assert [line for line in clone.processes() if "mariadbd" in line or "mysqld" in line]
    assert "!! .services/" in clone.left()

    told = clone.does("make", "tear-down")

    assert "twelvefold.db is kept" in told
    assert clone.left() == ["!! twelvefold.db"]
    assert clone.processes() == []
    clone.does("make", "tear-down", "FORCE=1")
    assert clone.left() == []
    assert clone.does("git", "worktree", "list").count("\n") == 1
