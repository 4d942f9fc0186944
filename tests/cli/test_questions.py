"""`twelvefold runs questions` and `runs answer`: a person's open questions."""

import json
import shlex
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


@tool(effect="pure")
async def ask_any(person: str = "") -> Ask:
    """Ask a person, by default the caller."""
    return Ask("Which size?", person=person)


workflow = Workflow("shop", "You sell things.", (ask_bob, ask_any))
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


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("person", "answers"),
    [("bob", "bob"), ("Bob O'Hara $(id)", "Bob O'Hara $(id)"), ("-bob", "-bob"), ("", "ann")],
)
def test_the_printed_command_answers_as_the_person_asked(
    here: Path, person: str, answers: str
) -> None:
    (here / "shop.py").write_text(DESK)

    started = child(here, "run", "--as", "ann", f"call ask_any {json.dumps({'person': person})}")

    hint = started.err.rpartition("answer with: ")[2].strip()
    _, runs, answer, run, *options = shlex.split(hint.replace("VALUE", "large"))
    assert hint in child(here, "runs", "show", run).err
    assert child(here, runs, answer, run, *options).status == 0
    assert answered_by(here, run) == [answers]


@pytest.mark.parametrize("options", [(), ("--as", "ann"), ("--as", "carol")])
def test_an_answer_of_another_person_is_refused_with_the_person_asked(
    here: Path, tw: Twelvefold, asked: str, options: tuple[str, ...]
) -> None:
    refused = child(here, "runs", "answer", asked, "blue", "--call", "2.0", *options)

    assert refused.status == 2
    assert refused.err.splitlines()[-1] == (
        f"twelvefold: bob has to answer call 2.0 of run {asked}; to answer for them: --as bob"
    )
    assert answered_by(here, asked) == []
    assert tw("runs", "questions", "--as", "bob", "--json").json["run"] == asked


@pytest.mark.usefixtures("shop")
def test_the_command_for_a_question_to_the_person_at_this_machine_is_short(here: Path) -> None:
    (here / "shop.py").write_text(DESK)

    started = child(here, "run", "call ask_any {}")

    assert started.err.endswith(" --call 2.0 VALUE\n")


def answered_by(here: Path, run: str) -> list[str]:
    entries = [json.loads(line) for line in child(here, "runs", "events", run).lines]
    return [one["body"]["by"] for one in entries if one["type"] == "WaitEnded"]
