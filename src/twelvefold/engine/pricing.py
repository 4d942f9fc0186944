"""The prices of a process's models, for the cost of runs that ended."""

import asyncio

from twelvefold.core import DEFAULT_MODEL, FindPrice, no_price
from twelvefold.engine.services import Services


async def find_prices(services: Services) -> FindPrice:
    """Return a function that knows the price of the default model.

    With named models it knows none: the row of a run does not say which of them it has used. The
    price may have to be looked up in a large data set, so this is done in a thread.
    """
    if services.models:
        return no_price
    return {DEFAULT_MODEL: await asyncio.to_thread(services.find_price, DEFAULT_MODEL)}.get
