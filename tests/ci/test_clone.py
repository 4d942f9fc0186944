"""A clone that has not got the data of `TWELVEFOLD_SHARED`, as every user's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EVERY_TEST = ("-m", "pytest", "--collect-only", "--quiet", "-m", "", "-p", "no:cacheprovider")


@pytest.mark.parametrize("arguments", [EVERY_TEST, ("-m", "tests.acceptance.crash", "--help")])
def test_nothing_needs_the_shared_data_but_what_says_so(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "TWELVEFOLD_SHARED": str(tmp_path / "none")},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr
