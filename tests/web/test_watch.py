"""One look for all readers of a process at what other processes write."""

import asyncio
from collections.abc import Collection
from typing import Any, cast

import pytest

from tests.web.serving import Rules, Serve, Served
from tests.web.test_stream import LONG, Reader, reading
from twelvefold.core.ids import RunId, ThreadId
from twelvefold.core.ports import Store
from twelvefold.errors import StoreUnavailable
from twelvefold.web.streaming import notifier as bells
from twelvefold.web.streaming import poller as watch
from twelvefold.web.streaming import sse as stream
from twelvefold.web.streaming.notifier import RunNotifier
from twelvefold.web.streaming.poller import watching

THREAD, OTHER = ThreadId("a" * 44), ThreadId("b" * 44)


class Counted:
    """How often a store is asked; `looked` is set with every tenth look of the watch."""

    def __init__(self, store: Any) -> None:
        self.marks = self.follows = 0
        self.looked = asyncio.Event()
        self._marks, self._follow = store.marks, store.follow
        store.marks, store.follow = self._count_marks, self._count_follow

    async def _count_marks(self, threads: Collection[ThreadId]) -> Any:
        self.marks += 1
        if self.marks % 10 == 0:
            self.looked.set()
        return await self._marks(threads)

    async def _count_follow(self, *args: Any, **how: Any) -> Any:
        self.follows += 1
        return await self._follow(*args, **how)


def followed(api: Served, id: str) -> Reader:
    return Reader(api.http, "GET", f"/v1/responses/{id}", params={"stream": "true"})


async def test_many_readers_of_what_does_not_move_ask_as_one(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bells, "POLL_ELSEWHERE_S", 60.0)
    monkeypatch.setattr(watch, "POLL_S", 0.01)
    api = await serve(worker=False)
    waiting = [await api.ask("hi", background=True) for _ in range(5)]
    asked = Counted(api.web.services.store)
    told = [followed(api, response["id"]) for response in waiting]
    for one in told:
        await one.__aenter__()
        await one.events(2)

    asked.looked.clear()
    await asked.looked.wait()
    follows = asked.follows
    asked.looked.clear()
    await asked.looked.wait()
    for one in told:
        await one.__aexit__(None, None, None)

    # To open it, to begin, and because the watch cannot know what had been read by then.
    assert follows <= 3 * len(told)
    assert asked.follows == follows


async def test_what_another_process_does_is_heard_by_the_watch(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bells, "POLL_ELSEWHERE_S", 60.0)
    one = await serve(worker=False)
    async with reading(one, LONG, background=True) as told:
        first = await told.events(2)
        await serve(model=Rules(pause_s=0.02))
        rest = await told.rest()

    assert rest[-1]["type"] == "response.completed"
    assert first + rest == await one.replayed(first[0]["response"]["id"])


async def test_a_reader_hears_at_once_that_its_process_is_about_to_end(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bells, "POLL_ELSEWHERE_S", 60.0)
    api = await serve(worker=False)
    async with reading(api, "hi", background=True) as told:
        await told.events(2)
        api.stop.set()
        rest = await told.left()

    assert rest == [stream.LEAVING.decode().strip()]


async def rings(*answers: dict[ThreadId, tuple[int, int]] | Exception) -> list[bool]:
    """Whether a reader is rung for each of the watch's looks."""
    news, heard, done, left = RunNotifier(), list[bool](), asyncio.Event(), list(answers)

    class Told:
        async def marks(self, threads: Collection[ThreadId]) -> dict[ThreadId, tuple[int, int]]:
            heard.append(ear.heard.is_set())
            ear.heard.clear()
            if not left:
                done.set()
                await asyncio.Event().wait()
            answer = left.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

    with news.subscribe(RunId(THREAD, 1)) as ear:
        async with watching(cast("Store", Told()), news):
            await done.wait()
    return heard[1:]


async def test_a_reader_is_rung_when_its_thread_has_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "POLL_S", 0)
    one, piece, two = {THREAD: (1, 0)}, {THREAD: (1, 1)}, {THREAD: (2, 0)}

    assert await rings(one, one, piece, two, two) == [True, False, True, True, False]


@pytest.mark.parametrize("fault", [StoreUnavailable("gone"), RuntimeError("nobody's expectation")])
async def test_a_reader_is_rung_when_the_database_goes_and_when_it_is_back(
    monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    monkeypatch.setattr(watch, "POLL_S", 0)
    one = {THREAD: (1, 0)}

    assert await rings(one, fault, fault, one) == [True, True, False, True]


async def test_what_is_driven_here_is_not_looked_for() -> None:
    news, here, elsewhere = RunNotifier(), RunId(THREAD, 1), RunId(OTHER, 1)
    listener = news.listener(here)

    with news.subscribe(here), news.subscribe(elsewhere):
        assert await news.followed_elsewhere() == {OTHER}
        del listener
        assert await news.followed_elsewhere() == {THREAD, OTHER}
