"""The workflow of an online academy's student assistant, with its tools, tables and catalogue."""

from pathlib import Path

from twelvefold import Workflow
from twelvefold.workflows.enrolment.seed import seed
from twelvefold.workflows.enrolment.tools import TOOLS

_HERE = Path(__file__).parent

workflow = Workflow(
    name="enrolment",
    instructions=(_HERE / "prompt.md").read_text(encoding="utf-8"),
    tools=TOOLS,
    schema=(_HERE / "schema.sql").read_text(encoding="utf-8"),
    seed=seed,
    # Each works with the built-in demo model.
    examples=(
        "I want to learn programming, for less than 250 dollars.",
        "Sign me up for PY-101, please.",
        "Enrol me in DB-101. If it is full, take whatever is closest.",
    ),
)
