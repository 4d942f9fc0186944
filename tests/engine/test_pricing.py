"""The prices of a process's models."""

from dataclasses import replace

from tests.engine.stage import LIMITS, Stage
from twelvefold.core.budget import Price
from twelvefold.engine.pricing import find_prices

FAST, OTHER = Price(1, 1, 1), Price(2, 2, 2)


async def test_the_default_model_and_named_ones_have_prices(stage: Stage) -> None:
    services = replace(stage.process(), limits=replace(LIMITS, price=OTHER, prices={"fast": FAST}))

    price = await find_prices(services)

    assert (price("default"), price("fast"), price("unknown")) == (OTHER, FAST, None)
