import math
from typing import Any

import pytest

from twelvefold.core.budget import Price
from twelvefold.core.events import DEFAULT_OPTIONS, RequestOptions
from twelvefold.core.models import Fallback, dearest, models_of, unknown_model
from twelvefold.core.workflow import Workflow
from twelvefold.errors import WorkflowError


def test_a_chain_has_its_models_in_order() -> None:
    chain = Fallback("fast", "careful", after_s=20, on=("outage",))

    assert (chain.models, chain.after_s, chain.on) == (("fast", "careful"), 20, ("outage",))
    assert chain == Fallback("fast", "careful", after_s=20, on=("outage",))
    assert Fallback("fast", "careful").on == ("outage", "too_large")


@pytest.mark.parametrize(
    ("models", "rule", "problem"),
    [
        ((), {}, "Fallback: it has 0 models; give at least two"),
        (("fast",), {}, "Fallback: it has 1 models; give at least two"),
        (("fast", ""), {}, "Fallback: '' is not the name of a model"),
        (("fast", " "), {}, "Fallback: ' ' is not the name of a model"),
        (("fast", 7), {}, "Fallback: 7 is not the name of a model"),
        (("fast", "fast"), {}, "Fallback: 'fast' is there twice"),
        (("a", "b"), {"after_s": 0}, "Fallback: after_s is 0; give seconds above 0"),
        (("a", "b"), {"after_s": float("nan")}, "Fallback: after_s is nan; give seconds above 0"),
        (("a", "b"), {"after_s": math.inf}, "Fallback: after_s is inf; give seconds above 0"),
        (("a", "b"), {"after_s": "20"}, "Fallback: after_s is 20; give seconds above 0"),
        (("a", "b"), {"after_s": True}, "Fallback: after_s is True; give seconds above 0"),
        (("a", "b"), {"on": ("late",)}, "Fallback: on has 'late'; use outage or too_large"),
        (("a", "b"), {"on": "outage"}, "Fallback: on is 'outage'; give a tuple of outage, too_"),
        (("a", "b"), {"on": ()}, "Fallback: the next model is never asked; give on or after_s"),
        (("a", "a"), {"after_s": -1}, "Fallback: 'a' is there twice; after_s is -1; give sec"),
    ],
)
def test_a_chain_that_cannot_work_is_an_error_with_all_problems(
    models: tuple[Any, ...], rule: dict[str, Any], problem: str
) -> None:
    with pytest.raises(WorkflowError) as raised:
        Fallback(*models, **rule)

    assert str(raised.value).startswith(problem)


def test_a_chain_may_have_a_time_limit_alone() -> None:
    assert Fallback("fast", "careful", after_s=5, on=()).on == ()


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"model": ("fast",)}, "workflow shop: model is a name or a Fallback, not tuple"),
        ({"models": "fast"}, "workflow shop: models is a tuple of names, not 'fast'"),
        ({"models": (" ",)}, "workflow shop: models is a tuple of names, not (' ',)"),
        ({"models": ("fast", "")}, "workflow shop: models is a tuple of names, not ('fast', '')"),
    ],
)
def test_the_models_of_a_workflow_are_names(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(WorkflowError) as raised:
        Workflow("shop", "", (), **given)

    assert str(raised.value) == problem


@pytest.mark.parametrize(
    ("model", "chosen", "models"),
    [
        ("", "", ("default",)),
        ("fast", "", ("fast",)),
        (Fallback("fast", "careful"), "", ("fast", "careful")),
        (Fallback("fast", "careful"), "cheap", ("cheap",)),
        ("fast", "cheap", ("cheap",)),
    ],
)
def test_the_models_of_a_run_are_those_of_its_workflow_unless_the_caller_chose_one(
    model: str | Fallback, chosen: str, models: tuple[str, ...]
) -> None:
    options = RequestOptions(model=chosen) if chosen else DEFAULT_OPTIONS

    assert models_of(model, options) == models


def test_the_dearest_price_has_the_highest_of_each_part() -> None:
    prices = {"a": Price(1, 20, 300), "b": Price(10, 2, 30)}

    assert dearest(prices) == Price(10, 20, 300)
    assert dearest({}) is None


def test_an_unknown_model_is_named_with_the_one_that_may_be_meant() -> None:
    known = ["default", "fast"]

    assert unknown_model("fats", known) == (
        "there is no model 'fats' in MODELS; did you mean 'fast'?"
    )
    assert unknown_model("sonnet", known) == (
        "there is no model 'sonnet' in MODELS; there are default, fast"
    )
