"""Lists of threads: which threads, their order, their titles, and what they cost."""

import asyncio
from typing import Any

import pytest

from tests.builders import (
    added,
    allowed,
    approval_asked,
    asked,
    called,
    finished,
    outcome_unknown,
    removed,
    said,
    settled,
    succeeded,
    user,
)
from tests.services.store.builders import LONG_S, append, leased, new_run, new_thread, rows
from tests.services.store.mysql.server_reads import Reads
from twelvefold.core.events import Event, OutcomeUnknown
from twelvefold.core.ids import CallId, RunId, ThreadId
from twelvefold.core.ports import Append, LatestRun, ListedThread, Store
from twelvefold.errors import NotFound

REMARK = added(user("so I said"))
SYSTEM = added(user("Be brief.") | {"role": "system"})
BY_AN_OLDER_RELEASE = "UPDATE threads SET listed = NULL, title = NULL"


def dated(number: int) -> ThreadId:
    """Return an id of that time."""
    return ThreadId(f"{number:012x}{new_thread()[12:]}")


async def made(store: Store, thread: ThreadId | None = None, principal: str = "ann") -> ThreadId:
    thread = thread or new_thread()
    await store.new_thread(thread, principal, "academy", {})
    return thread


async def ran(store: Store, /, *events: Event, status: str = "completed", **wishes: Any) -> RunId:
    """Start a run and append these entries."""
    _, lease = await store.start(new_run(), asked(**wishes), LONG_S)
    assert lease is not None
    await append(store, lease, 1, *(events or (finished(),)), status=status)
    return lease.run


async def ids(store: Store, **how: Any) -> list[ThreadId]:
    return [one.head.id for one in await store.threads("ann", **{"limit": 10, **how})]


async def title(store: Store, thread: ThreadId) -> str:
    """Return the title in the list, and check that the thread alone has the same."""
    found = {one.head.id: one.title for one in await store.threads("ann", limit=10)}
    assert (await store.listed_thread(thread)).title == found[thread]
    return found[thread]


async def by_an_older_release(store: Store) -> None:
    async with store.write() as tx:
        await tx.execute(BY_AN_OLDER_RELEASE)


# --- order ------------------------------------------------------------------------------------


async def test_a_principal_s_threads_are_listed_in_both_orders(store: Store) -> None:
    first, second, third = [await made(store, dated(number)) for number in (1, 2, 3)]
    await made(store, dated(4), principal="bob")
    await made(store, dated(5), principal="Ann")

    assert await ids(store) == [third, second, first]
    assert await ids(store, limit=2) == [third, second]
    assert await ids(store, after=second) == [first]
    assert await ids(store, after=first) == []
    assert await ids(store, newest_first=False) == [first, second, third]
    assert await ids(store, newest_first=False, limit=1) == [first]
    assert await ids(store, newest_first=False, after=second) == [third]


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("other", ["ann ", "ann  ", " ann", "Ann", "ánn"])
async def test_principals_that_differ_by_a_trailing_space_are_different(
    store: Store, other: str, older: bool, newest_first: bool
) -> None:
    own, foreign = await made(store, dated(1)), await made(store, dated(2), principal=other)
    if older:
        await by_an_older_release(store)

    listed = [
        [one.head.id for one in await store.threads(whose, limit=10, newest_first=newest_first)]
        for whose in ("ann", other)
    ]

    assert listed == [[own], [foreign]]


# --- which ------------------------------------------------------------------------------------


@pytest.mark.parametrize("older", [False, True])
async def test_a_list_has_the_threads_that_are_stored_conversations(
    store: Store, older: bool
) -> None:
    kept = await ran(store)
    unkept = await ran(store, store=False)
    named = await ran(store, store=False, conversation=True)
    empty, gone = await made(store), await ran(store)
    await store.delete_thread(gone.thread)
    fork = new_thread()
    await store.fork(kept.thread, 2, fork)
    if older:
        await by_an_older_release(store)

    listed = await ids(store)

    assert set(listed) == {kept.thread, named.thread, empty, fork}
    for hidden in (unkept.thread, gone.thread):
        with pytest.raises(NotFound):
            await store.listed_thread(hidden)


@pytest.mark.parametrize("older", [False, True])
async def test_a_fork_s_own_first_entry_decides_whether_it_is_listed(
    store: Store, older: bool
) -> None:
    origin = await ran(store)
    for kept in (False, True):
        fork = new_thread()
        await store.fork(origin.thread, 2, fork)
        new = new_run(fork, ordinal=2, head=2, exists=True)
        await store.start(new, asked("hi", store=kept), None)
    if older:
        await by_an_older_release(store)

    assert await ids(store) == [fork, origin.thread]


async def test_a_thread_that_an_older_release_deleted_is_not_listed(store: Store) -> None:
    run = await ran(store)
    async with store.write() as tx:
        await tx.execute("UPDATE threads SET deleted_at = 1")

    assert await ids(store) == []
    with pytest.raises(NotFound):
        await store.listed_thread(run.thread)


async def test_threads_of_an_older_release_are_classified_up_to_the_limit(store: Store) -> None:
    threads = [(await ran(store)).thread for _ in range(3)]
    other = await made(store, principal="bob")
    await by_an_older_release(store)

    first = await ids(store, limit=2)
    left = await rows(store, "SELECT id FROM threads WHERE listed IS NULL ORDER BY id")
    looked_at = await store.classify(limit=10), await store.classify(limit=10)

    assert first == [threads[2], threads[1]]
    assert [row["id"] for row in left] == [threads[0], other]
    assert looked_at == (2, 0)
    titles = await rows(store, "SELECT title FROM threads ORDER BY id")
    assert [row["title"] for row in titles] == ["enrol me"] * 3 + [""]


async def test_a_thread_with_a_step_in_progress_is_classified(store: Store, rival: Store) -> None:
    lease = await leased(store)
    await by_an_older_release(store)

    async with store.append(Append(lease, 1, 1)) as tx:
        await tx.fetch_one("SELECT 1")
        await tx.record((said(),))
        if "sqlite" not in type(rival).__module__:  # there all writers wait for each other
            assert (await rival.listed_thread(lease.run.thread)).title == "enrol me"
            assert await rival.classify(limit=10) == 0

    assert await rival.classify(limit=10) == 1
    assert await title(rival, lease.run.thread) == "enrol me"


# --- titles -----------------------------------------------------------------------------------


async def test_a_thread_without_a_user_message_has_no_title(store: Store) -> None:
    thread = await made(store)
    before = await title(store, thread)
    await store.add_items(thread, 0, 0, SYSTEM)
    system = await title(store, thread)
    await store.add_items(thread, 1, 0, REMARK)
    await store.start(new_run(thread, head=2, exists=True), asked(), None)

    assert (before, system) == ("", "")
    assert await title(store, thread) == "so I said"
    await by_an_older_release(store)
    assert await title(store, thread) == "so I said"


async def test_a_first_turn_by_an_older_release_gives_the_title(store: Store) -> None:
    thread = await made(store)
    await title(store, thread)
    await store.start(new_run(thread, exists=True), asked("from the older one"), None)
    async with store.write() as tx:
        await tx.execute("UPDATE threads SET title = NULL")  # as it was before

    assert await title(store, thread) == "from the older one"


async def test_a_fork_has_the_title_of_its_entries(store: Store) -> None:
    thread = await made(store)
    await store.add_items(thread, 0, 0, SYSTEM)
    await store.add_items(thread, 1, 0, REMARK)
    before, behind, again = new_thread(), new_thread(), new_thread()
    await store.fork(thread, 1, before)
    await store.fork(thread, 2, behind)
    await store.add_items(behind, 2, 0, SYSTEM)
    await store.fork(behind, 3, again)
    await store.add_items(before, 1, 0, added(user("other words")))

    assert await title(store, before) == "other words"
    assert await title(store, behind) == await title(store, again) == "so I said"


async def test_removed_items_give_no_title(store: Store) -> None:
    thread = await made(store)
    await store.add_items(thread, 0, 0, added(user("a secret"), user("no secret")))
    shown = await title(store, thread)
    await store.add_items(thread, 1, 0, removed("1i0"))

    assert (shown, await title(store, thread)) == ("a secret", "no secret")


async def test_a_deleted_run_gives_no_title_to_its_thread_or_a_fork(store: Store) -> None:
    run, fork, again = await ran(store), new_thread(), new_thread()
    await store.add_items(run.thread, 2, 1, REMARK)
    await store.fork(run.thread, 3, fork)
    await store.add_items(fork, 3, 1, SYSTEM)
    await store.fork(fork, 4, again)
    threads = (run.thread, fork, again)
    before = {await title(store, thread) for thread in threads}

    await store.delete_run(run)

    assert before == {"enrol me"}
    assert {await title(store, thread) for thread in threads} == {"so I said"}


async def test_a_named_conversation_keeps_the_title_of_a_deleted_run(store: Store) -> None:
    run = await ran(store, conversation=True)

    await store.delete_run(run)

    assert await title(store, run.thread) == "enrol me"


async def test_a_title_is_found_in_a_large_entry(store: Store) -> None:
    words = "word " * 100_000
    run = await ran(store, text=words)
    await by_an_older_release(store)

    assert await title(store, run.thread) == f"{words[:79]}…"


# --- the last run -----------------------------------------------------------------------------


async def test_a_listed_thread_has_its_last_run_that_was_not_deleted(store: Store) -> None:
    run = await ran(store)
    for ordinal in (2, 3):
        new = new_run(run.thread, ordinal=ordinal, head=2 * ordinal - 2)
        _, lease = await store.start(new, asked("more"), LONG_S)
        assert lease is not None
        await append(store, lease, 2 * ordinal - 1, finished(), status="completed")
    second, third = RunId(run.thread, 2), RunId(run.thread, 3)
    await store.delete_run(third)

    [listed] = await store.threads("ann", limit=10)

    head = await store.thread(run.thread)
    latest = LatestRun(second, 1, "completed", False)
    assert listed == ListedThread(head, "enrol me", latest)
    assert listed == await store.listed_thread(run.thread)


STOPPED = OutcomeUnknown(CallId("2.0"), "pay", final=True)
ASKS = (called("pay"), approval_asked("2.0", "pay"))


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize(
    ("events", "responses"),
    [
        ([said()], 1),
        (ASKS, 1),
        ([*ASKS, allowed()], 2),
        ([*ASKS, finished("cancelled")], 2),
        ([*ASKS, allowed(), succeeded(), said(), finished()], 2),
        ([*ASKS, allowed(), outcome_unknown(), settled()], 3),
        ([called("pay"), outcome_unknown()], 1),
        ([called("pay"), outcome_unknown(), finished("cancelled")], 2),
        ([called("pay"), STOPPED, finished("cancelled")], 1),
    ],
    ids=["replied", "asks", "answered", "cancelled", "over", "twice", "unknown", "given_up", "cut"],
)
async def test_responses_are_counted_by_continuations(
    store: Store, events: list[Event], responses: int, older: bool
) -> None:
    run = await ran(store, *events, status="waiting")
    if older:
        async with store.write() as tx:
            await tx.execute("UPDATE runs SET began = NULL")

    [listed] = await store.threads("ann", limit=10)

    assert listed.latest == LatestRun(run, responses, "waiting", False)


async def test_items_added_after_a_waiting_run_are_no_response(store: Store) -> None:
    run = await ran(store, *ASKS, allowed(), finished())
    await store.add_items(run.thread, 5, 1, REMARK)

    [listed] = await store.threads("ann", limit=10)

    assert listed.latest is not None
    assert listed.latest.responses == 2


# --- what it costs ----------------------------------------------------------------------------


@pytest.mark.mysql
async def test_a_page_reads_no_thread_that_is_not_listed(mariadb: Store, reads: Reads) -> None:
    listed = [await made(mariadb) for _ in range(5)]

    async def pages() -> list[Any]:
        return [await ids(reads.store, limit=2, newest_first=newest) for newest in (True, False)]

    first, alone = await reads.of(pages())
    await asyncio.gather(*(ran(mariadb, store=False) for _ in range(100)))
    for _ in range(50):
        await mariadb.delete_thread((await ran(mariadb)).thread)
    second, among = await reads.of(pages())

    assert first == second == [listed[:2:-1], listed[:2]]
    assert among <= alone + 20
