"""Appends items to a conversation between two runs."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial

from twelvefold.core import Entry, Event, Store, ThreadHead, ThreadId, encode, size_of
from twelvefold.engine import check_room, retry_unavailable
from twelvefold.errors import Conflict
from twelvefold.web.http import ApiError
from twelvefold.web.runs.polling import wait_until_thread_free
from twelvefold.web.state import ClientWatch, Web


async def append_between_runs(
    web: Web,
    head: ThreadHead,
    build_event: Callable[[ThreadHead], Awaitable[Event]],
    client: ClientWatch,
) -> Entry:
    """Append an entry as soon as the last run of the conversation is over.

    Raises ApiError after `Waits.thread_s`, ClientDisconnect if the client leaves meanwhile, and
    ConversationTooLarge.
    """
    store, end = web.services.store, asyncio.get_running_loop().time() + web.waits.thread_s
    while True:
        event = await build_event(head)
        run, size = await store.run_at(head), await store.size_of(await store.lineage(head))
        check_room(head.head, size, size_of(encode(event)[2]), web.services.limits)
        try:
            return await append_once(store, head.id, head.head, size, run, event)
        except Conflict as error:
            # Nothing else of the conversation is read until its last run is over.
            if not await wait_until_thread_free(store, head.id, client, end):
                message = (
                    "the previous turn of this conversation is not over; try again in a moment"
                )
                raise ApiError(409, message, code="conversation_locked", wait_s=1) from error
        head = await store.thread(head.id)


async def append_once(
    store: Store, thread: ThreadId, head: int, size: int, run: int, event: Event
) -> Entry:
    """Append an entry once, even if the write is retried."""
    add = partial(store.add_items, thread, head, run, event, thread_size=size)
    at_us = time.time_ns() // 1_000
    return await retry_unavailable(lambda: add(at_us=at_us))
