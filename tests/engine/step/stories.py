"""Runs that the tests of steps begin with."""

from collections.abc import Sequence

from tests.engine.stage import (
    SHOP,
    Stage,
    after_start,
    start,
)
from twelvefold.core.events import (
    Event,
)
from twelvefold.core.ports import NullListener
from twelvefold.engine.held_run import HeldRun
from twelvefold.engine.services import Services
from twelvefold.engine.step import step

LAMP = {"item": "a lamp"}


async def start_and_step(services: Services, times: int = 1) -> HeldRun:
    """Start a run and perform so many steps."""
    held = await start(services)
    for _ in range(times):
        held = await step(services, held, SHOP, NullListener())
    return held


async def story(stage: Stage, held: HeldRun) -> list[Event]:
    """Return the entries of a run after its start, which its holder has as well."""
    assert await stage.entries(held.run) == held.thread.entries
    return after_start(await stage.journal(held.run))


def kinds(events: Sequence[Event]) -> list[str]:
    return [type(event).__name__ for event in events]
