"""τ-bench's retail shop as a workflow: its policy, its sixteen tools, its tables."""

import json
from collections.abc import Sequence
from pathlib import Path

from examples.retail.load import seed, taubench
from examples.retail.tools import TOOLS
from twelvefold import RejectedCall, Workflow

POLICY = taubench() / "retail" / "policy.md"
if not POLICY.exists():
    raise FileNotFoundError(f"no {POLICY}; TWELVEFOLD_SHARED is the folder that taubench/ is in")


def explain(bad: RejectedCall) -> str:
    """Word a call that never reached its tool as the benchmark does, where Python refuses it."""
    if bad.failure == "unknown_tool":
        return f"Unknown action {bad.tool}"
    return f"Error: {_what_python_says(bad) or '; '.join(bad.problems)}"


def _what_python_says(bad: RejectedCall) -> str | None:
    """The TypeError of a function that lacks an argument or got one too many; None for the rest."""
    given = _names_in(bad.arguments)
    if bad.failure != "arguments" or given is None:
        return None
    parameters = next(tool for tool in TOOLS if tool.name == bad.tool).model_parameters
    function = bad.tool.title().replace("_", "") + ".invoke()"
    for name in given:
        if name not in parameters:
            return f"{function} got an unexpected keyword argument '{name}'"
    missing = [f"'{name}'" for name in parameters if name not in given]
    if not missing:
        return None
    arguments = "argument" if len(missing) == 1 else "arguments"
    return f"{function} missing {len(missing)} required positional {arguments}: {_listed(missing)}"


def _names_in(arguments: str) -> list[str] | None:
    try:
        parsed = json.loads(arguments or "{}")
    except ValueError:
        return None
    return list(parsed) if isinstance(parsed, dict) else None


def _listed(names: Sequence[str]) -> str:
    *before, last = names
    if len(before) < 2:
        return " and ".join(names)
    return f"{', '.join(before)}, and {last}"


workflow = Workflow(
    name="retail",
    instructions=POLICY.read_text(encoding="utf-8"),
    tools=TOOLS,
    schema=Path(__file__).with_name("schema.sql").read_text(encoding="utf-8"),
    seed=seed,
    explain=explain,
)
