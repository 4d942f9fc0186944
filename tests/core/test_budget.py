import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twelvefold.core.budget import Limits, Price, cost_micro_usd
from twelvefold.core.decide import find_exhausted_budget
from twelvefold.core.events import Usage

PRICE = Price(input=2_000_000, cached_input=500_000, output=8_000_000)


def test_the_cost_of_a_reply_is_the_sum_over_kinds_of_tokens() -> None:
    usage = Usage(input_tokens=1000, output_tokens=100, cached_tokens=400)

    assert cost_micro_usd(usage, PRICE) == 600 * 2 + 400 * 0.5 + 100 * 8


def test_a_cost_is_rounded_up() -> None:
    assert cost_micro_usd(Usage(output_tokens=1), Price(0, 0, 1)) == 1
    assert cost_micro_usd(Usage(), PRICE) == 0


def test_cached_tokens_that_are_not_counted_as_input_lower_no_cost() -> None:
    usage = Usage(input_tokens=10, cached_tokens=1000)

    assert cost_micro_usd(usage, PRICE) == cost_micro_usd(Usage(1000, 0, 1000), PRICE)


@settings(max_examples=25)
@given(st.builds(Usage, *[st.integers(0, 10**9)] * 3))
def test_no_cost_is_negative(usage: Usage) -> None:
    assert cost_micro_usd(usage, PRICE) >= 0


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(), None),
        (Limits(run_tokens=111), None),
        (Limits(run_tokens=110), "token_budget"),
        (Limits(run_micro_usd=281, price=PRICE), None),
        (Limits(run_micro_usd=280, price=PRICE), "usd_budget"),
        (Limits(run_micro_usd=0), None),
        (Limits(price=PRICE), None),
        (Limits(run_tokens=1, run_micro_usd=1, price=PRICE), "token_budget"),
    ],
)
def test_a_budget_is_exhausted_when_it_is_reached(limits: Limits, reason: str | None) -> None:
    usage = Usage(input_tokens=100, output_tokens=10)

    assert find_exhausted_budget(usage, limits) == reason
