import pytest

from twelvefold.core.budget import Price
from twelvefold.services.model.prices import _models, listed_price, price_of, window_of


def test_a_known_model_has_a_price_and_a_window() -> None:
    assert price_of("gpt-4o-mini") == Price(150_000, 75_000, 600_000)
    assert window_of("gpt-4.1") == 1_047_576


def test_a_dated_name_has_the_price_of_its_model() -> None:
    assert price_of("gpt-5-mini-2025-08-07") == price_of("gpt-5-mini")
    assert window_of("o3-2025-04-16") == 200_000


def test_a_dated_name_may_have_a_separate_price() -> None:
    assert price_of("gpt-4o-2024-05-13") == Price(5_000_000, 5_000_000, 15_000_000)


@pytest.mark.parametrize(
    "model", ["gpt-5.1", "gpt-5-pro", "o3-mini", "gpt-4o-audio-preview", "llama", ""]
)
def test_a_longer_name_is_another_model(model: str) -> None:
    assert price_of(model) == listed_price(model)
    assert window_of(model) is None


def test_every_price_is_complete() -> None:
    for name, known in _models().items():
        assert set(known) == {"input", "cached_input", "output", "window"}, name
        assert 0 < known["cached_input"] <= known["input"] <= known["output"], name
