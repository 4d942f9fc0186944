"""Runs that several calls of one app drive, one after the other."""

import asyncio
from typing import Any

import pytest

from tests.app.shop import BUY, Blocking, OpenApp, shop
from tests.app.test_stream import events_of, expire_lease
from twelvefold import App
from twelvefold.app.drives import Follower
from twelvefold.app.stream import RunBegan, RunEvent, TextDelta, TextRestarted
from twelvefold.core import (
    Listener,
    ModelReplied,
    ModelReply,
    ModelRequest,
    NullListener,
    RunId,
    ToolSucceeded,
    Usage,
    call_id,
)
from twelvefold.engine import HeldRun, take
from twelvefold.engine.commands import give_back
from twelvefold.engine.commit import write
from twelvefold.services.model.scripted import says


class Two:
    """A model whose first reply comes late, and whose others come at once."""

    def __init__(self) -> None:
        self.count = 0
        self.is_asked, self.may_reply = asyncio.Event(), asyncio.Event()
        self.second_asked, self.second_may = asyncio.Event(), asyncio.Event()

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        self.count += 1
        if self.count == 1:
            self.is_asked.set()
            await self.may_reply.wait()
        else:
            self.second_asked.set()
            await self.second_may.wait()
        listener.text("Done.")
        return ModelReply(tuple(says("Done.")), Usage(1, 1), "two", "0" * 64)

    async def close(self) -> None:
        """Do nothing."""


async def test_a_run_that_this_app_takes_over_from_itself_has_both_results(
    open_app: OpenApp,
) -> None:
    model = Two()
    app = await open_app(model=model)
    loop = asyncio.get_running_loop()
    first = loop.create_task(app.run(shop, "hi", key="k"))
    await model.is_asked.wait()
    id = (await app.start(shop, "hi", key="k")).id
    await expire_lease(app, RunId.parse(id))
    second = loop.create_task(app.resume(id))
    await model.second_asked.wait()

    model.may_reply.set()
    while [task.get_name() for task in asyncio.all_tasks()].count(f"drive {id}") > 1:
        await asyncio.sleep(0.01)  # the first call finds that it has lost the run
    model.second_may.set()

    assert (await second).text == "Done."
    assert (await first).text == "Done."


async def test_a_call_that_is_cancelled_twice_gives_its_run_back(open_app: OpenApp) -> None:
    model = Blocking()
    app = await open_app(model=model)
    running = asyncio.get_running_loop().create_task(app.run(shop, "hi", key="k"))
    await model.is_asked.wait()
    id = (await app.start(shop, "hi", key="k")).id

    for _ in range(3):
        running.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await running

    assert (await app.get(id)).status == "queued"
    assert not [one for one in asyncio.all_tasks() if one.get_name().startswith("drive")]


async def test_a_stream_that_takes_a_run_over_makes_the_pieces_void(open_app: OpenApp) -> None:
    dying, living = Blocking("Too ", "late."), Blocking("At ", "last.")
    first, second = await open_app(model=dying), await open_app(model=living)
    living.may_reply.set()
    driving = asyncio.get_running_loop().create_task(events_of(first, key="k"))
    await dying.is_asked.wait()
    events: list[RunEvent[Any]] = []

    async for event in second.stream(shop, "hi", key="k"):
        events.append(event)
        if event == TextDelta("Too "):
            await expire_lease(first, RunId.parse(id_of(events)))
    driving.cancel()

    pieces = [TextDelta("At "), TextDelta("last.")]
    assert events[1:-1] == [TextDelta("Too "), TextRestarted(), *pieces]


async def test_entries_before_a_takeover_have_their_events(open_app: OpenApp) -> None:
    """Another process writes entries after this one has read the journal, before it claims."""
    dying = Blocking()
    first, second = await open_app(model=dying), await open_app(says("Bread is bought."))
    driving = asyncio.get_running_loop().create_task(first.run(shop, "hi", key="k"))
    await dying.is_asked.wait()
    id = RunId.parse((await second.start(shop, "hi", key="k")).id)
    drives = second.session.drives
    claim = drives._claim

    async def claim_late(run: RunId, follower: Follower) -> HeldRun | None:
        await buy_bread(first, run)
        return await claim(run, follower)

    drives._claim = claim_late  # type: ignore[method-assign]  # what happens meanwhile
    await expire_lease(first, id)

    kinds = [event.kind async for event in second.stream(shop, "hi", key="k")]
    driving.cancel()

    assert kinds == ["started", "tool_called", "tool_finished", "text", "finished"]


async def buy_bread(app: App, run: RunId) -> None:
    """Write a reply with a call, and its result, as another process does."""
    services = app.session.services
    held = await take(services, run)
    reply = ModelReplied(tuple(BUY), Usage(1, 1), "m", "0" * 64)
    result = ToolSucceeded(call_id(held.thread.head + 1, 0), "buy", "bread is bought")
    held = await write(services, held, NullListener(), (reply, result), "running")
    await give_back(services, held)


def id_of(events: list[RunEvent[Any]]) -> str:
    assert isinstance(events[0], RunBegan)
    return events[0].id
