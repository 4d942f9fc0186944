"""Prices and context windows of models: those in `prices.toml`, then those of genai-prices.

genai-prices is a data set of the prices of many providers, which takes half a second to import. It
is imported only for a model that `prices.toml` does not have.
"""

import re
import tomllib
from collections.abc import Mapping
from datetime import UTC
from functools import cache
from importlib.resources import files
from typing import Any

from twelvefold.core import Price


def price_of(model: str, url: str = "") -> Price | None:
    """Return the price of a model on the server of this URL; None if it is unknown.

    Where the price of a token depends on the length of the request, it is the highest.
    """
    if found := _find(model):
        return Price(found["input"], found["cached_input"], found["output"])
    return listed_price(model, url)


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


def listed_price(model: str, url: str = "") -> Price | None:
    """Return the price in genai-prices: of the server's provider, or of the model's own."""
    from genai_prices.data_snapshot import get_snapshot

    snapshot = get_snapshot()
    for provider_url in dict.fromkeys((url or None, None)):
        try:
            _, found = snapshot.find_provider_model(model, None, None, provider_url)
        except LookupError:
            continue
        return _as_price(found.get_prices(snapshot.timestamp.astimezone(UTC)))
    return None


def _as_price(prices: Any) -> Price | None:
    """Return the prices of a model that is paid by the token; None for any other."""
    read, written = (_micro_usd(getattr(prices, f"{one}_mtok")) for one in ("input", "output"))
    if read is None or written is None:
        return None
    cached = _micro_usd(prices.cache_read_mtok)
    return Price(read, read if cached is None else cached, written)


def _micro_usd(price: Any) -> int | None:
    """Return the highest of the tiers of a price, in micro-dollars; None without a price."""
    if price is None:
        return None
    tiers = [tier.price for tier in getattr(price, "tiers", ())]
    highest: float = max([getattr(price, "base", price), *tiers])
    return round(highest * 1_000_000)
