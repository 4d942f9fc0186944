"""How long replies and calls took is in their entries, once no older release reads the journal."""

from tests.engine.stage import Stage, drive_new
from twelvefold.core.events import ModelReplied, ToolSucceeded
from twelvefold.engine.services import Services
from twelvefold.services.model.scripted import calls, says

LAMP = {"item": "a lamp"}


async def durations(stage: Stage, services: Services) -> list[int]:
    outcome = await drive_new(services)
    timed = [entry.event for entry in await stage.entries(outcome.run)]
    return [one.took_us for one in timed if isinstance(one, ModelReplied | ToolSucceeded)]


async def test_entries_have_how_long_a_reply_and_a_call_took(stage: Stage) -> None:
    services = stage.process(calls(("buy", LAMP)), says("Bought."))
    services.gate.note(await services.store.schema())

    first, call, second = await durations(stage, services)

    assert min(first, call, second) > 0


async def test_entries_have_no_duration_while_an_older_release_may_read_them(stage: Stage) -> None:
    services = stage.process(calls(("buy", LAMP)), says("Bought."))
    services.gate.note(None)

    assert not services.gate.was_open
    assert await durations(stage, services) == [0, 0, 0]
