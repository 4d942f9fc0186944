"""A local model server whose reply is a function of the conversation alone.

A repeated request gets the same reply, so that what is done twice is the engine's doing.
"""

import asyncio
import json
import random
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

from aiohttp import web

from tests.acceptance.chaos.plan import Variant, replies
from tests.services.model.streams import FakeReply, responses_events

PACE_S = (0.1, 0.6)
"""How long a reply takes, at least and at most."""


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


@asynccontextmanager
async def model_server(chance: random.Random) -> AsyncIterator[str]:
    """The base URL of the server, which ends with the body."""

    async def answer(request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        await asyncio.sleep(chance.uniform(*PACE_S))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        with suppress(ConnectionError):
            await response.prepare(request)
            await response.write(b"".join(responses_events(reply(asked["input"]))))
        return response

    app = web.Application(client_max_size=16 << 20)
    app.router.add_post("/v1/responses", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()
