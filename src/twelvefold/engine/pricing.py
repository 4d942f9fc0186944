"""The prices of a process's models, for the cost of runs that ended."""

import asyncio

from twelvefold.core import DEFAULT_MODEL, FindPrice, Price, no_price
from twelvefold.engine.services import Services


async def find_prices(services: Services) -> FindPrice:
    """Return a function that knows the price of the default model, as `default_price` does."""
    if services.models:
        return no_price
    return {DEFAULT_MODEL: await default_price(services)}.get


async def default_price(services: Services) -> Price | None:
    """Return the price of a run's tokens; None if it is unknown.

    With named models it is: the row of a run does not say which of them it has used. The price may
    have to be looked up in a large data set, so this is done in a thread.
    """
    if services.models:
        return None
    return await asyncio.to_thread(services.find_price, DEFAULT_MODEL)
