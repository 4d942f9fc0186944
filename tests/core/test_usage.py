"""The usage in a run's row: parts by model, without what other runs count, and its cost."""

import msgspec
import pytest

from twelvefold.core.budget import Price
from twelvefold.core.events import Usage
from twelvefold.core.usage import RunUsage, decode_run_usage, find_cost, without

PRICES = {"default": Price(1_000_000, 500_000, 2_000_000), "fast": Price(100_000, 0, 200_000)}
ALL = Usage(300, 30, 100)
FAST = Usage(200, 20)


def test_an_empty_text_is_no_usage() -> None:
    assert decode_run_usage("") == RunUsage()


def test_the_usage_of_a_row_is_read_with_and_without_its_models() -> None:
    plain = msgspec.json.encode(ALL).decode()
    by_model = msgspec.json.encode(RunUsage.of(ALL, {"fast": FAST})).decode()

    assert decode_run_usage(plain) == RunUsage.of(ALL, {})
    assert decode_run_usage(by_model) == RunUsage.of(ALL, {"fast": FAST})
    assert decode_run_usage(by_model).total == ALL
    # A release that does not know the parts reads the total.
    assert msgspec.json.decode(by_model, type=Usage) == ALL


def test_what_children_count_is_left_out() -> None:
    usage = RunUsage.of(ALL, {"fast": FAST})
    child = RunUsage.of(Usage(150, 10), {"fast": Usage(50, 5), "slow": Usage(20, 2)})

    rest = without(usage, [child])

    assert rest.total == Usage(150, 20, 100)
    assert rest.by_model == {"fast": Usage(150, 15), "slow": Usage(-20, -2)}


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        (RunUsage(), 0),
        (RunUsage.of(ALL, {}), 200 + 50 + 60),
        (RunUsage.of(ALL, {"fast": FAST}), (20 + 4) + (50 + 20)),
        (RunUsage.of(ALL, {"default": ALL}), 310),
        (RunUsage.of(FAST, {"fast": FAST}), 24),
        (RunUsage.of(ALL, {"unknown": FAST}), None),
    ],
)
def test_each_model_has_its_price(usage: RunUsage, cost: int | None) -> None:
    assert find_cost(usage, PRICES.get) == cost


def test_a_price_that_is_not_needed_need_not_be_known() -> None:
    assert find_cost(RunUsage.of(FAST, {"fast": FAST}), {"fast": PRICES["fast"]}.get) == 24
