"""τ-bench's retail shop as a workflow: its policy, sixteen tools and tables."""

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
    """Return the benchmark's error text for an invalid call, which is often Python's."""
    if bad.failure == "unknown_tool":
        return f"Unknown action {bad.tool}"
    return f"Error: {_python_error(bad) or '; '.join(bad.problems)}"


def _python_error(bad: RejectedCall) -> str | None:
    """Return Python's error text for a missing or unexpected argument, None for other errors."""
    given = _argument_names(bad.arguments)
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
    return f"{function} missing {len(missing)} required positional {arguments}: {_joined(missing)}"


def _argument_names(arguments: str) -> list[str] | None:
    try:
        parsed: object = json.loads(arguments or "{}")
    except ValueError:
        return None
    return list(parsed) if isinstance(parsed, dict) else None


def _joined(names: Sequence[str]) -> str:
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
