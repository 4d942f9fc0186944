"""What the abusive tenant has made before it begins: threads, one large conversation, responses."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from tests.acceptance.abuse.lane import Lane, Target

ENROLMENT, SLOW = "enrolment", "slow"
HELP = "what can you do"
LARGE_ITEMS = 30
AT_ONCE = 8
RETRY_S = 0.1
PREPARE_S = 120.0
"""The longest that a preparation takes; what is not there by then was not accepted."""
Prepare = Callable[[Target], Awaitable[None]]


def turn(text: str, model: str = ENROLMENT, *, conversation: str = "") -> dict[str, Any]:
    """The body of a turn with this input."""
    return {"model": model, "input": text} | (
        {"conversation": conversation} if conversation else {}
    )


async def short_threads(target: Target) -> None:
    """Thousands of threads that are not kept, half of them of Chat Completions."""
    end, left = time.monotonic() + PREPARE_S, iter(range(target.threads))
    messages = [{"role": "user", "content": HELP}]

    async def some(number: int) -> None:
        lane = Lane(target, "prepare", number)
        for one in left:
            if time.monotonic() > end:
                return
            if one % 2:
                body: dict[str, Any] = {"model": ENROLMENT, "messages": messages}
                await _accepted(lane, "POST", "/v1/chat/completions", body)
            else:
                await _accepted(lane, "POST", "/v1/responses", turn(HELP) | {"store": False})

    await asyncio.gather(*(some(number) for number in range(AT_ONCE)))


async def large_conversation(target: Target) -> None:
    """A conversation of 30 items as long as a body may be, as far as they are accepted."""
    await done_response(target)
    lane = Lane(target, "prepare", 0)
    target.found["large"] = id = await _new_conversation(lane)
    text = "x" * target.item_bytes
    item = {"type": "message", "role": "user", "content": text}
    for _ in range(LARGE_ITEMS):
        answer = await lane.ask("POST", f"/v1/conversations/{id}/items", {"items": [item]})
        if answer.status not in (200, 429):
            break
    target.found["large_answers"] = dict(lane.tally)


async def done_response(target: Target) -> None:
    """A response that is over."""
    if "done" not in target.found:
        lane = Lane(target, "prepare", 0)
        answer = await _accepted(lane, "POST", "/v1/responses", turn(HELP))
        target.found["done"] = answer["id"]


async def conversation(target: Target) -> None:
    """A conversation with a turn."""
    await done_response(target)
    lane = Lane(target, "prepare", 0)
    target.found["conversation"] = id = await _new_conversation(lane)
    await _accepted(lane, "POST", "/v1/responses", turn(HELP, conversation=id))


async def slow_response(target: Target) -> None:
    """A response in the background that takes as long as the whole measurement."""
    await done_response(target)
    lane = Lane(target, "prepare", 0)
    body = turn("linger 500", SLOW) | {"background": True}
    target.found["slow"] = (await _accepted(lane, "POST", "/v1/responses", body))["id"]


async def _new_conversation(lane: Lane) -> str:
    return str((await _accepted(lane, "POST", "/v1/conversations", {}))["id"])


async def _accepted(lane: Lane, method: str, path: str, body: Any) -> Any:
    """The answer to a request, which is sent again while it is refused for a time."""
    while True:
        answer = await lane.ask(method, path, body)
        if answer.status == 200:
            return answer.json()
        if answer.status not in (429, 503):
            raise RuntimeError(f"{method} {path}: {answer.status} {answer.body[:300]!r}")
        await asyncio.sleep(RETRY_S)
