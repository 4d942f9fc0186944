"""Prices of models: those of this package, and those of genai-prices."""

import subprocess
import sys

import pytest

from twelvefold.core import Price
from twelvefold.services.model import prices


@pytest.mark.parametrize("model", list(prices._models()))
def test_the_prices_of_this_package_are_those_of_the_data_set(model: str) -> None:
    assert prices.price_of(model) == prices.listed_price(model)


@pytest.mark.parametrize(
    ("model", "url", "price"),
    [
        ("gpt-5.1", "", Price(1_250_000, 125_000, 10_000_000)),
        ("anthropic/claude-sonnet-4", "https://openrouter.ai/api/v1", None),
        ("claude-sonnet-4-5", "http://127.0.0.1:8000/v1", Price(6_000_000, 600_000, 22_500_000)),
    ],
)
def test_a_model_of_another_provider_has_its_highest_price(
    model: str, url: str, price: Price | None
) -> None:
    found = prices.price_of(model, url)

    assert found == price if price else found is not None


@pytest.mark.parametrize("model", ["homegrown-1", "whisper-1", "text-embedding-3-small"])
def test_a_model_that_is_not_paid_by_the_token_has_no_price(model: str) -> None:
    assert prices.price_of(model) is None


def test_the_data_set_is_imported_only_for_a_model_that_this_package_lacks() -> None:
    script = (
        "import sys; from twelvefold.services.model.prices import price_of; "
        "assert price_of('gpt-5-mini'); print('genai_prices' in sys.modules)"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout == "False\n"
