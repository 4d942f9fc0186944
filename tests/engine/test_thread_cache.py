"""Threads that a process keeps, while other processes continue them."""

from typing import Any

import pytest

from tests.builders import asked, said, thread_of, user
from tests.engine.commands.stories import LAMP
from tests.engine.stage import ANN, Stage, resume, start
from twelvefold.core.events import ItemsAdded
from twelvefold.core.ids import RunId, ThreadId
from twelvefold.core.ports import NullListener, Principal
from twelvefold.core.thread import Thread, fold
from twelvefold.engine.commands import RunRequest, answer, delete_thread, start_run
from twelvefold.engine.drive import Outcome, drive
from twelvefold.engine.services import Services, ThreadCache
from twelvefold.errors import Conflict, NotFound, RequestError, StaleRun
from twelvefold.services.model.scripted import calls, says

FIRST, OTHER, THIRD = ThreadId("1" * 44), ThreadId("2" * 44), ThreadId("3" * 44)
LINES = [says(f"line {number}") for number in range(9)]


def cost(thread: Thread) -> int:
    (cache := ThreadCache(10**6)).put(FIRST, thread)
    return cache.size


def test_the_least_recently_used_thread_leaves_a_full_cache() -> None:
    thread = thread_of(asked(), said())
    cache = ThreadCache(2 * cost(thread))

    cache.put(FIRST, thread)
    cache.put(OTHER, thread)
    assert cache.get(FIRST) is thread
    cache.put(THIRD, thread)

    assert [cache.get(id) is None for id in (FIRST, OTHER, THIRD)] == [False, True, False]
    assert cache.size == 2 * cost(thread)


def test_a_thread_larger_than_the_cache_is_not_kept() -> None:
    thread = thread_of(asked("w" * 10_000))
    cache = ThreadCache(10_000)

    cache.put(FIRST, thread)

    assert (cache.get(FIRST), cache.size) == (None, 0)


def test_a_thread_that_is_put_again_is_counted_once() -> None:
    short, long = thread_of(asked()), thread_of(asked("w" * 1000))
    cache = ThreadCache(10**6)

    cache.put(FIRST, short)
    cache.put(FIRST, long)

    assert cache.size == cost(long)
    assert [cache.drop(FIRST), cache.drop(FIRST), cache.size] == [True, False, 0]


# --- with other processes ------------------------------------------------------------------------


class LoadCounter:
    """Counts the whole journals that a process reads."""

    def __init__(self, services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        load = services.store.load

        async def counted(thread: ThreadId) -> object:
            self.count += 1
            return await load(thread)

        monkeypatch.setattr(services.store, "load", counted)


async def turn(services: Services, thread: ThreadId | None = None) -> Outcome:
    """Drive another run of a thread."""
    held = await start(services, thread=thread)
    return await drive(services, held, NullListener())


async def folded(stage: Stage, run: RunId) -> Thread:
    return fold(await stage.entries(run))


def without_history(thread: Thread) -> list[object]:
    """Return what a thread is, with its entries in place of its history."""
    fields = [getattr(thread, name) for name in thread.__struct_fields__ if name != "history"]
    return [*fields, thread.entries]


async def test_the_next_run_does_not_read_the_journal(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = stage.process(*LINES)
    loads = LoadCounter(services, monkeypatch)
    thread = (await turn(services)).run.thread

    outcome = await turn(services, thread)

    assert loads.count == 0
    assert without_history(outcome.thread) == without_history(await folded(stage, outcome.run))


async def test_a_thread_that_another_process_continued_is_read_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    services, other = stage.process(*LINES), stage.process(*LINES)
    loads = LoadCounter(services, monkeypatch)
    thread = (await turn(services)).run.thread
    await turn(other, thread)

    outcome = await turn(services, thread)

    assert (loads.count, outcome.run.ordinal) == (1, 3)
    assert stage.requests[-1].items[-1] == user("a lamp, please")
    assert len(stage.requests[-1].items) == 5
    assert without_history(outcome.thread) == without_history(await folded(stage, outcome.run))


async def test_items_that_another_process_added_are_read(stage: Stage) -> None:
    services, other = stage.process(*LINES), stage.process(*LINES)
    first = await turn(services)
    added = ItemsAdded((user("for you to know"),))
    await other.store.add_items(first.run.thread, first.thread.head, 1, added)

    await turn(services, first.run.thread)

    assert stage.requests[-1].items[-2:] == (user("for you to know"), user("a lamp, please"))


async def test_a_run_that_another_process_left_is_claimed_with_the_entries_since(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    services, other = stage.process(*LINES), stage.process(*LINES)
    loads = LoadCounter(services, monkeypatch)
    thread = (await turn(services)).run.thread
    run = (await start(other, thread=thread)).run
    await stage.let_leases_run_out()

    outcome = await resume(services, run)

    assert (loads.count, outcome.status) == (0, "completed")
    assert without_history(outcome.thread) == without_history(await folded(stage, run))


async def test_a_run_that_waits_continues_from_the_cache(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    services, other = (stage.process(calls(("refund", LAMP)), says("Done.")) for _ in range(2))
    loads = LoadCounter(services, monkeypatch)
    waiting = await turn(services)
    await answer(other, waiting.run, approved=True, by="bob")

    outcome = await resume(services, waiting.run)

    assert (waiting.status, outcome.status, loads.count) == ("waiting", "completed", 0)
    assert without_history(outcome.thread) == without_history(await folded(stage, outcome.run))


async def test_a_run_does_not_start_after_a_cached_one_that_is_not_over(stage: Stage) -> None:
    services, other = (stage.process(calls(("refund", LAMP)), *LINES) for _ in range(2))
    waiting = await turn(services)
    with pytest.raises(Conflict, match="is not over"):
        await start(services, thread=waiting.run.thread)
    await answer(other, waiting.run, approved=False, by="bob")
    await resume(other, waiting.run)

    outcome = await turn(services, waiting.run.thread)

    assert (outcome.run.ordinal, outcome.status) == (2, "completed")


async def test_a_run_at_the_position_of_another_process_reads_the_journal(stage: Stage) -> None:
    services, other = stage.process(*LINES), stage.process(*LINES)
    first = await turn(services)
    later = await turn(other, first.run.thread)

    with pytest.raises(Conflict, match="any more"):
        await start_run(other, request(first.run.thread, position=first.thread.head))
    held = await start_run(services, request(first.run.thread, position=later.thread.head))

    assert held.run.ordinal == 3


async def test_a_fork_reads_the_journal(stage: Stage) -> None:
    services = stage.process(*LINES)
    first = await turn(services)
    await turn(services, first.run.thread)

    held = await start_run(
        services, request(first.run.thread, position=first.thread.head, fork=True)
    )

    assert held.thread.head == first.thread.head + 1


def request(
    thread: ThreadId,
    *,
    position: int = 0,
    fork: bool = False,
    principal: Principal = ANN,
    workflow: str = "shop",
) -> RunRequest:
    items = [user("again")]
    return RunRequest(workflow, principal, items, thread, position=position, fork=fork)


@pytest.mark.parametrize("by_another", [True, False])
async def test_a_deleted_thread_takes_no_new_run(stage: Stage, by_another: bool) -> None:
    services = stage.process(*LINES)
    thread = (await turn(services)).run.thread
    await delete_thread(stage.process() if by_another else services, thread)

    with pytest.raises(NotFound):
        await turn(services, thread)


async def test_a_cached_thread_of_another_principal_is_not_found(stage: Stage) -> None:
    services = stage.process(*LINES)
    thread = (await turn(services)).run.thread

    with pytest.raises(NotFound):
        await start_run(services, request(thread, principal=Principal("bob")))


async def test_a_cached_thread_stays_with_its_workflow(stage: Stage) -> None:
    services = stage.process(*LINES)
    thread = (await turn(services)).run.thread
    services.workflows["other"] = services.workflows["shop"]  # type: ignore[index]

    with pytest.raises(RequestError, match="is of workflow 'shop'"):
        await start_run(services, request(thread, workflow="other"))


async def test_a_process_that_lost_its_run_forgets_the_thread(stage: Stage) -> None:
    services, other = stage.process(*LINES), stage.process(*LINES)
    thread = (await turn(services)).run.thread
    held = await start(services, thread=thread)
    await stage.let_leases_run_out()
    taken = await resume(other, held.run)
    assert taken.status == "completed"

    await drive(services, held, NullListener())

    assert services.threads.get(thread) is None


async def test_a_superseded_process_that_cannot_continue_forgets_the_thread(stage: Stage) -> None:
    services = stage.process(StaleRun("another process has it"))
    held = await start(services)
    services.threads.put(held.run.thread, held.thread)

    with pytest.raises(StaleRun):
        await drive(services, held, NullListener())

    assert services.threads.get(held.run.thread) is None


async def test_a_stale_thread_that_leaves_the_cache_during_the_start_is_read_again(
    stage: Stage,
) -> None:
    services, other = stage.process(*LINES), stage.process(*LINES)
    thread = (await turn(services)).run.thread
    await turn(other, thread=thread)
    insert = services.store.start

    async def drop_first(*start: Any) -> Any:
        services.threads.drop(thread)
        return await insert(*start)

    services.store.start = drop_first  # type: ignore[method-assign, assignment]

    assert (await turn(services, thread=thread)).run.ordinal == 3
