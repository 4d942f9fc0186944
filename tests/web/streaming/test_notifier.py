"""One poll for all readers of a process finds what other processes write."""

import asyncio
from collections.abc import Collection
from typing import Any, cast

import pytest

from tests.web.serving import Rules, Serve
from tests.web.stream_clients import LONG, followed, reading
from twelvefold.core.ids import RunId, ThreadId
from twelvefold.core.ports import Store
from twelvefold.errors import StoreUnavailable
from twelvefold.web.state import Waits
from twelvefold.web.streaming.reader import INTERRUPTED, RunNotifier, poll_journal

THREAD, OTHER = ThreadId("a" * 44), ThreadId("b" * 44)
NOTIFIED_ONLY = Waits(poll_driven_elsewhere_s=60.0)
"""Readers read again only after a notification."""


class CountedReads:
    """Counts a store's reads; `polled` is set with every tenth poll."""

    def __init__(self, store: Any) -> None:
        self.marks = self.follows = 0
        self.polled = asyncio.Event()
        self._marks, self._follow = store.marks, store.follow
        store.marks, store.follow = self._count_marks, self._count_follow

    async def _count_marks(self, threads: Collection[ThreadId]) -> Any:
        self.marks += 1
        if self.marks % 10 == 0:
            self.polled.set()
        return await self._marks(threads)

    async def _count_follow(self, *args: Any, **how: Any) -> Any:
        self.follows += 1
        return await self._follow(*args, **how)


async def test_readers_of_queued_runs_read_only_what_the_poll_has_found(serve: Serve) -> None:
    waits = Waits(poll_driven_elsewhere_s=60.0, poll_journal_s=0.01)
    api = await serve(worker=False, waits=waits)
    queued = [await api.ask("hi", background=True) for _ in range(5)]
    reads = CountedReads(api.web.services.store)
    clients = [followed(api, response["id"]) for response in queued]
    for client in clients:
        await client.__aenter__()
        await client.events(2)

    for _ in range(2):
        reads.polled.clear()
        await reads.polled.wait()
    for client in clients:
        await client.__aexit__(None, None, None)

    # One opens the response, one starts its events, one follows the first poll of its thread.
    assert reads.follows <= 3 * len(clients)


async def test_the_poll_finds_what_another_process_writes(serve: Serve) -> None:
    one = await serve(worker=False, waits=NOTIFIED_ONLY)
    async with reading(one, LONG, background=True) as client:
        first = await client.events(2)
        await serve(model=Rules(pause_s=0.02))
        rest = await client.rest()

    assert rest[-1]["type"] == "response.completed"
    assert first + rest == await one.replayed(first[0]["response"]["id"])


async def test_readers_are_notified_when_their_process_drains(serve: Serve) -> None:
    api = await serve(worker=False, waits=NOTIFIED_ONLY)
    async with reading(api, "hi", background=True) as client:
        await client.events(2)
        api.stop.set()
        rest = await client.left()

    assert rest == [INTERRUPTED.decode().strip()]


async def notified(*polls: dict[ThreadId, tuple[int, int]] | Exception) -> list[bool]:
    """Whether a reader is notified after each of these polls."""
    notifier, changes = RunNotifier(Waits(poll_journal_s=0)), list[bool]()
    done, left = asyncio.Event(), list(polls)

    class Marks:
        async def marks(self, threads: Collection[ThreadId]) -> dict[ThreadId, tuple[int, int]]:
            changes.append(subscription.changed.is_set())
            subscription.changed.clear()
            if not left:
                done.set()
                await asyncio.Event().wait()
            answer = left.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

    with notifier.subscribe(RunId(THREAD, 1)) as subscription:
        async with poll_journal(cast("Store", Marks()), notifier):
            await done.wait()
    return changes[1:]


async def test_a_reader_is_notified_when_its_thread_has_grown() -> None:
    one, piece, two = {THREAD: (1, 0)}, {THREAD: (1, 1)}, {THREAD: (2, 0)}

    assert await notified(one, one, piece, two, two) == [True, False, True, True, False]


@pytest.mark.parametrize("fault", [StoreUnavailable("gone"), RuntimeError("not expected")])
async def test_a_reader_is_notified_when_the_database_fails_and_when_it_is_back(
    fault: Exception,
) -> None:
    one = {THREAD: (1, 0)}

    assert await notified(one, fault, fault, one) == [True, True, False, True]


async def test_threads_of_runs_that_are_driven_here_are_not_polled() -> None:
    notifier, here, elsewhere = RunNotifier(), RunId(THREAD, 1), RunId(OTHER, 1)
    listener = notifier.listener(here)

    with notifier.subscribe(here), notifier.subscribe(elsewhere):
        assert await notifier.threads_to_poll() == {OTHER}
        del listener
        assert await notifier.threads_to_poll() == {THREAD, OTHER}
