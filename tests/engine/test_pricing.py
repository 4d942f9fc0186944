"""The prices of a process's models."""

from dataclasses import replace

from tests.engine.stage import Stage
from twelvefold.core.budget import Price
from twelvefold.engine.pricing import default_price, find_prices

PRICE = Price(1, 1, 1)


async def test_the_price_of_the_default_model_is_known(stage: Stage) -> None:
    services = replace(stage.process(), find_price={"default": PRICE}.get)

    price = await find_prices(services)

    assert (price("default"), price("other")) == (PRICE, None)


async def test_no_price_is_known_if_runs_may_have_used_several_models(stage: Stage) -> None:
    services = stage.process()
    services = replace(services, find_price={"default": PRICE}.get, models={"fast": services.model})

    price = await find_prices(services)

    assert (price("default"), price("fast")) == (None, None)
    assert await default_price(services) is None
