"""The timeline of `twelvefold runs show`, and `runs retry`."""

import json
import re
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from tests.builders import asked, entries, finished, said
from tests.cli.conftest import ModelServer, Twelvefold, follow_rules
from tests.services.model.mock_server import refuses
from twelvefold.cli.timeline import cost_text, duration_text, print_timeline
from twelvefold.core.budget import Price
from twelvefold.core.events import Usage

pytestmark = pytest.mark.usefixtures("shop")


def timeline_of(lines: list[str]) -> list[list[str]]:
    """Return the columns of the timeline, without the times, and without gaps: load makes some."""
    start = lines.index("timeline:") + 2
    rows = lines[start : lines.index("", start)]
    columns = (re.split(r"\s{2,}", row.strip())[2:] for row in rows)
    return [row for row in columns if row[0] != "queue"]


def test_a_run_is_shown_with_its_timeline(tw: Twelvefold) -> None:
    run = tw("run", "--json", 'call buy {"what": "pear"}').json["run"]

    lines = tw("runs", "show", run).lines

    model, tool, answer = timeline_of(lines)
    assert (model[0], model[2:]) == ("model", ["completed", "100 in, 20 out"])
    assert tool == ["tool", "buy (2.0)", "completed"]
    assert answer[0] == "model"
    assert all(re.match(r"  \+\d+ ms  +\d", line) for line in lines if line.startswith("  +"))


def test_a_run_that_waits_is_shown_with_its_wait(tw: Twelvefold) -> None:
    run = tw("run", "--json", 'call pay {"cents": 3}').json["run"]

    _, wait = timeline_of(tw("runs", "show", run).lines)

    assert wait == ["wait", "approval (2.0)", "open"]


def test_a_run_that_did_nothing_has_no_timeline(capsys: pytest.CaptureFixture[str]) -> None:
    record: Any = SimpleNamespace(status="failed", leased=False, created_at_us=0)

    print_timeline(entries(asked("hello"), finished("failed")), record, ())

    assert capsys.readouterr().out == ""


def test_times_are_from_the_first_part_of_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    record: Any = SimpleNamespace(status="completed", leased=False, created_at_us=60_000)
    started, replied, ended = entries(
        asked("hello"), replace(said("hi"), took_us=50_000), finished()
    )
    journal = [
        replace(started, at_us=0),
        replace(replied, at_us=200_000),
        replace(ended, at_us=200_000),
    ]

    print_timeline(journal, record, ())

    _, _, _, queue, model = capsys.readouterr().out.splitlines()
    assert queue.split()[:5] == ["+0", "ms", "150", "ms", "queue"]
    assert model.split()[:5] == ["+150", "ms", "50", "ms", "model"]


def test_a_run_that_has_not_ended_is_shown_without_an_end(tw: Twelvefold) -> None:
    run = tw("run", "--json", 'call pay {"cents": 3}').json["run"]

    facts = tw("runs", "show", run).out.partition("timeline:")[0]

    assert "started:" in facts
    assert "ended:" not in facts


@pytest.mark.parametrize(
    ("duration_us", "expected"),
    [
        (None, "\u2026"),
        (0, "0 ms"),
        (30_400, "30 ms"),
        (4_240_000, "4.2 s"),
        (200_000_000, "3 min 20 s"),
        (7_500_000_000, "2 h 5 min"),
    ],
)
def test_a_duration_is_readable(duration_us: int | None, expected: str) -> None:
    assert duration_text(duration_us) == expected


def test_a_run_is_shown_with_its_cost(tw: Twelvefold, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_PRICE", '{"input": 20, "cached": 20, "output": 100}')
    run = tw("run", "--json", "hello").json["run"]

    assert "cost:      0.0040 USD" in tw("runs", "show", run).lines


def test_a_run_without_a_known_price_is_shown_without_a_cost(
    tw: Twelvefold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_MODEL", "nobody-knows-me")
    run = tw("run", "--json", "hello").json["run"]

    assert "cost:" not in tw("runs", "show", run).out


def test_a_cost_that_is_free_is_not_shown() -> None:
    assert cost_text(Usage(1_000_000), Price(0, 0, 0)) == ""


def test_a_failed_run_is_retried_in_its_conversation(tw: Twelvefold, shop: ModelServer) -> None:
    shop.will(refuses(400, {"message": "no"}))
    failed = tw("run", "--json", "hello").json
    shop.will(follow_rules)

    done = tw("runs", "retry", failed["run"])

    assert (done.status, done.out) == (0, "said: hello\n")
    newest, first = (json.loads(line) for line in tw("runs", "list", "--json").lines)
    assert (first["run"], first["status"]) == (failed["run"], "failed")
    assert (newest["thread"], newest["status"]) == (failed["thread"], "completed")


def test_a_retry_can_be_left_to_a_worker(tw: Twelvefold, shop: ModelServer) -> None:
    shop.will(refuses(400, {"message": "no"}))
    failed = tw("run", "--json", "hello").json["run"]

    done = tw("runs", "retry", failed, "--detach")

    newest = json.loads(tw("runs", "list", "--json").lines[0])
    assert (done.status, done.out) == (0, f"{newest['run']}\n")
    assert newest["status"] == "queued"


def test_a_completed_run_is_not_retried(tw: Twelvefold) -> None:
    run = tw("run", "--json", "hello").json["run"]

    done = tw("runs", "retry", run)

    assert done.status == 1  # and not 75: trying again does not help
    assert "has completed" in done.err
