"""`twelvefold budgets`."""

import json

import pytest

from tests.cli.conftest import Twelvefold

pytestmark = pytest.mark.usefixtures("shop")


def test_a_budget_is_set_listed_and_removed(tw: Twelvefold) -> None:
    done = tw("budgets", "set", "principal:ann", "--tokens", "1_000", "--window", "month")
    assert done.status == 0
    assert "bounds principal:ann to 1000 tokens a month" in done.out

    head, line = tw("budgets", "list").lines
    assert head.split()[:3] == ["SCOPE", "WINDOW", "LIMIT"]
    assert line.split()[:6] == ["principal:ann", "month", "1000", "tokens", "0", "tokens"]

    assert tw("budgets", "remove", "principal:ann", "--window", "day").status == 2
    assert tw("budgets", "remove", "principal:ann").status == 0
    assert tw("budgets", "list").lines[1:] == []


def test_a_budget_has_both_limits_and_is_replaced(tw: Twelvefold) -> None:
    tw("budgets", "set", "all", "--usd", "5")
    tw("budgets", "set", "all", "--usd", "0.5", "--tokens", "10", "--over", "wait")

    (listed,) = map(json.loads, tw("budgets", "list", "--json").lines)
    assert {"scope": "all", "window": "day", "policy": "wait"}.items() <= listed.items()
    assert (listed["tokens"], listed["micro_usd"]) == (10, 500_000)
    assert listed["spent"] == {"tokens": 0, "micro_usd": 0}


def test_a_long_list_of_budgets_is_cut_with_a_hint(tw: Twelvefold) -> None:
    for name in ("bob", "ann"):
        tw("budgets", "set", f"principal:{name}", "--tokens", "5")

    done = tw("budgets", "list", "--limit", "1")

    assert [line.split()[0] for line in done.lines] == ["SCOPE", "principal:ann"]
    assert "there are more budgets; --limit N lists more" in done.err
    assert tw("budgets", "list", "--limit", "2").err == ""


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["ann", "--tokens", "5"], "'ann' is no scope"),
        (["all"], "the budget has no limit; give tokens, USD, or both"),
        (["workflow:shpo", "--tokens", "5"], "no workflow 'shpo'; there are shop"),
        (["all", "--tokens", "many"], "use a number of tokens"),
        (["all", "--usd", "-1"], "argument --usd"),
        (["all", "--tokens", "9" * 16], "a limit of the budget is out of range"),
    ],
)
def test_an_invalid_budget_is_refused(tw: Twelvefold, words: list[str], problem: str) -> None:
    done = tw("budgets", "set", *words)

    assert done.status == 2
    assert problem in done.err


def test_a_budget_in_usd_needs_the_price_of_every_model(
    tw: Twelvefold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("OPENAI_MODEL", "homegrown-1")

    refused = tw("budgets", "set", "all", "--usd", "5")
    monkeypatch.setenv("OPENAI_PRICE", '{"input": 1, "output": 2}')

    assert refused.status == 2
    assert "a price is unknown: set OPENAI_PRICE" in refused.err
    assert tw("budgets", "set", "all", "--usd", "5").status == 0


def test_a_run_over_budget_is_refused(tw: Twelvefold) -> None:
    tw("budgets", "set", "all", "--tokens", "10")

    done = tw("run", "Hello")

    assert done.status == 2
    assert "the day budget of all is too small" in done.err
