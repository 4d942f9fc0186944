"""One enrolment driven by a real model, a tiny one, at temperature 0: no script, no rules."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import llm
from twelvefold.core.ports import Row
from twelvefold.services.store import open_store

TURNS = ("Call get_course for course_code PY-101.", "Now call enrol for course_code PY-101.")


@pytest.mark.slow
@pytest.mark.timeout(900)  # a minute a call, on one busy core
def test_a_real_model_enrols_somebody(tmp_path: Path) -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "OPENAI_BASE_URL": llm(),
        "OPENAI_API_KEY": "none",
        "OPENAI_MODEL": "qwen2.5-coder-1.5b",
        "OPENAI_API": "chat",
        "OPENAI_TEMPERATURE": "0",
        "OPENAI_MAX_OUTPUT_TOKENS": "200",
    }
    thread: list[str] = []
    for turn in TURNS:
        command = [sys.executable, "-m", "twelvefold", "run", "--json", *thread, turn]
        ran = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        thread = ["--thread", json.loads(ran.stdout)["thread"]]

    enrolled = asyncio.run(enrolments(f"sqlite:///{tmp_path}/twelvefold.db"))

    assert [(row["student_id"], row["section_id"][:6]) for row in enrolled] == [("local", "PY-101")]


async def enrolments(url: str) -> list[Row]:
    store = await open_store(url)
    async with store.read() as db:
        rows = await db.fetch_all("select student_id, section_id from enrolments")
    await store.close()
    return rows
