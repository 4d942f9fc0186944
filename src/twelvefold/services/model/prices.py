"""What models cost and how much they read, as far as `prices.toml` knows."""

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from twelvefold.core.budget import Price


def price_of(model: str) -> Price | None:
    """The model's price, None if it is not known."""
    known = _known(model)
    return Price(known["input"], known["cached_input"], known["output"]) if known else None


def window_of(model: str) -> int | None:
    """How many tokens a request to the model may have, None if that is not known."""
    known = _known(model)
    return known["window"] if known else None


def _known(model: str) -> Mapping[str, int] | None:
    """By its whole name, or by that without a date: a longer name is another model."""
    models = _read()
    return models.get(model) or models.get(re.sub(r"-\d{4}-\d{2}-\d{2}$", "", model))


@cache
def _read() -> Mapping[str, Mapping[str, int]]:
    return tomllib.loads(files(__package__).joinpath("prices.toml").read_text())
