"""Another version of Twelvefold to measure beside this one: a directory or a commit.

Both use this environment's packages. A version that has `bench/workload.py` is driven by its own
`bench/durable.py`, an older one by that of this checkout, which has to fit it.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.processes import ROOT


@contextmanager
def checkout(version: str, folder: Path) -> Iterator[Path]:
    """The directory of a version; for a commit a temporary worktree in `folder`."""
    path = Path(version)
    if (path / "src" / "twelvefold").is_dir():
        yield path.resolve()
        return
    worktree = folder / "against"
    _git("worktree", "add", "--detach", str(worktree), version)
    try:
        yield worktree
    finally:
        _git("worktree", "remove", "--force", str(worktree))


def _git(*arguments: str) -> None:
    subprocess.run(["git", "-C", str(ROOT), *arguments], check=True, capture_output=True)
