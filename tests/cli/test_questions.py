"""`twelvefold runs questions`: a person's open questions."""

from pathlib import Path

import pytest

from tests.cli.conftest import Twelvefold, child

DESK = '''
from datetime import timedelta
from typing import Literal

from twelvefold import Ask, Workflow, tool


@tool(effect="pure")
async def ask_bob(text: str) -> Ask:
    """Ask bob."""
    return Ask(text, schema=Literal["red", "blue"], person="bob", timeout=timedelta(days=1))


workflow = Workflow("shop", "You sell things.", (ask_bob,))
'''


@pytest.fixture
def asked(here: Path, tw: Twelvefold, shop: object) -> str:
    (here / "shop.py").write_text(DESK)
    started = child(here, "run", "--json", "--as", "ann", 'call ask_bob {"text": "Which colour?"}')
    return str(started.json["run"])


def test_a_person_s_questions_are_listed_and_answered(
    here: Path, tw: Twelvefold, asked: str
) -> None:
    row = tw("runs", "questions", "--as", "bob", "--json").json
    heads, line = tw("runs", "questions", "--as", "bob").lines
    others = tw("runs", "questions", "--as", "ann", "--json").out
    answer = (asked, "blue", "--call", row["call"], "--as", "bob", "--detach")
    answered = child(here, "runs", "answer", *answer)

    assert row["until_us"] > row["asked_at_us"]
    assert {name: row[name] for name in ("run", "call", "workflow", "person", "question")} == {
        "run": asked,
        "call": "2.0",
        "workflow": "shop",
        "person": "bob",
        "question": "Which colour?",
    }
    assert row["schema"] == {"enum": ["red", "blue"], "type": "string"}
    assert heads.split()[:3] == ["RUN", "CALL", "WORKFLOW"]
    assert line.startswith(f"{asked}  2.0   shop")
    assert line.endswith("Which colour?")
    assert others == ""
    assert answered.status == 0
    assert tw("runs", "questions", "--as", "bob", "--json").out == ""


def test_a_list_that_is_cut_off_says_so(here: Path, tw: Twelvefold, asked: str) -> None:
    whole = tw("runs", "questions", "--as", "bob", "--limit", "1")
    child(here, "run", "--json", "--as", "ann", 'call ask_bob {"text": "Which size?"}')

    first = tw("runs", "questions", "--as", "bob", "--limit", "1", "--json")

    assert whole.err == ""
    assert first.json["question"] == "Which size?"
    assert first.err == "twelvefold: there are older questions; --limit N lists more\n"
