"""The command `llm`, by one API or the other; it sends the texts of the earlier turns again."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

FUNCTION = """
def get_weather(city: str) -> str:
    "The weather in a city."
    return f"18 degrees in {city}"
"""
api, questions = sys.argv[1], json.loads(sys.argv[2])
program = str(Path(sys.executable).with_name("llm"))
model = {
    "model_id": "workflow",
    "model_name": "enrolment",
    "api_base": os.environ["OPENAI_BASE_URL"],
    "api_key_name": "twelvefold",
    "responses": api == "responses",
    "supports_tools": True,
}


def llm(*arguments: str) -> str:
    done = subprocess.run([program, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.rstrip("\n")


def told(*arguments: str) -> dict[str, Any]:
    """The command shows texts alone."""
    return {"text": llm("--model", "workflow", *arguments), "tools": []}


def streamed() -> dict[str, Any]:
    pieces = []
    command = [program, "--model", "workflow", questions["stream"]]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as asked:
        assert asked.stdout is not None
        while piece := os.read(asked.stdout.fileno(), 1 << 16):
            pieces.append(piece)
    return {"text": b"".join(pieces).decode(), "tools": [], "pieces": len(pieces)}


with tempfile.TemporaryDirectory() as here:
    os.environ["LLM_USER_PATH"] = here
    # JSON is YAML, too.
    Path(here, "extra-openai-models.yaml").write_text(json.dumps([model]))
    llm("keys", "set", "twelvefold", "--value", os.environ["OPENAI_API_KEY"])
    done = {
        "text": told("--no-stream", questions["text"]),
        "stream": streamed(),
        "tools": told("--no-stream", questions["tools"]),
        "second": told("--no-stream", "--continue", questions["second"]),
        "own_tool": told("--no-stream", "--functions", FUNCTION, questions["own_tool"]),
    }
    print(json.dumps(done))
