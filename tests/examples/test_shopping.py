"""The README's workflow, run by the command line on the embedded database."""

import json
import os
import subprocess
import sys
from pathlib import Path

from examples.shopping import workflow
from twelvefold.testing import SyncTestApp, assert_called, call

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def twelvefold(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(EXAMPLES),
        "WORKFLOWS": "shopping:workflow",
    }
    command = [sys.executable, "-m", "twelvefold", *arguments]
    return subprocess.run(command, cwd=directory, env=environ, capture_output=True, text=True)


def test_what_is_on_the_list_already_is_refused() -> None:
    milk = call("add_item", item="milk")

    with SyncTestApp([workflow]) as app:
        app.model.replies(milk, "Done.", milk, call("show_list"), "It is there.")
        app.run(workflow, "Milk, please", principal="ann")
        run = app.run(workflow, "Milk, please", principal="bob")

        assert_called(run, "add_item", times=1, item="milk")
        assert [one.failure for one in run.calls] == ["refused", ""]
        app.assert_rows(
            "select item, added_by from shopping", [{"item": "milk", "added_by": "ann"}]
        )


def test_the_readmes_workflow_writes_and_reads_its_table(tmp_path: Path) -> None:
    added = twelvefold(tmp_path, "run", "Put milk on the list", "--json")
    again = twelvefold(tmp_path, "run", "Put milk on the list")
    shown = twelvefold(tmp_path, "run", "Show what is on the list")

    assert added.returncode == 0, added.stderr
    assert json.loads(added.stdout)["status"] == "completed"
    assert "milk is on the list already" in again.stdout
    assert "milk" in shown.stdout
