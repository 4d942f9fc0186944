"""What operators read, on every database."""

import asyncio
from dataclasses import replace
from itertools import chain
from typing import Any

import pytest
from msgspec import structs

from tests.builders import approval_asked, asked, called, finished, outcome_unknown
from tests.services.store.builders import LONG_S, append, leased, new_run, new_thread
from twelvefold.boot import RandomIds
from twelvefold.core.events import WaitStarted
from twelvefold.core.ids import CallId, RunId, ThreadId
from twelvefold.core.ports import Append, Lease, NewRun, RunFilter, RunStatus, Store
from twelvefold.errors import NotFound
from twelvefold.services.store.sql import operations

IDS = RandomIds()
FAILED: Any = {"status": "failed", "error": "the Printer was off: 100% _sure_ \\ \u00c4RGER"}
DONE: Any = {"status": "completed"}


async def start(store: Store, ended: Any = None, **about: Any) -> RunId:
    """Start a run and, with `ended`, end it."""
    new: NewRun = replace(new_run(about.pop("thread", None)), **about)
    _, lease = await store.start(new, asked(), LONG_S)
    assert lease is not None
    if ended:
        await append(store, lease, 1, finished(), **ended)
    return new.run


async def found(
    store: Store, *, limit: int = 10, after: RunId | None = None, **filter: Any
) -> list[RunId]:
    page = await store.find_runs(RunFilter(**filter), limit=limit, after=after)
    return [one.record.run for one in page.runs]


async def start_children(store: Store, lease: Lease, number: int) -> list[RunId]:
    planned = []
    for _ in range(number):
        thread = IDS.thread_in_family(lease.run.thread)
        started = structs.replace(asked(), parent=str(lease.run), parent_call="2.0")
        planned.append((replace(new_run(thread), background=True), started))
    async with store.append(Append(lease, 1, 1)) as tx:
        for new, started in planned:
            tx.start_child(new, started)
        await tx.record([called("ask")])
    return [new.run for new, _ in planned]


async def walk(store: Store, *, limit: int, **filter: Any) -> list[list[RunId]]:
    """Return all pages."""
    pages, after = [], None
    while True:
        page = await store.find_runs(RunFilter(**filter), limit=limit, after=after)
        pages.append([one.record.run for one in page.runs])
        if page.end is None:
            return pages
        after = page.end


async def test_runs_of_all_principals_are_found_newest_first(store: Store) -> None:
    runs = [await start(store, principal=name) for name in ("ann", "bob", "ann")]

    assert await found(store) == runs[::-1]


async def test_each_run_comes_with_its_facts(store: Store) -> None:
    run = await start(store, FAILED, principal="bob", workflow="shop")

    [one] = (await store.find_runs(RunFilter(), limit=1)).runs

    record = await store.run(run)
    assert one.record == replace(record, began=0, last_position=None)
    assert (one.attempts, one.parent, one.updated_at_us) == (0, None, record.finished_at_us)


async def test_a_run_in_progress_was_updated_with_its_last_entry(store: Store) -> None:
    run = await start(store)

    [one] = (await store.find_runs(RunFilter(), limit=1)).runs

    [entry] = (await store.load(run.thread)).entries
    assert one.updated_at_us == entry.at_us


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ({"status": "failed"}, "ae"),
        ({"status": "completed"}, "bd"),
        ({"workflow": "shop"}, "abc"),
        ({"principal": "ann"}, "ace"),
        ({"status": "failed", "workflow": "shop"}, "a"),
        ({"status": "completed", "principal": "bob"}, "bd"),
        ({"status": "completed", "workflow": "desk"}, "d"),
        ({"status": "failed", "principal": "ann"}, "ae"),
        ({"workflow": "desk", "principal": "bob"}, "d"),
        ({"status": "running", "workflow": "shop", "principal": "ann"}, "c"),
        ({"error": "printer WAS"}, "a"),
        ({"error": "100% _"}, "a"),
        ({"error": "_"}, "a"),
        ({"error": "sure_ \\ \u00c4RGER"}, "a"),
        ({"error": "!"}, ""),
        ({"error": "\0"}, ""),
        ({"error": "was", "status": "completed"}, ""),
        ({"error": "off", "principal": "ann"}, "ae"),
        ({"error": "off", "principal": "bob"}, ""),
    ],
)
async def test_a_filter_finds_the_runs_that_meet_all_conditions(
    store: Store, filter: Any, expected: str
) -> None:
    other: Any = {"status": "failed", "error": "switched off"}
    runs = {
        "a": await start(store, FAILED, workflow="shop", principal="ann"),
        "b": await start(store, DONE, workflow="shop", principal="bob"),
        "c": await start(store, workflow="shop", principal="ann"),
        "d": await start(store, DONE, workflow="desk", principal="bob"),
        "e": await start(store, other, workflow="desk", principal="ann"),
    }

    assert await found(store, **filter) == [runs[name] for name in reversed(expected)]
    assert [*chain(*await walk(store, limit=1, **filter))] == [
        runs[name] for name in reversed(expected)
    ]


async def test_the_time_bounds_a_list(store: Store) -> None:
    runs = []
    for _ in range(3):
        runs.append(await start(store))
        await asyncio.sleep(0.002)  # the clock of SQLite counts milliseconds
    at = (await store.run(runs[1])).created_at_us

    assert await found(store, since_us=at) == [runs[2], runs[1]]
    assert await found(store, until_us=at) == [runs[0]]
    assert await found(store, since_us=at, until_us=at + 1) == [runs[1]]
    assert await found(store, until_us=at, after=runs[2]) == [runs[0]]


async def test_runs_are_found_by_the_beginning_of_their_ids(store: Store) -> None:
    first, second = ThreadId(f"{'a' * 20}{'1' * 24}"), ThreadId(f"{'a' * 20}{'2' * 24}")
    runs = [await start(store, DONE, thread=first)]
    again = replace(new_run(first, ordinal=2, head=2), workflow="shop")
    await store.start(again, asked(), None)
    runs += [again.run, await start(store, thread=second)]
    await start(store, thread=ThreadId("b" * 44))

    assert await found(store, id_prefix="a" * 20) == runs[::-1]
    assert await walk(store, limit=1, id_prefix="a" * 20) == [[one] for one in runs[::-1]]
    assert await found(store, id_prefix=first) == [runs[1], runs[0]]
    assert await found(store, id_prefix=first, ordinal=2) == [runs[1]]
    assert await found(store, id_prefix=first, status="completed") == [runs[0]]
    at = (await store.run(runs[1])).created_at_us
    assert await found(store, id_prefix="a" * 20, since_us=at) == [runs[2], runs[1]]


async def test_pages_meet_each_run_once(store: Store) -> None:
    runs = [await start(store, principal=f"p{number % 2}") for number in range(5)]

    assert await walk(store, limit=2) == [[runs[4], runs[3]], [runs[2], runs[1]], [runs[0]]]


@pytest.mark.parametrize(
    "filter",
    [{}, {"status": "failed"}, {"workflow": "shop"}, {"principal": "ann"}, {"error": "printer"}],
)
async def test_runs_that_start_meanwhile_move_no_page(store: Store, filter: Any) -> None:
    about: Any = {"workflow": "shop", "principal": "ann"}
    runs = [await start(store, FAILED, **about) for _ in range(5)]

    met, after, has_more = [], None, True
    while has_more:
        page = await store.find_runs(RunFilter(**filter), limit=2, after=after)
        met += [one.record.run for one in page.runs]
        after, has_more = page.end, page.end is not None
        await start(store, FAILED, **about)

    assert met == runs[::-1]


async def test_a_page_examines_a_bounded_number_of_runs(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "SCAN_ROWS", 2)
    runs = [await start(store, workflow="shop", principal=name) for name in "abbba"]

    pages = await walk(store, limit=10, workflow="shop", principal="a", status="running")

    assert [*chain(*pages)] == [runs[4], runs[0]]
    assert len(pages) > 1


async def test_deleted_runs_are_not_found(store: Store) -> None:
    run = await start(store, DONE)
    await store.delete_run(run)

    assert await found(store) == []


async def test_a_run_of_a_deleted_conversation_is_found_without_its_error(store: Store) -> None:
    run, other = [await start(store, FAILED) for _ in range(2)]
    await store.delete_thread(run.thread)

    runs = (await store.find_runs(RunFilter(), limit=2)).runs

    errors = {one.record.run: one.record.error for one in runs}
    assert errors == {run: "", other: FAILED["error"]}
    assert (await store.operated_run(run)).record.error == ""
    assert await found(store, error="printer") == [other]


async def test_a_deleted_conversation_asks_nobody(store: Store) -> None:
    lease = await leased(store)
    await append(store, lease, 1, called("enrol"), approval_asked(), status="waiting")
    await store.delete_thread(lease.run.thread)
    async with store.write() as tx:  # as a step that was under way
        await tx.execute("UPDATE runs SET status = 'waiting'")

    assert await found(store, asks=True) == []


async def test_a_page_after_a_run_that_does_not_exist_is_an_error(store: Store) -> None:
    with pytest.raises(NotFound):
        await found(store, after=RunId(new_thread(), 1))


@pytest.mark.parametrize("status", ["queued", "running", "waiting", "failed", None])
async def test_an_empty_database_has_no_runs(store: Store, status: RunStatus | None) -> None:
    assert await store.find_runs(RunFilter(status=status), limit=3) == ([], None)


# --- one run ----------------------------------------------------------------------------------


async def test_one_run_is_found_by_its_id(store: Store) -> None:
    run = await start(store, FAILED)

    assert await store.operated_run(run) == (await store.find_runs(RunFilter(), limit=1)).runs[0]
    for missing in (RunId(run.thread, 2), RunId(new_thread(), 1)):
        with pytest.raises(NotFound):
            await store.operated_run(missing)


async def test_the_runs_below_a_run_are_found_at_every_depth(store: Store) -> None:
    parent = await leased(store, IDS.thread())
    [child] = await start_children(store, parent, 1)
    claim = await store.claim(child, LONG_S)
    assert claim is not None
    grandchildren = await start_children(store, claim.lease, 2)

    found = await store.runs_below(parent.run, limit=10)

    expected = {child: parent.run, **dict.fromkeys(grandchildren, child)}
    assert {one.record.run: one.parent for one in found} == expected
    assert len(await store.runs_below(parent.run, limit=2)) == 2
    assert await store.runs_below(grandchildren[0], limit=2) == []


async def test_only_runs_that_wait_and_have_asked_a_person_are_found(store: Store) -> None:
    question = WaitStarted(CallId("2.0"), "enrol", question="Which?")
    event = WaitStarted(CallId("2.0"), "enrol", event="paid")
    runs = []
    for asks in (approval_asked(), question, event, outcome_unknown()):
        lease = await leased(store)
        await append(store, lease, 1, called("enrol"), asks, status="waiting")
        runs.append(lease.run)
    done = await leased(store)
    await append(store, done, 1, called("enrol"), approval_asked(), finished(), status="completed")

    assert await found(store, asks=True) == [runs[3], runs[1], runs[0]]
    assert await found(store, asks=True, principal="ann", limit=1) == [runs[3]]
    assert await found(store, asks=True, workflow="x") == []
