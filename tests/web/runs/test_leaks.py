"""A process holds nothing for its clients once all have left, whenever they leave."""

import asyncio
import json
import random
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.web.serving import Json, Rules, Serve, Served

TURN: Json = {"model": "shop", "input": "tell 200"}
CHAT: Json = {"model": "shop", "messages": [{"role": "user", "content": "tell 200"}]}
LARGE: Json = {
    "model": "shop",
    "input": [{"role": "user", "content": text} for text in ("x" * 200_000, "tell 20")],
}
KINDS: dict[str, tuple[str, Json]] = {
    "turn": ("/v1/responses", TURN),
    "stream": ("/v1/responses", TURN | {"stream": True}),
    "not kept": ("/v1/responses", TURN | {"store": False}),
    "stream that is not kept": ("/v1/responses", TURN | {"store": False, "stream": True}),
    "background": ("/v1/responses", TURN | {"background": True}),
    "background stream": ("/v1/responses", TURN | {"background": True, "stream": True}),
    "tool": ("/v1/responses", TURN | {"input": "buy a lamp"}),
    "approval": ("/v1/responses", TURN | {"input": "refund a lamp"}),
    "large": ("/v1/responses", LARGE),
    "invalid": ("/v1/responses", {"model": "none"}),
    "chat": ("/v1/chat/completions", CHAT),
    "chat stream": ("/v1/chat/completions", CHAT | {"stream": True}),
}


def taken(served: Served) -> dict[str, int]:
    """What a process holds, by name; all is 0 at rest."""
    web = served.web
    return {
        "runs": web.executor.in_flight,
        "places": web.executor._slots.taken,
        "bytes": web.executor.memory.held,
        "owners": len(web.executor.memory._held_by),
        "waiting for bytes": len(web.executor.memory._waiting),
        "admitted": len(web.admission),
        "readers": len(web.notifier),
        "watched keys": len(web.keys._keys),
    }


async def leave_early(address: str, request: bytes, after_s: float) -> None:
    """Send these bytes, and close the connection after so many seconds at the latest."""
    where = urlsplit(address)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    writer.write(request)
    with suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(after_s):
            while await reader.read(65_536):
                pass
    writer.transport.abort()


def request_of(path: str, body: Json, key: str = "") -> bytes:
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    head += f"idempotency-key: {key}\r\n" if key else ""
    return f"{head}content-length: {len(content)}\r\n\r\n".encode() + content


async def at_rest(served: Served) -> None:
    while any(taken(served).values()):
        await asyncio.sleep(0.02)


def leaving(source: random.Random, address: str, places: list[Json]) -> Coroutine[Any, Any, None]:
    """A client with any request, which leaves at any time; some do not send all of it."""
    path, body = KINDS[source.choice([*KINDS])]
    if path == "/v1/responses":
        body = body | source.choice(places)
    request = request_of(path, body, source.choice(["", "", f"key {source.randrange(5)}"]))
    sent = source.choice([1, 1, 1, source.random()])
    return leave_early(address, request[: round(len(request) * sent)], source.random() ** 2 * 0.3)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("limits", [{}, {"max_runs": 4}, {"max_run_bytes": 300_000}])
async def test_nothing_stays_reserved_once_all_clients_have_left(
    serve: Serve, seed: int, limits: Json
) -> None:
    source = random.Random(seed)
    served = await serve(model=Rules(pause_s=0.001), worker=seed % 2 == 0, **limits)
    conversation = (await served.post("/conversations")).json()["id"]
    earlier = await served.ask("hello")
    places = [{}, {"conversation": conversation}, {"previous_response_id": earlier["id"]}]

    await asyncio.gather(*(leaving(source, served.address, places) for _ in range(60)))

    await at_rest(served)
    assert (await served.ask("hello"))["status"] == "completed"
