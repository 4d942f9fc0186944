"""A local model server whose reply is a function of the conversation alone.

A repeated request gets the same reply, so that what is done twice is the engine's doing.
"""

import asyncio
import json
import random
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from aiohttp import web

from tests.acceptance.chaos.plan import Variant, replies
from tests.services.model.streams import FakeReply, responses_events

Fault = Literal["busy", "hanging", "cutting"]
"""All requests are rejected with 429; or replies stop in the middle, or end there with a reset."""
CHANCE = 0.6
"""How many replies are cut or hang."""
BUSY = {"message": "Rate limit reached.", "type": "requests", "code": "rate_limit_exceeded"}


def reply(items: Sequence[Mapping[str, Any]]) -> FakeReply:
    """The next reply to a conversation that began with `plan.message`."""
    found = re.search(r"Handle (\w+) as (\w+)\.", json.dumps(items[0]))
    assert found is not None
    thread, variant = found[1], cast("Variant", found[2])
    outputs = sum(item.get("type") == "function_call_output" for item in items)
    for calls in replies(thread, variant):
        if outputs <= 0:
            arguments = [(one.tool, json.dumps({"ticket": one.ticket})) for one in calls]
            named = [(f"call_{tool}_{at}", tool, text) for at, (tool, text) in enumerate(arguments)]
            return FakeReply(calls=named)
        outputs -= len(calls)
    return FakeReply("The case is closed.")


@dataclass
class ModelServer:
    """`fault` is the current fault; `faults` counts the requests that it reached."""

    chance: random.Random
    pace_s: tuple[float, float]
    url: str = ""
    fault: Fault | None = None
    faults: int = 0
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        if self.fault == "busy":
            self.faults += 1
            return web.json_response({"error": BUSY}, status=429, headers=self._advice())
        await asyncio.sleep(self.chance.uniform(*self.pace_s))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        with suppress(ConnectionError):
            await response.prepare(request)
            await self._send(request, response, responses_events(reply(asked["input"])))
        return response

    def _advice(self) -> dict[str, str]:
        """Return a `Retry-After` for half of the responses."""
        return {"Retry-After": "2"} if self.chance.random() < 0.5 else {}

    async def _send(
        self, request: web.Request, response: web.StreamResponse, events: list[bytes]
    ) -> None:
        if self.fault not in ("hanging", "cutting") or self.chance.random() >= CHANCE:
            await response.write(b"".join(events))
            return
        self.faults += 1
        await response.write(b"".join(events[: self.chance.randrange(len(events))]))
        if self.fault == "hanging":
            await self.closing.wait()
        elif request.transport is not None:
            request.transport.abort()


@asynccontextmanager
async def model_server(
    chance: random.Random, pace_s: tuple[float, float]
) -> AsyncIterator[ModelServer]:
    """A server that ends with the body."""
    model = ModelServer(chance, pace_s)
    app = web.Application(client_max_size=16 << 20)
    app.router.add_post("/v1/responses", model.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        model.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        yield model
    finally:
        model.closing.set()
        await runner.cleanup()
