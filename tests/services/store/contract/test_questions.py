"""Open questions: added by the step that asks, removed by the one that ends their wait or run."""

from typing import Any

import pytest

from tests.builders import finished, said
from tests.services.store.builders import append, leased, new_thread, rows
from twelvefold.core.events import Event, ToolSucceeded, WaitEnd, WaitEnded, WaitStarted
from twelvefold.core.ids import CallId, RunId, ThreadId
from twelvefold.core.ports import Append, Lease, OpenQuestion, Store
from twelvefold.errors import NotFound

CALL = CallId("1.0")
OWNER = {"workflow": "academy", "principal": "ann"}
ASKED = WaitStarted(CALL, "ask", question="Which colour?", schema={"type": "string"}, person="bob")
PAST_US = 1
OLDER = "DELETE FROM open_questions"


async def ask(store: Store, wait: WaitStarted = ASKED, thread: ThreadId | None = None) -> Lease:
    """Return the lease of a run that has just asked."""
    lease = await leased(store, thread)
    await append(store, lease, 1, wait, **OWNER)
    return lease


async def rest(store: Store, lease: Lease) -> None:
    await append(store, lease, 2, status="waiting")


async def found(store: Store, person: str = "bob", **page: Any) -> list[RunId]:
    return [one.run for one in await store.questions(person, limit=10, **page)]


async def all_rows(store: Store) -> list[Any]:
    return await rows(store, "SELECT thread_id, call_id FROM open_questions")


async def test_a_question_is_listed_for_the_person_asked(store: Store) -> None:
    lease = await ask(store)

    (question,) = await store.questions("bob", limit=10)

    (_, entry) = (await store.load(lease.run.thread)).entries
    assert question == OpenQuestion(lease.run, CALL, "bob", "academy", entry.at_us, ASKED)
    assert await found(store, "ann") == []


async def test_a_question_for_nobody_in_particular_is_that_of_the_run_s_principal(
    store: Store,
) -> None:
    lease = await ask(store, WaitStarted(CALL, "ask", question="Which colour?"))

    assert await found(store, "ann") == [lease.run]


async def test_an_event_is_no_question(store: Store) -> None:
    await ask(store, WaitStarted(CALL, "pay", event="paid"))

    assert await found(store, "ann") == []


async def test_a_principal_that_differs_by_a_space_is_another_one(store: Store) -> None:
    await ask(store)

    assert await found(store, "bob ") == await found(store, "Bob") == []


@pytest.mark.parametrize("reason", ["answer", "timeout"])
async def test_the_end_of_the_wait_removes_the_question(store: Store, reason: WaitEnd) -> None:
    lease = await ask(store)

    await append(store, lease, 2, WaitEnded(CALL, reason), ToolSucceeded(CALL, "ask", '"red"'))

    assert await all_rows(store) == []


async def test_the_end_of_another_wait_leaves_the_question(store: Store) -> None:
    lease = await ask(store)

    await append(store, lease, 2, WaitEnded(CallId("1.1"), "event"), said())

    assert await found(store) == [lease.run]


async def test_a_step_that_is_rolled_back_adds_no_question(store: Store) -> None:
    lease = await leased(store)

    with pytest.raises(RuntimeError):
        await _ask_and_fail(store, lease)

    assert await all_rows(store) == []


async def _ask_and_fail(store: Store, lease: Lease) -> None:
    async with store.append(Append(lease, 1, 1, principal="ann", workflow="academy")) as tx:
        await tx.record([ASKED])
        raise RuntimeError


async def test_the_end_of_the_run_removes_its_questions(store: Store) -> None:
    other, lease = await ask(store), await ask(store)

    await append(store, lease, 2, finished(), status="cancelled", closes_questions=True)

    assert await found(store) == [other.run]
    assert len(await all_rows(store)) == 1


async def test_a_question_is_not_listed_once_its_time_is_over(store: Store) -> None:
    await ask(store, WaitStarted(CALL, "ask", PAST_US, question="Which colour?", person="bob"))
    lease = await ask(store, WaitStarted(CALL, "ask", 2**60, question="Which?", person="bob"))

    assert await found(store) == [lease.run]


async def test_a_question_is_not_listed_once_its_run_has_a_cancel_request(store: Store) -> None:
    lease = await ask(store)
    await rest(store, lease)

    await store.ask_cancel(lease.run)

    assert await found(store) == []


async def test_a_deleted_thread_asks_nobody(store: Store) -> None:
    other, lease = await ask(store), await ask(store)
    await rest(store, lease)

    await store.delete_thread(lease.run.thread)

    assert await found(store) == [other.run]
    assert len(await all_rows(store)) == 1


# --- pages ----------------------------------------------------------------------------------------


async def test_a_person_s_questions_are_read_in_pages(store: Store) -> None:
    runs = [(await ask(store, thread=new_thread())).run for _ in range(5)]

    for newest_first in (True, False):
        read: list[RunId] = []
        after = None
        while page := await store.questions("bob", limit=2, after=after, newest_first=newest_first):
            read += [one.run for one in page]
            after = page[-1].run.thread, page[-1].call
        assert read == (runs[::-1] if newest_first else runs)


async def test_a_page_begins_after_a_question_that_was_answered_since(store: Store) -> None:
    leases = [await ask(store, thread=new_thread()) for _ in range(3)]
    await append(store, leases[1], 2, WaitEnded(CALL, "answer"), said())

    assert await found(store, after=(leases[1].run.thread, CALL)) == [leases[0].run]


@pytest.mark.parametrize(("person", "call"), [("ann", "1.0"), ("bob", "1.1"), ("bob", "2.0")])
async def test_a_page_does_not_begin_after_a_question_that_the_person_never_had(
    store: Store, person: str, call: str
) -> None:
    lease = await ask(store)

    with pytest.raises(NotFound, match="no question"):
        await store.questions(person, limit=2, after=(lease.run.thread, CallId(call)))


# --- other releases -------------------------------------------------------------------------------


async def forget(store: Store) -> None:
    """Leave the database as a release without this table would."""
    async with store.write() as tx:
        await tx.execute(OLDER)


async def test_questions_of_an_older_release_are_added_once(store: Store) -> None:
    runs = [(await ask(store, thread=new_thread())).run for _ in range(3)]
    done = await ask(store)
    await append(store, done, 2, WaitEnded(CALL, "answer"), said())
    await ask(store, WaitStarted(CALL, "pay", event="paid"))
    before = await store.questions("bob", limit=10, newest_first=False)
    await forget(store)

    assert await store.add_missing_questions(limit=2) == 2
    assert await store.add_missing_questions(limit=2) == 1
    assert await store.add_missing_questions(limit=2) == 0

    assert [one.run for one in before] == runs
    assert await store.questions("bob", limit=10, newest_first=False) == before


async def test_a_question_that_two_processes_add_is_added_once(store: Store, rival: Store) -> None:
    lease = await ask(store)
    await forget(store)
    fetch = rival._fetch  # type: ignore[attr-defined]

    async def fetch_late(statement: str, **values: object) -> object:
        read = await fetch(statement, **values)
        rival._fetch = fetch  # type: ignore[attr-defined]
        if read:
            await store.add_missing_questions(limit=10)
        return read

    await rest(store, lease)
    rival._fetch = fetch_late  # type: ignore[attr-defined]

    assert await rival.add_missing_questions(limit=10) == 1
    assert await found(store) == [lease.run]


async def restore(store: Store, lease: Lease, *events: Event, **change: Any) -> None:
    """Write entries as a release without this table would: the row of the question stays."""
    kept = await rows(store, "SELECT * FROM open_questions")
    await append(store, lease, 2, *events, **change)
    async with store.write() as tx:
        for row in kept:
            names = ", ".join(row)
            values = ", ".join(f":{name}" for name in row)
            await tx.execute(f"INSERT INTO open_questions ({names}) VALUES ({values})", **row)


async def test_a_question_that_an_older_release_has_ended_is_not_listed(store: Store) -> None:
    lease = await ask(store)

    await restore(store, lease, WaitEnded(CALL, "answer"), ToolSucceeded(CALL, "ask", '"red"'))

    assert await found(store) == await found(store, newest_first=False) == []
    assert len(await all_rows(store)) == 1


async def test_a_question_of_a_thread_that_an_older_release_has_deleted_is_not_listed(
    store: Store,
) -> None:
    lease = await ask(store)
    thread = lease.run.thread

    async with store.write() as tx:
        await tx.execute("UPDATE threads SET deleted_at = 1 WHERE id = :thread", thread=thread)

    assert await found(store) == await found(store, newest_first=False) == []


async def test_prune_removes_the_questions_of_runs_that_an_older_release_has_ended(
    store: Store,
) -> None:
    waiting, lease = await ask(store), await ask(store)
    await append(store, lease, 2, finished(), status="cancelled")
    assert len(await all_rows(store)) == 2

    await store.prune(before_us=PAST_US)

    assert await found(store) == [waiting.run]
    assert len(await all_rows(store)) == 1
