"""A recorded conversation held over HTTP: the service itself in front of a lane's shop.

Each turn is a `POST /v1/responses` that goes on from the one before, every other one streamed;
what the answer says of the tools is compared with the journal behind it.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.acceptance.shop import Shop
from twelvefold.config import Settings
from twelvefold.core.budget import Limits
from twelvefold.core.events import Entry
from twelvefold.core.ports import Ids, Listener, Model, ModelReply, ModelRequest
from twelvefold.core.workflow import Workflow
from twelvefold.engine.services import Services
from twelvefold.web.ids import ResponseId
from twelvefold.web.process import open_web
from twelvefold.web.server import bind_sockets, serve

Json = dict[str, Any]


class Changing:
    """A model that is another one for each conversation of a lane."""

    def __init__(self) -> None:
        self.now: Model | None = None

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        assert self.now is not None
        return await self.now.reply(request, listener)

    async def close(self) -> None:
        """The connections are those of all."""


@dataclass(frozen=True)
class Counter:
    """A lane's service: where turns are said, and the shop behind it."""

    shop: Shop
    model: Changing
    url: str
    http: aiohttp.ClientSession

    async def turn(self, workflow: str, said: str, previous: str, *, stream: bool) -> Json:
        """One turn's response, read to its end."""
        body: Json = {"model": workflow, "input": said, "stream": stream}
        if previous:
            body["previous_response_id"] = previous
        async with self.http.post(f"{self.url}/v1/responses", json=body) as answer:
            text = await answer.text()
        if answer.status != 200:
            raise AssertionError(f"HTTP {answer.status}: {text[:500]}")
        response: Json = _last_event(text)["response"] if stream else json.loads(text)
        return response

    async def entries(self, response: Json) -> tuple[Entry, ...]:
        """The journal of the conversation that a response belongs to."""
        thread = ResponseId.parse(response["id"]).run.thread
        return (await self.shop.store.load(thread)).entries


def _last_event(stream: str) -> Json:
    *blocks, done, _ = stream.split("\n\n")
    assert done == "data: [DONE]", done
    events = [json.loads(block.partition("\ndata: ")[2]) for block in blocks if block[0] != ":"]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    last: Json = events[-1]
    return last


def outputs_told(response: Json) -> list[str]:
    """What a response says that its tools have answered."""
    calls = (item for item in response["output"] if item["type"] == "mcp_call")
    return [_told(call) for call in calls]


def _told(call: Json) -> str:
    if call["error"] is None:
        return str(call["output"])
    return "".join(part["text"] for part in call["error"]["content"])


@asynccontextmanager
async def counter(
    shop: Shop, workflow: Workflow, ids: Ids, limits: Limits
) -> AsyncIterator[Counter]:
    """A service on a free port of this machine, ended with the body."""
    model, stop = Changing(), asyncio.Event()
    services = Services(shop.store, model, {workflow.name: workflow}, ids, limits, "replay")
    [listening] = bind_sockets("127.0.0.1", 0)
    port: int = listening.getsockname()[1]
    async with (
        open_web(services, Settings(host="127.0.0.1", port=port)) as web,
        aiohttp.ClientSession() as http,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(serve(web, [listening], stop))
        try:
            yield Counter(shop, model, f"http://127.0.0.1:{port}", http)
        finally:
            stop.set()
