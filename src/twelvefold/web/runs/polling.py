"""Waits until another request no longer holds a run or the end of a conversation.

A conversation whose last run waits for a person is not waited for: that is an error.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import partial

from twelvefold.core import OVER, RunId, Store, ThreadId, fold
from twelvefold.core.answers import question_of
from twelvefold.engine import retry_unavailable
from twelvefold.errors import NotFound
from twelvefold.web.http import ApiError
from twelvefold.web.ids import approval_id, question_id
from twelvefold.web.state import ClientWatch, Web

THREAD_POLL_INTERVAL_S = 0.2
"""How often to check whether the last run of a conversation is over."""


async def _always() -> bool:
    return True


async def poll_until(
    end: float, interval_s: float, is_free: Callable[[], Awaitable[bool]] = _always
) -> bool:
    """Call `is_free` after each pause until it returns True; return whether it did by `end`.

    `end` is a time of the event loop. Pauses are random, about `interval_s` on average, so that
    requests that collided do not collide again.
    """
    now = asyncio.get_running_loop().time
    while now() < end:
        await asyncio.sleep(interval_s * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, no secret
        if await is_free():
            return True
    return False


async def wait_until_thread_free(
    store: Store,
    thread: ThreadId,
    client: ClientWatch,
    end: float,
    on_waiting: Callable[[], Awaitable[None]] | None = None,
) -> bool:
    """Wait until the last run of a thread is over; return whether it was by `end`.

    Does not load the journal. Calls `on_waiting`, which may raise, while the run waits for a
    person. Raises ClientDisconnect if the client leaves.
    """

    async def is_free() -> bool:
        await client.check()
        try:
            latest = (await retry_unavailable(partial(store.listed_thread, thread))).latest
        except NotFound:
            return True  # it was deleted; the next try raises the error
        if latest is None or latest.status in OVER:
            return True
        if latest.status == "waiting" and on_waiting:
            await on_waiting()
        return False

    return await poll_until(end, THREAD_POLL_INTERVAL_S, is_free)


async def raise_if_waiting(web: Web, thread: ThreadId) -> None:
    """Raise ApiError that names the missing answer, if the run still waits for a person."""
    record = await retry_unavailable(partial(web.services.store.load, thread))
    folded = fold(record.entries)
    if folded.status == "active" and folded.child_asked and not (folded.waits or folded.asks):
        asked = folded.child_asked
        child = RunId.parse(asked.run).thread
        name = question_id if asked.question else approval_id
        do = f"answer {name(child, asked.child_call)}"
        if asked.is_unknown:
            do = f"settle the unknown outcome of a call of {asked.run} (`runs settle`)"
        raise _waits_for_person(do)
    if folded.status == "active" and (folded.waits or folded.asks):
        calls = folded.next_calls if folded.waits else filter(question_of, folded.pending)
        call = next(iter(calls))
        id = question_id if question_of(call) else approval_id
        do = f"answer {id(thread, call.id)}"
        if call.state == "unknown":
            do = "settle the unknown outcome of its last call (`runs settle`)"
        raise _waits_for_person(do)


def _waits_for_person(do: str) -> ApiError:
    message = f"the previous turn waits for a person; {do}, or cancel it with ?force=true"
    return conversation_locked(message, repeat=False)


def conversation_locked(message: str, *, repeat: bool) -> ApiError:
    return ApiError(
        409,
        message,
        code="conversation_locked",
        param="conversation",
        wait_s=1 if repeat else None,
        repeat=repeat,
    )
