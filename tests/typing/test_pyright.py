"""pyright, the type checker of many editors, accepts the examples and rejects wrong calls of tools.

The rest of this package is checked by mypy, too: see `make check`.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
DECLARED = """
from twelvefold import ReadOnly, tool

@tool
async def look(db: ReadOnly, code: str) -> int:
    "Look it up."
    return len(code)

@tool(effect="pure", once=True)
def double(number: int) -> int:
    "Double it."
    return 2 * number

async def use(db: ReadOnly) -> None:
    """


class Checked(NamedTuple):
    status: int
    rules: list[str]


def check(*arguments: str, in_directory: Path = ROOT) -> Checked:
    command: Sequence[str] = (sys.executable, "-m", "basedpyright", "--outputjson", *arguments)
    done = subprocess.run(command, cwd=in_directory, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    return Checked(done.returncode, [one["rule"] for one in report["generalDiagnostics"]])


def test_the_examples_and_the_public_names_are_strictly_typed() -> None:
    assert check() == Checked(0, [])


@pytest.mark.parametrize(
    ("call", "rules"),
    [
        ("number: int = await look(db, 'c1'); number = await double(number=number)", []),
        ("await look(db, 7)", ["reportArgumentType"]),
        ("await look(db)", ["reportCallIssue"]),
        ("await double(text=2)", ["reportCallIssue", "reportCallIssue"]),
        ("text: str = await double(2)", ["reportAssignmentType"]),
    ],
)
def test_a_wrong_call_of_a_tool_is_an_error(call: str, rules: list[str], tmp_path: Path) -> None:
    (tmp_path / "calls.py").write_text(f"{DECLARED}{call}\n")
    settings = {"typeCheckingMode": "standard", "extraPaths": [str(ROOT / "src")]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))

    checked = check(f"--pythonpath={sys.executable}", in_directory=tmp_path)

    assert sorted(checked.rules) == sorted(rules)
