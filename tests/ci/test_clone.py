"""A clone without the data of `TWELVEFOLD_SHARED`, which users do not have."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EVERY_TEST = ("-m", "pytest", "--collect-only", "--quiet", "-m", "", "-p", "no:cacheprovider")


@pytest.mark.timeout(900)  # every module of the tests is imported
@pytest.mark.parametrize("arguments", [EVERY_TEST, ("-m", "tests.acceptance.crash", "--help")])
def test_collection_and_help_work_without_the_shared_data(
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
