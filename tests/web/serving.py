"""Whole processes in the test's loop: a server on a port, its clients, and a model with rules.

The model says what a test needs, in pieces, so that a stream has something to tell.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx2
from openai import AsyncOpenAI

from tests.engine.stage import LIMITS, SHOP, Stage
from twelvefold.config import Settings
from twelvefold.core.budget import Limits
from twelvefold.core.conversation.attachments import ALL_INPUTS
from twelvefold.core.events import Item, Usage
from twelvefold.core.ports import Listener, Model, ModelReply, ModelRequest
from twelvefold.core.workflow import Workflow
from twelvefold.services.model.scripted import calls, says
from twelvefold.web.process import open_web
from twelvefold.web.server import bind_sockets, serve
from twelvefold.web.state import Waits, Web
from twelvefold.worker.loop import Worker

Json = dict[str, Any]
Serve = Callable[..., Awaitable["Served"]]
PATIENT = Waits(thread_s=600.0, take_s=30.0, undriven_s=600.0)
"""On a busy machine, the turns before a turn may take longer than a client should wait."""
USAGE = Usage(input_tokens=20, output_tokens=5, cached_tokens=8)


class Rules:
    """A model that does what the last message says: `buy a lamp`, `refund a lamp`, `call NAME`,
    `tell 1000` (characters).

    It echoes anything else, in pieces of `chars` with a pause between them. While `gate` is
    closed it says nothing; `asked` is set once it was asked. With `halts` it waits after each
    piece of a text until the test calls `go_on`.
    """

    def __init__(self, *, pause_s: float = 0.0, chars: int = 6, halts: bool = False) -> None:
        self.requests: list[ModelRequest] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()
        self.fault: Exception | None = None
        self._pause_s = pause_s
        self._chars = chars
        self._halts = halts
        self._may_go_on = asyncio.Semaphore(0)

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        self.requests.append(request)
        self.asked.set()
        await self.gate.wait()
        if self.fault:
            raise self.fault
        items = _answer(request.items[-1], len(self.requests))
        for item in items:
            if item["type"] == "message":
                await self._say(item["content"][0]["text"], listener)
        return ModelReply(tuple(items), USAGE, "rules", "ab" * 32)

    async def _say(self, text: str, listener: Listener) -> None:
        for start in range(0, len(text), self._chars):
            listener.text(text[start : start + self._chars])
            await asyncio.sleep(self._pause_s)
            if self._halts:
                await self._may_go_on.acquire()

    def go_on(self, *, to_the_end: bool = False) -> None:
        """Let the model say one more piece, or all that it has to say."""
        self._may_go_on.release()
        self._halts = self._halts and not to_the_end

    async def close(self) -> None:
        """Nothing is open."""


def _answer(last: Item, number: int) -> Sequence[Item]:
    if last["type"] == "function_call_output":
        return says(f"The tool says: {_text(last['output'])}")
    said = _text(last["content"])
    verb, _, rest = said.partition(" ")
    if verb in ("buy", "refund", "ship"):
        return _numbered(calls((verb, {"item": rest})), number)
    if verb == "tell":
        return says("x" * int(rest))
    if verb == "call":
        return _numbered(calls((rest, {"city": "Rome"})), number)
    return says(f"You said: {said}")


def _numbered(items: Sequence[Item], number: int) -> list[Item]:
    return [item | {"call_id": f"call_{number}_{at}"} for at, item in enumerate(items)]


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


@dataclass
class Served:
    """A process that serves; `http` are plain requests to it, `sdk` the official client."""

    web: Web
    model: Rules
    address: str
    http: httpx2.AsyncClient
    sdk: AsyncOpenAI
    stop: asyncio.Event

    async def post(self, path: str, body: object = None, **more: Any) -> httpx2.Response:
        return await self.http.post(f"/v1{path}", json={} if body is None else body, **more)

    async def get(self, path: str, **query: Any) -> httpx2.Response:
        return await self.http.get(f"/v1{path}", params=query)

    async def ask(self, input: object, **more: Any) -> Json:
        """The response to a turn of the shop."""
        answer = await self.post("/responses", {"model": "shop", "input": input, **more})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def told(self, input: object, **more: Any) -> list[Json]:
        """The events of a turn of the shop."""
        body = {"model": "shop", "input": input, "stream": True, **more}
        return await events(self.http, "POST", "/v1/responses", json=body)

    async def replayed(self, id: str, **query: Any) -> list[Json]:
        params = {"stream": "true", **query}
        return await events(self.http, "GET", f"/v1/responses/{id}", params=params)

    async def settled(self, id: str) -> Json:
        """The response once it is over."""
        while True:
            response = (await self.get(f"/responses/{id}")).json()
            if response["status"] not in ("queued", "in_progress"):
                return dict(response)
            await asyncio.sleep(0.02)


async def events(http: httpx2.AsyncClient, method: str, url: str, **how: Any) -> list[Json]:
    """All events of a stream that ends as it should."""
    async with http.stream(method, url, **how) as answer:
        text = (await answer.aread()).decode()
    assert answer.status_code == 200, text
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    *blocks, done, rest = text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    return [event for block in blocks if (event := event_of(block))]


def event_of(block: str) -> Json | None:
    """An event out of its lines; None for a comment."""
    if block.startswith(":"):
        return None
    name, data = block.split("\n")
    event: Json = json.loads(data.removeprefix("data: "))
    assert name == f"event: {event['type']}"
    return event


@asynccontextmanager
async def served(
    stage: Stage,
    *,
    model: Model | None = None,
    models: Mapping[str, Model] | None = None,
    worker: bool = True,
    limits: Limits = LIMITS,
    workflow: Workflow = SHOP,
    headers: dict[str, str] | None = None,
    waits: Waits = PATIENT,
    accepts: frozenset[str] = ALL_INPUTS,
    **settings: Any,
) -> AsyncIterator[Served]:
    """A process of its own on the stage's database, until the body ends."""
    rules = model or Rules()
    services = stage.process(model=rules, workflow=workflow, limits=limits, accepts=accepts)
    services = replace(services, models=models or {})
    stop = asyncio.Event()
    async with (
        open_web(services, Settings(**settings), waits) as web,
        asyncio.TaskGroup() as group,
    ):
        if worker:
            working = Worker(services, 100, 0.05, grace_s=1.0, listen=web.notifier.listener)
            group.create_task(working.run(stop))
            web = replace(web, wake=working.wake)
        [listening] = bind_sockets("127.0.0.1", 0)
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        serving = group.create_task(serve(web, [listening], stop))
        await _listens(listening.getsockname()[1])
        try:
            async with _clients(address, headers or {}) as (http, sdk):
                yield Served(web, rules, address, http, sdk, stop)  # type: ignore[arg-type]
        finally:
            stop.set()
            await asyncio.wait([serving])


async def _listens(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0)
        else:
            writer.close()
            return


@asynccontextmanager
async def _clients(
    address: str, headers: dict[str, str]
) -> AsyncIterator[tuple[httpx2.AsyncClient, AsyncOpenAI]]:
    async with (
        httpx2.AsyncClient(base_url=address, headers=headers, timeout=None) as http,
        AsyncOpenAI(
            base_url=f"{address}/v1",
            api_key="none",
            max_retries=0,
            default_headers=headers,
            _strict_response_validation=True,
        ) as sdk,
    ):
        yield http, sdk
