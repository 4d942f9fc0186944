"""Writes the runs of a scene, as a process without an HTTP API does."""

import asyncio
from dataclasses import dataclass

from tests.acceptance.chaos import workflow as chaos
from tests.acceptance.chaos.arena import LOCAL, Arena
from tests.acceptance.chaos.plan import message
from twelvefold.boot import RandomIds
from twelvefold.core.budget import Limits
from twelvefold.core.ids import ThreadId
from twelvefold.core.ports import Principal, Store
from twelvefold.engine.commands import RunRequest, enqueue_run
from twelvefold.engine.services import Services
from twelvefold.errors import Conflict, ServiceFault
from twelvefold.services.model.scripted import ScriptedModel, in_turn
from twelvefold.services.store import open_store

AGAIN_S = 0.2


async def enqueue(arena: Arena, count: int) -> None:
    """Write so many runs over the time of the load. Waits while the database rejects writes."""
    pause_s = arena.terms.load.arrival_s / count
    store = await open_store(arena.admin_url, pool_size=1)
    try:
        for number in range(count):
            await enqueue_one(arena, store, number)
            await asyncio.sleep(pause_s * arena.chance.uniform(0.2, 1.8))
    finally:
        await store.close()


async def enqueue_one(arena: Arena, store: Store, number: int) -> None:
    thread = RandomIds().thread()
    variant = arena.terms.variant_of(number)
    arena.runs[thread] = variant
    services = Services(
        store,
        ScriptedModel(in_turn()),
        {chaos.workflow.name: chaos.workflow},
        _GivenId(thread),
        Limits(),
        "chaos",
        wake_ups=arena.wake_ups,
    )
    await _enqueued(services, message(thread, variant))


@dataclass(frozen=True, slots=True)
class _GivenId(RandomIds):
    id: ThreadId

    def thread(self) -> ThreadId:
        return self.id


async def _enqueued(services: Services, text: str) -> None:
    said = {"type": "message", "role": "user", "content": text}
    while True:
        try:
            await enqueue_run(
                services, RunRequest(workflow="chaos", principal=Principal(LOCAL), items=[said])
            )
        except Conflict:
            return  # an earlier attempt, whose response was lost, has written it
        except ServiceFault:
            await asyncio.sleep(AGAIN_S)
        else:
            return
