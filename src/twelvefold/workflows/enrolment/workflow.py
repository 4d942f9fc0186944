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
)
