"""The prices of a process's models, for the cost of runs that ended."""

from twelvefold.core import DEFAULT_MODEL, FindPrice
from twelvefold.engine.services import Services


async def find_prices(services: Services) -> FindPrice:
    """Return a function that knows the prices of the default model and of those of MODELS."""
    limits = services.limits
    return {**limits.prices, DEFAULT_MODEL: limits.price}.get
