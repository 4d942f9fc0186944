"""A semaphore for which owners take turns."""

import asyncio
from contextlib import suppress

from tests.waiting import HANG_S
from twelvefold.core.owner import OWNER
from twelvefold.services.store.mysql.fair_semaphore import FairSemaphore


class Crowd:
    """Tasks that wait to enter; `entered` has the owners in the order in which they entered."""

    def __init__(self, places: FairSemaphore) -> None:
        self.entered: list[str] = []
        self.let = asyncio.Event()
        self._places = places

    async def _hold(self, owner: str) -> None:
        OWNER.set(owner)
        async with self._places:
            self.entered.append(owner)
            await self.let.wait()

    async def start(self, *owners: str) -> "list[asyncio.Task[None]]":
        tasks = [asyncio.create_task(self._hold(owner)) for owner in owners]
        for _ in range(3):
            await asyncio.sleep(0)
        return tasks

    async def end(self, *tasks: "asyncio.Task[None]") -> None:
        self.let.set()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


async def test_at_most_count_tasks_enter() -> None:
    crowd = Crowd(FairSemaphore(2))

    tasks = await crowd.start("ann", "ann", "ann")

    assert crowd.entered == ["ann", "ann"]
    await crowd.end(*tasks)
    assert crowd.entered == ["ann", "ann", "ann"]


async def test_owners_take_turns() -> None:
    crowd = Crowd(FairSemaphore(1))

    tasks = await crowd.start("ann", "ann", "ann", "ann", "bob", "eve", "bob")
    await crowd.end(*tasks)

    assert crowd.entered == ["ann", "ann", "bob", "eve", "ann", "bob", "ann"]


async def test_a_cancelled_task_takes_no_turn() -> None:
    crowd = Crowd(FairSemaphore(1))
    first, second, *others = await crowd.start("ann", "bob", "bob", "ann")

    second.cancel()
    await crowd.end(first, second, *others)

    assert crowd.entered == ["ann", "bob", "ann"]


async def test_a_task_cancelled_at_its_turn_passes_it_on() -> None:
    places = FairSemaphore(1)
    crowd = Crowd(places)
    async with places:
        second, third = await crowd.start("ann", "bob")
    second.cancel()

    await crowd.end(second, third)

    assert crowd.entered == ["bob"]
    async with asyncio.timeout(HANG_S), places:
        pass
