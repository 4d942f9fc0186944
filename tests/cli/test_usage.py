"""`twelvefold usage`."""

from datetime import UTC, datetime

import pytest

from tests.cli.conftest import ModelServer, Twelvefold
from tests.services.model.mock_server import refuses

pytestmark = pytest.mark.usefixtures("shop")


def test_usage_is_summed_by_day_workflow_or_principal(tw: Twelvefold, shop: ModelServer) -> None:
    tw("run", "hello")
    tw("run", "--as", "ann", "hello")
    shop.will(refuses(400, {"message": "no"}))
    tw("run", "--as", "ann", "hello")
    today = datetime.now(UTC).date().isoformat()

    heads, row = tw("usage").lines
    assert heads.split()[:3] == ["DAY", "RUNS", "FAILED"]
    assert row.split()[:4] == [today, "3", "1", "200"]
    by_principal = [line.split()[:3] for line in tw("usage", "--by", "principal").lines[1:]]
    assert sorted(by_principal) == [["ann", "2", "1"], ["local", "1", "0"]]
    assert tw("usage", "--by", "workflow", "--principal", "ann").lines[1].split()[:2] == [
        "shop",
        "2",
    ]
    assert len(tw("usage", "--by", "day", "--by", "principal", "--since", "30d").lines) == 3


@pytest.mark.parametrize(
    ("variable", "value", "cost_usd"),
    [
        ("OPENAI_PRICE", '{"input": 20, "cached": 20, "output": 100}', 0.004),
        ("OPENAI_MODEL", "nobody-knows-me", None),
    ],
)
def test_usage_in_json_has_the_cost_if_it_is_known(
    tw: Twelvefold,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    cost_usd: float | None,
) -> None:
    monkeypatch.setenv(variable, value)
    tw("run", "hello")

    row = tw("usage", "--json", "--by", "workflow").json

    assert row == {
        "workflow": "shop",
        "runs": 1,
        "failed": 0,
        "input_tokens": 100,
        "cached_tokens": 30,
        "output_tokens": 20,
        "cost_usd": cost_usd,
    }


@pytest.mark.parametrize("since", ["0s", "1h", "999999w"])
def test_usage_has_today_whatever_the_time(tw: Twelvefold, since: str) -> None:
    tw("run", "hello")

    assert len(tw("usage", "--since", since).lines) == 2


def test_a_group_that_is_repeated_is_printed_once(tw: Twelvefold) -> None:
    tw("run", "hello")

    assert tw("usage", "--by", "day", "--by", "day").lines[0].split()[:2] == ["DAY", "RUNS"]


def test_usage_of_another_workflow_is_none(tw: Twelvefold) -> None:
    tw("run", "hello")

    assert tw("usage", "--json", "--workflow", "desk").out == ""
