"""The README's workflow, run by the command line on the embedded database."""

import json
import os
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def twelvefold(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(EXAMPLES),
        "WORKFLOWS": "shopping:workflow",
    }
    command = [sys.executable, "-m", "twelvefold", *arguments]
    return subprocess.run(command, cwd=directory, env=environ, capture_output=True, text=True)


def test_the_readmes_workflow_writes_and_reads_its_table(tmp_path: Path) -> None:
    added = twelvefold(tmp_path, "run", "Put milk on the list", "--json")
    again = twelvefold(tmp_path, "run", "Put milk on the list")
    shown = twelvefold(tmp_path, "run", "Show what is on the list")

    assert added.returncode == 0, added.stderr
    assert json.loads(added.stdout)["status"] == "completed"
    assert "milk is on the list already" in again.stdout
    assert "milk" in shown.stdout
