"""The ways in which a tenant can burden the service; each is an act that lanes repeat at once."""

import asyncio
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.acceptance.abuse.client import head, request
from tests.acceptance.abuse.lane import Act, Lane, Target
from tests.acceptance.abuse.prepare import (
    ENROLMENT,
    SLOW,
    Prepare,
    conversation,
    done_response,
    large_conversation,
    short_threads,
    slow_response,
    turn,
)

MIB = 1 << 20
HELP = "what can you do"
LINGER = "linger 8"
HOLD_S = 8.0
CLIENT_TOOL = {
    "type": "function",
    "name": "paint_picture",
    "description": "Paint a picture.",
    "parameters": {"type": "object", "properties": {}},
}


@dataclass(frozen=True, slots=True)
class Way:
    """`lanes` connections do `act` again and again, once `prepare` has been done."""

    act: Act
    lanes: int
    prepare: Prepare | None = None


async def list_threads(lane: Lane) -> None:
    """List with a limit of 1 behind thousands of threads that are not kept, and add to them."""
    if lane.number % 3:
        await lane.ask("GET", "/v1/conversations?limit=1")
    else:
        messages = [{"role": "user", "content": HELP}]
        await lane.ask("POST", "/v1/chat/completions", {"model": ENROLMENT, "messages": messages})


async def read_large(lane: Lane) -> None:
    """Journal, items, turns and single items of a conversation as large as it was accepted."""
    id = lane.target.found["large"]
    match lane.number % 4:
        case 0:
            await lane.ask("GET", f"/v1/conversations/{id}/journal?limit=1")
        case 1:
            await lane.ask("GET", f"/v1/conversations/{id}/items?limit=1")
        case 2:
            await lane.ask("GET", f"/v1/conversations/{id}")
        case _:
            await lane.ask("POST", "/v1/responses", turn(HELP, conversation=id))


async def fill_queue(lane: Lane) -> None:
    """Background runs, more than there are places for, quick and slow ones."""
    body = turn(LINGER, SLOW) if lane.number % 2 else turn(HELP)
    await lane.ask("POST", "/v1/responses", body | {"background": True})


async def hold_places(lane: Lane) -> None:
    """Foreground runs and streams that take long."""
    await lane.ask("POST", "/v1/responses", turn(LINGER, SLOW) | {"stream": lane.number % 2 == 0})


async def loop_client_tools(lane: Lane) -> None:
    """Turns that call the client's tool, whose result starts the next call."""
    body = turn("paint a picture") | {"tools": [CLIENT_TOOL], "tool_choice": "required"}
    if previous := lane.memory.pop("previous", None):
        output = {"type": "function_call_output", "call_id": previous[1], "output": "painted"}
        body |= {"previous_response_id": previous[0], "input": [output]}
    answer = await lane.ask("POST", "/v1/responses", body)
    if answer.status == 200:
        response = answer.json()
        calls = [one for one in response["output"] if one["type"] == "function_call"]
        if calls:
            lane.memory["previous"] = (response["id"], calls[0]["call_id"])


async def repeat_key(lane: Lane) -> None:
    """The same Idempotency-Key again and again, leaving before the answer."""
    more = f"idempotency-key: again-{lane.number % 4}\r\n"
    body = turn(LINGER, SLOW) | {"background": lane.number % 2 == 0, "stream": lane.number % 3 == 0}
    data = request("POST", "/v1/responses", lane.target.key, body, more)
    await lane.leave(data, 0.1)


async def never_read(lane: Lane) -> None:
    """Streams and large answers whose client takes nothing from the socket."""
    found = lane.target.found
    path = f"/v1/responses/{found['done']}?stream=true"
    if lane.number % 2:
        path = f"/v1/conversations/{found['large']}/items?limit=100"
    await lane.connection.open()
    lane.connection.pause_reading()
    lane.tally["opened"] += 1
    await lane.leave(request("GET", path, lane.target.key) * 20, HOLD_S)


async def half_open(lane: Lane) -> None:
    """A request whose head never ends."""
    data = head("POST", "/v1/responses", lane.target.key, 100)
    lane.tally["opened"] += 1
    await lane.leave(data[: len(data) // 2], HOLD_S)


async def pipeline(lane: Lane) -> None:
    """Many requests in one segment, some with bodies beyond the reader's buffer."""
    small = request("GET", "/v1/models", lane.target.key)
    large = request("POST", "/v1/conversations", lane.target.key, {"metadata": {"a": "x" * 70_000}})
    await lane.connection.send((small * 4 + large) * 4)
    for _ in range(20):
        answer = await lane.connection.answer()
        lane.tally[str(answer.status)] += 1


async def guess_keys(lane: Lane) -> None:
    """Keys that nobody has, a new one each time."""
    await lane.ask("GET", "/v1/models", key=f"tw_{secrets.token_urlsafe(32)}")


async def use_revoked_key(lane: Lane) -> None:
    """A key that was revoked."""
    path = "/v1/models" if lane.number % 2 else f"/v1/responses/{lane.target.found['done']}"
    await lane.ask("GET", path, key=lane.target.revoked_key)


async def send_large_head(lane: Lane) -> None:
    """Headers just below and above the limit."""
    size = 60_000 if lane.number % 2 else 70_000
    await lane.ask("GET", "/v1/models", more=f"x-filler: {'x' * size}\r\n")


async def send_slow_body(lane: Lane) -> None:
    """A body of 4 MiB in small pieces."""
    lane.tally["opened"] += 1
    await lane.connection.send(head("POST", "/v1/responses", lane.target.key, 4 * MIB))
    piece = b"[" + b" " * 65_535
    for _ in range(63):
        await lane.connection.send(piece)
        await asyncio.sleep(0.3)
    lane.connection.close()


def _nested(depth: int) -> bytes:
    """4 MB of JSON: arrays within arrays, as deep as that."""
    one = b"[" * depth + b"]" * depth
    return b'{"model":"x","input":[' + b",".join([one] * (4_000_000 // len(one))) + b"]}"


BODIES: tuple[Callable[[], bytes], ...] = (
    lambda: _nested(60),
    lambda: _nested(400_000),
    lambda: b'{"model":"x","input":[' + b",".join([b"{}"] * 1_300_000) + b"]}",
    lambda: json.dumps(turn("x" * 4_000_000)).encode(),
)


async def send_large_body(lane: Lane) -> None:
    """Bodies of 4 MB: deep, wide, and one long text."""
    if "body" not in lane.memory:
        data = BODIES[lane.number % len(BODIES)]()
        lane.memory["body"] = request("POST", "/v1/responses", lane.target.key, data)
    await lane.ask_raw(lane.memory["body"])


async def cancel_runs(lane: Lane) -> None:
    """Runs that are cancelled as soon as they are begun, several times."""
    answer = await lane.ask("POST", "/v1/responses", turn(LINGER, SLOW) | {"background": True})
    if answer.status == 200:
        for _ in range(3):
            await lane.ask("POST", f"/v1/responses/{answer.json()['id']}/cancel")


async def delete_things(lane: Lane) -> None:
    """Conversations and responses that are made to be deleted."""
    answer = await lane.ask("POST", "/v1/conversations", {})
    if answer.status == 200:
        await lane.ask("DELETE", f"/v1/conversations/{answer.json()['id']}")
    answer = await lane.ask("POST", "/v1/responses", turn(HELP))
    if answer.status == 200:
        await lane.ask("DELETE", f"/v1/responses/{answer.json()['id']}")


async def fork(lane: Lane) -> None:
    """Forks in numbers, of one place."""
    id = lane.target.found["conversation"]
    if lane.number % 2:
        await lane.ask("POST", f"/v1/conversations/{id}/fork", {"position": 1})
    else:
        previous = lane.target.found["done"]
        await lane.ask("POST", "/v1/responses", turn(HELP) | {"previous_response_id": previous})


async def approve_twice(lane: Lane) -> None:
    """An approval that is answered twice at once, and then once more."""
    answer = await lane.ask("POST", "/v1/responses", turn("refund: 12", SLOW))
    asked = answer.json().get("output", []) if answer.status == 200 else []
    for item in asked:
        if item["type"] == "mcp_approval_request":
            reply = {"type": "mcp_approval_response", "approve": True}
            reply["approval_request_id"] = item["id"]
            body = {"model": SLOW, "input": [reply]}
            other = Lane(lane.target, "approve twice", lane.number)
            try:
                await asyncio.gather(
                    lane.ask("POST", "/v1/responses", body),
                    other.ask("POST", "/v1/responses", body),
                )
                await lane.ask("POST", "/v1/responses", body)
            finally:
                other.connection.close()


async def follow(lane: Lane) -> None:
    """Streams of one response, which many follow; and of one that is over."""
    id = lane.target.found["slow" if lane.number % 4 else "done"]
    await lane.ask("GET", f"/v1/responses/{id}?stream=true")


async def flood(lane: Lane) -> None:
    """Small requests as quickly as they are answered."""
    await lane.ask("GET", "/v1/models" if lane.number % 2 else "/healthz")


WAYS: Mapping[str, Way] = {
    "flood": Way(flood, 64),
    "list-threads": Way(list_threads, 12, short_threads),
    "large-thread": Way(read_large, 12, large_conversation),
    "fill-queue": Way(fill_queue, 8),
    "hold-places": Way(hold_places, 300),
    "client-tools": Way(loop_client_tools, 8),
    "repeat-key": Way(repeat_key, 24),
    "never-read": Way(never_read, 50, large_conversation),
    "half-open": Way(half_open, 300),
    "pipeline": Way(pipeline, 8),
    "unknown-keys": Way(guess_keys, 16),
    "revoked-key": Way(use_revoked_key, 16, done_response),
    "large-heads": Way(send_large_head, 8),
    "slow-bodies": Way(send_slow_body, 32),
    "large-bodies": Way(send_large_body, 4),
    "cancel": Way(cancel_runs, 8),
    "delete": Way(delete_things, 8),
    "fork": Way(fork, 8, conversation),
    "approve-twice": Way(approve_twice, 4),
    "follow": Way(follow, 300, slow_response),
}
"""In the order of the table."""


def prepare_of(name: str) -> Prepare | None:
    return WAYS[name].prepare


def lanes_of(name: str, target: Target) -> list[tuple[Lane, Any]]:
    """The lanes of a way, each with what it does."""
    way = WAYS[name]
    return [(Lane(target, name, number), way.act) for number in range(way.lanes)]
