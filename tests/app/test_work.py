"""A worker in the process of an app."""

import asyncio

import pytest

from tests.app.shop import BUY, Blocking, OpenApp, shop
from twelvefold.errors import AppClosed
from twelvefold.services.model.scripted import says


async def test_a_worker_drives_queued_runs_until_it_is_idle(open_app: OpenApp) -> None:
    app = await open_app(BUY, says("Done."))
    started = await app.start(shop, "bread")

    await app.work(until_idle=True)

    assert (await app.get(started.id)).text == "Done."


async def test_cancelling_a_worker_gives_its_runs_back_and_leaves_the_app_open(
    open_app: OpenApp,
) -> None:
    model = Blocking()
    app = await open_app(model=model)
    started = await app.start(shop, "hi")
    working = asyncio.get_running_loop().create_task(app.work())
    await model.is_asked.wait()

    working.cancel()
    model.may_reply.set()
    with pytest.raises(asyncio.CancelledError):
        await working

    run = await app.resume(started.id)
    assert (run.status, run.text) == ("completed", "At last.")


async def test_closing_the_app_ends_its_worker(open_app: OpenApp) -> None:
    app = await open_app()
    working = asyncio.get_running_loop().create_task(app.work())
    await asyncio.sleep(0.05)

    await app.close()

    with pytest.raises(AppClosed):
        await working
