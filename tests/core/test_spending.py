"""Budgets: whom they cover, their periods, and what a model call may spend."""

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.builders import user
from twelvefold.core.budget import Price
from twelvefold.core.events import Ancestry, Usage
from twelvefold.core.ports import ModelRequest, ToolSpec
from twelvefold.core.ports.budgets import (
    NOTHING,
    Amount,
    Budget,
    BudgetScope,
    Spender,
    Used,
    Window,
)
from twelvefold.core.spending import (
    OUTPUT_TOKENS,
    affordable_output,
    charge,
    fits,
    highest_cost,
    input_bound,
    least_output,
    output_cap,
    parse_scope,
    spender_of,
)
from twelvefold.core.thread import Thread

PRICE = Price(2_000_000, 500_000, 8_000_000)
DAY = Budget(BudgetScope(), "day", tokens=10_000)


# --- scopes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "scope"),
    [
        (["all"], BudgetScope()),
        (["principal:ann"], BudgetScope(principal="ann")),
        (["key:key_1"], BudgetScope(key="key_1")),
        (["workflow:a:b", "principal:ann"], BudgetScope(principal="ann", workflow="a:b")),
    ],
)
def test_a_scope_is_all_or_some_names(words: list[str], scope: BudgetScope) -> None:
    assert parse_scope(words) == scope
    assert parse_scope(str(scope).split(" ")) == scope


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "no scope is given"),
        (["ann"], "'ann' is no scope; use all, principal:P"),
        (["principal:"], "'principal:' is no scope"),
        (["all", "principal:ann"], "'all' is no scope"),
        (["key:1", "key:2"], "key is there twice"),
        (["workflow:" + "x" * 256], "workflow has 256 characters; 255 is the most"),
    ],
)
def test_any_other_scope_is_refused(words: list[str], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_scope(words)


@pytest.mark.parametrize(
    ("scope", "is_covered"),
    [
        (BudgetScope(), True),
        (BudgetScope(principal="ann"), True),
        (BudgetScope(principal="bob"), False),
        (BudgetScope(key="key_1", workflow="triage"), True),
        (BudgetScope(workflow="desk"), True),
        (BudgetScope(key="key_2"), False),
        (BudgetScope(principal="ann", workflow="other"), False),
    ],
)
def test_a_budget_covers_the_calls_with_all_of_its_names(
    scope: BudgetScope, is_covered: bool
) -> None:
    assert scope.covers(Spender("ann", "key_1", ("triage", "desk"))) is is_covered


def test_a_run_below_another_one_draws_from_the_budgets_of_the_callers_run() -> None:
    own = Thread(principal="ann", key_id="key_1", workflow="triage")
    child = Thread(principal="ann", workflow="triage", ancestry=Ancestry("resp_1", 1, "desk"))
    below = Thread(
        principal="ann",
        workflow="triage",
        ancestry=Ancestry("resp_1", 2, "middle", root_workflow="desk"),
    )

    assert spender_of(own) == Spender("ann", "key_1", ("triage",))
    assert spender_of(child).workflows == ("triage", "desk")
    assert spender_of(below).workflows == ("triage", "desk")


# --- periods ------------------------------------------------------------------------------------


def us(*at: int) -> int:
    return round(datetime(*at, tzinfo=UTC).timestamp() * 1_000_000)  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    ("window", "at", "began", "renews"),
    [
        ("day", us(2026, 2, 28, 23, 59, 59), us(2026, 2, 28), us(2026, 3, 1)),
        ("day", us(2026, 3, 1), us(2026, 3, 1), us(2026, 3, 2)),
        ("month", us(2026, 2, 28, 23, 59, 59), us(2026, 2, 1), us(2026, 3, 1)),
        ("day", us(2028, 2, 28, 23, 59, 59) + 900_000, us(2028, 2, 28), us(2028, 2, 29)),
        ("month", us(2028, 2, 29, 23, 59, 59) + 900_000, us(2028, 2, 1), us(2028, 3, 1)),
        ("month", us(2026, 12, 31, 12), us(2026, 12, 1), us(2027, 1, 1)),
        ("month", us(2026, 11, 1), us(2026, 11, 1), us(2026, 12, 1)),
    ],
)
def test_a_budget_renews_at_the_begin_of_a_day_or_month_in_utc(
    window: Window, at: int, began: int, renews: int
) -> None:
    assert Budget(BudgetScope(), window).period(at) == (began, renews)


def test_a_scope_has_one_budget_a_day_and_one_a_month() -> None:
    ann = BudgetScope(principal="ann")
    first, raised = Budget(ann, "day", tokens=1), Budget(ann, "day", micro_usd=2, policy="wait")
    others = [Budget(ann, "month"), Budget(BudgetScope(key="ann"), "day"), DAY]

    assert first.id == raised.id
    assert len({first.id, *(one.id for one in others)}) == 4


# --- what a call may cost -----------------------------------------------------------------------


def test_the_bytes_of_a_request_bound_its_input() -> None:
    tool = ToolSpec("look", "Look at an item.", {"type": "object", "properties": {}})
    request = ModelRequest("Sell.", (user("ä lamp"),), (tool,), {"temperature": 1})

    assert input_bound(request) >= sum(
        len(text.encode()) for text in ("Sell.", "ä lamp", "look", tool.description, "temperature")
    )
    assert input_bound(ModelRequest("Sell." * 100, ())) - input_bound(ModelRequest("", ())) == 500


def test_an_image_counts_by_its_size_in_the_window_and_not_by_its_base64() -> None:
    image = {"type": "input_image", "image_url": "data:image/png;base64," + "A" * 100_000}
    message = {"type": "message", "role": "user", "content": [image]}

    assert 1_500 < input_bound(ModelRequest("", (message,))) < 10_000


def test_the_cap_is_the_smallest_one_that_is_given() -> None:
    assert output_cap(None, None) == OUTPUT_TOKENS
    assert output_cap(200, None) == output_cap(None, 200) == output_cap(200, 300) == 200
    assert (least_output(OUTPUT_TOKENS), least_output(200)) == (1_024, 200)


def test_a_call_costs_at_most_its_tokens_at_the_highest_price() -> None:
    assert highest_cost(1_000, 100, PRICE) == Amount(1_100, 2_800)
    assert highest_cost(1, 0, Price(1, 5, 0)) == Amount(1, 1)
    assert highest_cost(1_000, 100, None) == Amount(1_100, 0)


def test_a_budget_has_room_up_to_its_limits() -> None:
    both = Budget(BudgetScope(), "day", tokens=10_000, micro_usd=500)

    assert fits(both, Amount(9_000, 400), Amount(1_000, 100))
    assert not fits(both, Amount(9_000, 400), Amount(1_001, 100))
    assert not fits(both, Amount(9_000, 400), Amount(1_000, 101))
    assert fits(Budget(BudgetScope(), "day"), Amount(9**9, 9**9), Amount(1, 1))
    assert Used(Amount(1, 2), Amount(3, 4)).total == Amount(4, 6)


def test_the_cap_of_a_call_may_be_lowered_to_what_is_left() -> None:
    in_usd = Budget(BudgetScope(), "day", micro_usd=10_000)

    assert affordable_output(DAY, Amount(7_000), 1_000, None) == 2_000
    assert affordable_output(DAY, Amount(9_500), 1_000, None) == -500
    assert affordable_output(in_usd, Amount(0, 2_000), 1_000, PRICE) == 750
    assert affordable_output(in_usd, NOTHING, 1_000, Price(0, 0, 0)) is None
    assert affordable_output(in_usd, NOTHING, 1_000, None) is None


@example(NOTHING, 1, Price(0, 1, 0), 1, 0)  # the output is free, and the input too dear
@given(
    used=st.builds(Amount, st.integers(0, 10**6), st.integers(0, 10**6)),
    input_tokens=st.integers(0, 10**6),
    price=st.builds(Price, *[st.integers(0, 10**7)] * 3),
    tokens=st.none() | st.integers(0, 10**7),
    micro_usd=st.none() | st.integers(0, 10**7),
)
def test_a_lowered_cap_fits(
    used: Amount, input_tokens: int, price: Price, tokens: int | None, micro_usd: int | None
) -> None:
    budget = Budget(BudgetScope(), "day", tokens, micro_usd)

    cap = affordable_output(budget, used, input_tokens, price)

    if cap is not None and cap >= 0:
        assert fits(budget, used, highest_cost(input_tokens, cap, price))


# --- what a call is charged ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("usage", "is_complete", "cost"),
    [
        (Usage(1_000, 50), True, Amount(1_050, 2_400)),
        (Usage(1_000, 50, cached_tokens=1_000), True, Amount(1_050, 900)),
        (Usage(1_000, 50, estimated=True), True, Amount(1_050, 2_400)),
        (Usage(1_000, 50), False, Amount(1_050, 2_400)),
        (Usage(1_000, 50, estimated=True), False, Amount(5_000, 9_000)),
        (Usage(9_000, 50, estimated=True), False, Amount(9_050, 18_400)),
        (Usage(), False, NOTHING),
        (Usage(estimated=True), False, NOTHING),
    ],
)
def test_a_call_is_charged_what_is_reported_or_in_full(
    usage: Usage, is_complete: bool, cost: Amount
) -> None:
    assert charge(Amount(5_000, 9_000), usage, PRICE, is_complete=is_complete) == cost


def test_a_call_without_a_price_is_charged_its_tokens() -> None:
    assert charge(Amount(5_000), Usage(10, 5), None, is_complete=True) == Amount(15, 0)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_what_is_reported_within_the_cap_is_never_more_than_was_reserved(
    input_tokens: int, output_tokens: int, cached: int
) -> None:
    reserved = highest_cost(input_tokens, output_tokens, PRICE)
    usage = Usage(input_tokens, output_tokens, cached_tokens=min(cached, input_tokens))

    cost = charge(reserved, usage, PRICE, is_complete=True)

    assert cost.tokens <= reserved.tokens
    assert cost.micro_usd <= reserved.micro_usd
