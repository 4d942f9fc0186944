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


def test_usage_in_json_has_the_cost_if_it_is_known(tw: Twelvefold) -> None:
    tw("run", "hello")

    row = tw("usage", "--json", "--by", "workflow").json

    assert row == {
        "workflow": "shop",
        "runs": 1,
        "failed": 0,
        "input_tokens": 100,
        "cached_tokens": 30,
        "output_tokens": 20,
        "cost_usd": None,
    }


def test_usage_of_another_workflow_is_none(tw: Twelvefold) -> None:
    tw("run", "hello")

    assert tw("usage", "--json", "--workflow", "desk").out == ""
