"""Workers that run in a test, and what a test waits for."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import StringIO
from typing import Any

from tests.builders import user
from tests.engine.stage import ANN, Stage
from tests.waiting import HANG_S
from twelvefold.core.ids import RunId
from twelvefold.core.ports import OVER, Listener, ModelReply, ModelRequest
from twelvefold.engine.commands import RunRequest, enqueue_run
from twelvefold.engine.services import Services
from twelvefold.services.model.scripted import ScriptedModel, in_turn, says
from twelvefold.worker.loop import Worker

POLL_S = 0.05


async def enqueue(services: Services, text: str = "a lamp, please") -> RunId:
    run, _ = await enqueue_run(
        services, RunRequest(workflow="shop", principal=ANN, items=[user(text)])
    )
    return run


@asynccontextmanager
async def working(*workers: Worker) -> AsyncIterator[asyncio.Event]:
    """Run workers during the body, then stop them and wait for their end."""
    stop = asyncio.Event()
    async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
        for worker in workers:
            group.create_task(worker.run(stop))
        yield stop
        stop.set()


async def until_over(stage: Stage, *runs: RunId) -> None:
    """Wait until the runs are over."""
    for run in runs:
        while (await stage.record(run)).status not in OVER:
            await asyncio.sleep(0.01)


class Gate:
    """A model that replies to no request before it is opened."""

    def __init__(self) -> None:
        self.requests = 0
        self.most_at_once = 0
        self._waiting = 0
        self._open = asyncio.Event()

    def open(self) -> None:
        self._open.set()

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        self.requests += 1
        self._waiting += 1
        self.most_at_once = max(self.most_at_once, self._waiting)
        try:
            await asyncio.sleep(0)  # as a network does, open or not
            await self._open.wait()
        finally:
            self._waiting -= 1
        return await ScriptedModel(in_turn(says("There you are."))).reply(request, listener)

    async def until_requested(self, number: int) -> None:
        while self.requests < number:
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Nothing is open."""


def events_of(log: StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]
