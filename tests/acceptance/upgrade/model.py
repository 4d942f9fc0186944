"""A model server whose reply is a function of the conversation alone."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from tests.services.model.streams import FakeReply, responses_events

PACE_S = 0.25
"""How long a reply takes, so that most runs are in the middle when a release changes."""
PLAIN = ("place_order", "charge", "place_order", "send_letter")
TOOLS = {
    "plain": PLAIN,
    "refunded": (*PLAIN[:3], "refund", "send_letter"),
    "reminded": ("remind",),
}
"""The tools that a run calls in turn, by the kind of the run."""


def message(case: str, kind: str) -> str:
    """The user message that the model reads the plan from."""
    return f"Handle {case} as {kind}."


def reply(items: Sequence[Mapping[str, Any]]) -> FakeReply:
    """The next reply to a conversation that began with `message`."""
    found = re.search(r"Handle (\w+) as (\w+)\.", json.dumps(items[0]))
    assert found is not None
    done = sum(item.get("type") == "function_call_output" for item in items)
    tools = TOOLS[found[2]]
    if done == len(tools):
        return FakeReply("The case is closed.")
    arguments = json.dumps({"ticket": f"{found[1]}:{done}"})
    return FakeReply(calls=[(f"call_{done}", tools[done], arguments)])


async def _answer(request: web.Request) -> web.StreamResponse:
    asked = await request.json()
    await asyncio.sleep(PACE_S)
    events = b"".join(responses_events(reply(asked["input"])))
    return web.Response(body=events, headers={"Content-Type": "text/event-stream"})


@asynccontextmanager
async def model_server() -> AsyncIterator[str]:
    """Yield the base URL of a server that ends with the body."""
    app = web.Application(client_max_size=16 << 20)
    app.router.add_post("/v1/responses", _answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()
