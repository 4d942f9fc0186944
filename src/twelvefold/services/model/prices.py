"""Prices and context windows of the models in `prices.toml`."""

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from twelvefold.core import Price


def price_of(model: str) -> Price | None:
    """Return the model's price, None if it is unknown."""
    found = _find(model)
    return Price(found["input"], found["cached_input"], found["output"]) if found else None


def window_of(model: str) -> int | None:
    """Return the model's context window in tokens, None if it is unknown."""
    found = _find(model)
    return found["window"] if found else None


def _find(model: str) -> Mapping[str, int] | None:
    """Look up the whole name, then the name without a date. A longer name is another model."""
    models = _models()
    return models.get(model) or models.get(re.sub(r"-\d{4}-\d{2}-\d{2}$", "", model))


@cache
def _models() -> Mapping[str, Mapping[str, int]]:
    return tomllib.loads(files(__package__).joinpath("prices.toml").read_text())
