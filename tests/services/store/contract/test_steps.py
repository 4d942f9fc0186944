"""One step's transaction: the fence, what the body writes, and the commit, on every database."""
# ruff: noqa: PT012 - what has to fail is a whole transaction

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import cast

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.builders import SPENT, asked, called, finished, said, succeeded
from tests.services.store.builders import LONG_S, append, journal, leased, rows, seats
from twelvefold.core.events import Event, Usage
from twelvefold.core.ports import Append, Lease, RunStatus, StepTransaction, Store
from twelvefold.errors import (
    CancelAsked,
    DuplicateRow,
    LeaseLost,
    StaleRun,
    StoreRefused,
    StoreUnavailable,
    ToolRefused,
)
from twelvefold.services.store.sql import steps
from twelvefold.services.store.sql.steps import LONG_STEP_S
from twelvefold.services.store.transaction import SQLStepTransaction

INSERT = "INSERT INTO seats (id, taken) VALUES (:id, :taken)"


async def superseded(store: Store, rival: Store) -> tuple[Lease, Lease]:
    """A lease that was lost, and the one that another process has instead."""
    lease = await leased(store, lease_s=0.05)
    await asyncio.sleep(0.1)
    claimed = await rival.claim(lease.run, LONG_S)
    assert claimed is not None
    return lease, claimed[0]


async def test_entries_are_numbered_along_the_thread_and_stored_as_returned(store: Store) -> None:
    lease = await leased(store)
    events: list[Event] = [called("enrol"), succeeded(), said()]

    async with store.append(Append(lease, 1, 2)) as tx:
        two = await tx.record(events[:2])
    async with store.append(Append(lease, 3, 1)) as tx:
        one = await tx.record(events[2:])

    stored = (await store.load(lease.run.thread)).entries
    assert stored[1:] == (*two, *one)
    assert [entry.position for entry in stored] == [1, 2, 3, 4]
    assert [entry.event for entry in stored] == [asked(), *events]


@pytest.mark.parametrize("head", [0, 2, 7])
async def test_a_writer_that_is_behind_or_ahead_is_stale(store: Store, head: int) -> None:
    lease = await leased(store)

    with pytest.raises(StaleRun, match=rf"expected entry {head}\b.* found 1\b") as caught:
        await append(store, lease, head, said())

    assert not isinstance(caught.value, LeaseLost)
    assert await journal(store, lease.run.thread) == [asked()]


async def test_the_same_step_twice_is_written_once(store: Store, rival: Store) -> None:
    lease = await leased(store)
    await append(store, lease, 1, said())

    with pytest.raises(StaleRun, match="expected entry 1, found 2"):
        await append(rival, lease, 1, said())

    assert await journal(store, lease.run.thread) == [asked(), said()]


async def test_of_two_concurrent_appends_one_is_stale(store: Store, rival: Store) -> None:
    lease = await leased(store)

    ended = await asyncio.gather(
        append(store, lease, 1, said("one")),
        append(rival, lease, 1, said("two")),
        return_exceptions=True,
    )

    (fault,) = [one for one in ended if one is not None]
    assert isinstance(fault, StaleRun)
    assert len(await journal(store, lease.run.thread)) == 2


FIRST: dict[str, Callable[[StepTransaction], Awaitable[object]]] = {
    "write": lambda tx: tx.execute(INSERT, id=1, taken=1),
    "read": lambda tx: tx.fetch_all("SELECT id FROM seats"),
    "SQLAlchemy": lambda tx: tx.execute(text(INSERT), id=1, taken=1),
    "mail and a read": lambda tx: mailed(tx),
}


@pytest.mark.parametrize("first", FIRST)
async def test_the_first_statement_of_a_superseded_process_raises(
    store: Store, rival: Store, first: str
) -> None:
    lost, lease = await superseded(store, rival)

    with pytest.raises(LeaseLost):
        async with store.append(Append(lost, 1, 1)) as tx:
            with pytest.raises(LeaseLost):
                await FIRST[first](tx)
            with pytest.raises(LeaseLost):
                tx.raise_if_lost()
            with pytest.raises(LeaseLost):
                await tx.execute(INSERT, id=2, taken=2)
            with suppress(LeaseLost):
                await tx.record([succeeded()])

    assert await seats(store) == {}
    assert await rows(store, "SELECT id FROM outbox") == []
    await append(rival, lease, 1, said())
    assert await journal(store, lease.run.thread) == [asked(), said()]


async def test_no_task_of_a_superseded_process_writes_beside_another(
    store: Store, rival: Store
) -> None:
    lost, lease = await superseded(store, rival)

    async def insert(tx: StepTransaction, seat: int) -> None:
        """Insert a row as soon as no other statement runs; ignore that the transaction is lost."""
        with suppress(LeaseLost, StoreUnavailable):
            while True:
                try:
                    await tx.execute(INSERT, id=seat, taken=1)
                except StoreRefused:
                    await asyncio.sleep(0)
                else:
                    return

    with pytest.raises(LeaseLost):
        async with store.append(Append(lost, 1, 1)) as tx:
            await asyncio.gather(insert(tx, 1), insert(tx, 2))
            await tx.record([succeeded()])

    assert await seats(store) == {}
    assert await journal(store, lease.run.thread) == [asked()]


@pytest.mark.parametrize(
    ("method", "error", "reason"),
    [
        ("rollback", None, "has rolled back the transaction"),
        ("fetch_reason", None, "has rolled back the transaction"),
        ("fetch_reason", StoreUnavailable("away"), "away"),
    ],
)
async def test_a_superseded_step_stays_lost_if_the_reason_cannot_be_read(
    store: Store, rival: Store, method: str, error: Exception | None, reason: str
) -> None:
    """`error` None: the tool is cancelled, and ignores that."""
    lost, lease = await superseded(store, rival)

    async def buy(tx: StepTransaction) -> None:
        connection = cast("SQLStepTransaction", tx)._connection
        original = getattr(connection, method)

        async def fail(*args: object) -> object:
            setattr(connection, method, original)
            if error:
                raise error
            cast("asyncio.Task[None]", asyncio.current_task()).cancel()
            return await original(*args)

        setattr(connection, method, fail)
        with suppress(asyncio.CancelledError, StoreUnavailable):
            await tx.execute(INSERT, id=1, taken=1)

    with pytest.raises(StoreUnavailable, match=reason):
        async with store.append(Append(lost, 1, 1)) as tx:
            await asyncio.create_task(buy(tx))
            with suppress(StoreUnavailable):
                await tx.execute(INSERT, id=2, taken=1)
            await tx.record([succeeded()])

    assert await seats(store) == {}
    assert await journal(store, lease.run.thread) == [asked()]


async def test_an_orm_session_of_a_superseded_process_raises(store: Store, rival: Store) -> None:
    lost, _ = await superseded(store, rival)

    with pytest.raises(LeaseLost):
        async with store.append(Append(lost, 1, 1)) as tx:
            session = await tx.orm_session()
            await session.execute(text(INSERT), {"id": 1, "taken": 1})
            await session.commit()
            await tx.record([succeeded()])

    assert await seats(store) == {}


async def test_a_tool_without_a_statement_is_checked_before_the_commit(
    store: Store, rival: Store
) -> None:
    lost, lease = await superseded(store, rival)

    for change in (Append(lost, 1, 1), Append(lost, 1, 1, "completed"), Append(lost, 1, 0)):
        with pytest.raises(LeaseLost):
            async with store.append(change) as tx:
                await tx.record([said()] * change.adds)

    assert (await store.load(lease.run.thread)).head == 1
    await append(rival, lease, 1, said())


async def test_the_first_statement_of_a_stale_or_cancelled_step_raises(store: Store) -> None:
    lease = await leased(store)

    with pytest.raises(StaleRun, match="expected entry 5, found 1"):
        async with store.append(Append(lease, 5, 0)) as tx:
            await tx.execute(INSERT, id=1, taken=1)
    with pytest.raises(StaleRun, match="expected entry 5, found 1"):
        async with store.append(Append(lease, 5, 0, "completed")) as tx:
            await tx.execute(INSERT, id=1, taken=1)
    await store.ask_cancel(lease.run)
    with pytest.raises(CancelAsked):
        async with store.append(Append(lease, 1, 0)) as tx:
            await tx.execute(INSERT, id=1, taken=1)

    assert await seats(store) == {}
    assert (await store.run(lease.run)).status == "running"


async def test_the_error_of_the_tool_s_statement_does_not_hide_a_lost_lease(
    store: Store, rival: Store
) -> None:
    lost, lease = await superseded(store, rival)
    async with rival.append(Append(lease, 1, 1)) as tx:
        await tx.execute(INSERT, id=1, taken=1)
        await tx.record([succeeded()])

    with pytest.raises(LeaseLost):
        async with store.append(Append(lost, 1, 1)) as tx:
            await tx.execute(INSERT, id=1, taken=2)

    assert await seats(store) == {1: 1}


async def test_an_error_behind_the_fence_is_the_tool_s_own(store: Store) -> None:
    lease = await leased(store)
    await append(store, lease, 1, said())
    async with store.write() as setup:
        await setup.execute(INSERT, id=1, taken=1)

    async with store.append(Append(lease, 2, 1)) as tx:
        with pytest.raises(DuplicateRow):
            await tx.execute(INSERT, id=1, taken=2)
        tx.raise_if_lost()
        await tx.execute(INSERT, id=2, taken=2)
        await tx.record([succeeded()])

    assert await seats(store) == {1: 1, 2: 2}
    assert (await store.load(lease.run.thread)).head == 3


async def test_a_process_without_the_lease_writes_nothing_and_its_successor_continues(
    store: Store, rival: Store
) -> None:
    lost, lease = await superseded(store, rival)

    for change in (Append(lost, 1, 1), Append(lost, 1, 1, "completed")):
        with pytest.raises(LeaseLost):
            async with store.append(change) as tx:
                await tx.execute(INSERT, id=1, taken=1)
                await tx.record([said("from the grave")])

    assert await seats(store) == {}
    await append(rival, lease, 1, said())
    assert await journal(store, lease.run.thread) == [asked(), said()]


async def test_a_step_is_fenced_from_its_first_statement_on(store: Store) -> None:
    lease = await leased(store)

    async with store.append(Append(lease, 1, 1)) as tx:
        before = tx.is_fenced
        await tx.execute(INSERT, id=1, taken=1)
        after = tx.is_fenced
        await tx.record([succeeded()])

    assert (before, after) == (False, True)


async def test_a_step_is_not_fenced_if_the_lease_is_lost(store: Store, rival: Store) -> None:
    lost, _ = await superseded(store, rival)

    with pytest.raises(LeaseLost):
        async with store.append(Append(lost, 1, 0)) as tx:
            with suppress(LeaseLost):
                await tx.execute(INSERT, id=1, taken=1)
            assert not tx.is_fenced


async def test_a_renewal_before_the_first_statement_keeps_the_run(
    store: Store, rival: Store
) -> None:
    if rival is store:
        return  # one process only: the open step excludes its other transactions
    lease = await leased(store, lease_s=0.05)

    async with store.append(Append(lease, 1, 1)) as tx:
        await asyncio.sleep(0.1)
        assert await rival.renew(lease, LONG_S) is False
        assert await rival.claim(lease.run, LONG_S) is None
        await tx.execute(INSERT, id=1, taken=1)
        await tx.record([succeeded()])

    assert await seats(store) == {1: 1}


@pytest.mark.parametrize("error", [RuntimeError("no"), asyncio.CancelledError()])
async def test_a_step_whose_sqlalchemy_cannot_be_closed_is_rolled_back(
    store: Store, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    lease = await leased(store)

    async def fail(_: AsyncConnection) -> None:
        raise error

    with pytest.raises(type(error)), monkeypatch.context() as patch:
        async with store.append(Append(lease, 1, 1)) as tx:
            await tx.execute(text(INSERT), id=1, taken=1)
            await tx.record([succeeded()])
            patch.setattr(AsyncConnection, "close", fail)

    assert await seats(store) == {}
    assert await journal(store, lease.run.thread) == [asked()]


async def test_a_claim_during_a_step_waits_or_returns_none(store: Store, rival: Store) -> None:
    lease = await leased(store, lease_s=0.01)

    async with asyncio.TaskGroup() as group, store.append(Append(lease, 1, 1)) as tx:
        await tx.execute(INSERT, id=1, taken=1)
        claiming = group.create_task(rival.claim(lease.run, LONG_S))
        await asyncio.sleep(0.1)
        assert not claiming.done() or claiming.result() is None
        await tx.record([said()])

    claimed = claiming.result() or await rival.claim(lease.run, LONG_S)
    assert claimed is not None
    with pytest.raises(LeaseLost):
        await append(store, lease, 2, finished())
    await append(rival, claimed[0], 2, finished())


def each_step_takes(monkeypatch: pytest.MonkeyPatch, time_s: float) -> None:
    """Let the store measure this time for each step."""
    times = itertools.count(0.0, time_s)
    monkeypatch.setattr(steps, "time", SimpleNamespace(monotonic=lambda: next(times)))


async def test_a_long_step_keeps_its_run(
    store: Store, rival: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    each_step_takes(monkeypatch, 2 * LONG_STEP_S)
    lease = await leased(store, lease_s=0.01)

    async with (
        asyncio.TaskGroup() as group,
        store.append(Append(lease, 1, 1, lease_s=LONG_S)) as tx,
    ):
        await tx.execute(INSERT, id=1, taken=1)
        claiming = group.create_task(rival.claim(lease.run, LONG_S))
        await asyncio.sleep(0.1)
        await tx.record([said()])

    assert claiming.result() is None
    await append(store, lease, 2, finished())


async def test_a_short_step_does_not_renew_the_lease(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    each_step_takes(monkeypatch, LONG_STEP_S / 2)
    lease = await leased(store, lease_s=0.01)

    await append(store, lease, 1, said())
    await asyncio.sleep(0.02)

    assert not (await store.run(lease.run)).leased


async def test_a_step_stores_the_usage_of_the_run(store: Store) -> None:
    lease = await leased(store)

    await append(store, lease, 1, said(), usage=SPENT)
    await append(store, lease, 2, succeeded())

    record = await store.run(lease.run)
    assert (record.status, record.usage) == ("running", SPENT)


async def test_a_tool_s_rows_commit_with_the_entry(store: Store, rival: Store) -> None:
    lease = await leased(store)

    async with store.append(Append(lease, 1, 1)) as tx:
        assert await tx.execute(INSERT, id=1, taken=1) == 1
        assert await tx.fetch_one("SELECT taken FROM seats WHERE id = :id", id=1) == {"taken": 1}
        await tx.record([succeeded()])

    assert await seats(rival) == {1: 1}
    assert await journal(rival, lease.run.thread) == [asked(), succeeded()]


async def test_a_tool_s_rows_roll_back_with_the_entry(store: Store) -> None:
    lease = await leased(store)

    with pytest.raises(ToolRefused, match="is full"):
        async with store.append(Append(lease, 1, 1, "completed", SPENT)) as tx:
            await tx.execute(INSERT, id=1, taken=1)
            await tx.send_mail("ann@example.org", "You are in", "Welcome.")
            await tx.record([succeeded()])
            raise ToolRefused("CS 101 is full")

    assert await seats(store) == {}
    assert await rows(store, "SELECT * FROM outbox") == []
    assert await journal(store, lease.run.thread) == [asked()]
    assert (await store.run(lease.run)).status == "running"
    await append(store, lease, 1, said())


async def test_a_caught_duplicate_row_does_not_end_the_transaction(store: Store) -> None:
    lease = await leased(store)

    async with store.append(Append(lease, 1, 1)) as tx:
        await tx.execute(INSERT, id=1, taken=1)
        with pytest.raises(DuplicateRow):
            await tx.execute(INSERT, id=1, taken=2)
        await tx.record([succeeded()])

    assert await seats(store) == {1: 1}
    assert await journal(store, lease.run.thread) == [asked(), succeeded()]


@pytest.mark.parametrize("written", [0, 1, 3])
async def test_a_step_writes_as_many_entries_as_it_announced(store: Store, written: int) -> None:
    lease = await leased(store)

    with pytest.raises(StoreRefused, match="2 entries were announced"):
        async with store.append(Append(lease, 1, 2)) as tx:
            await tx.execute(INSERT, id=1, taken=1)
            await tx.record([said()] * written)

    assert await seats(store) == {}
    assert (await store.load(lease.run.thread)).head == 1


async def test_a_step_without_its_announced_entries_is_rolled_back(store: Store) -> None:
    lease = await leased(store)

    with pytest.raises(StoreRefused, match="1 entries were announced"):
        async with store.append(Append(lease, 1, 1)) as tx:
            await tx.execute(INSERT, id=1, taken=1)

    assert await seats(store) == {}
    assert (await store.load(lease.run.thread)).head == 1


async def mailed(tx: StepTransaction) -> list[str]:
    await tx.send_mail("ann@example.org", "Grüße 😀", "Hi", html="<p>Hi</p>")
    await tx.send_mail("bob@example.org", "Hello", "Hi")
    return [row["id"] for row in await tx.fetch_all("SELECT id FROM outbox ORDER BY id")]


async def test_a_mail_is_one_message_after_the_commit(store: Store) -> None:
    lease = await leased(store)

    with pytest.raises(ToolRefused):
        async with store.append(Append(lease, 1, 1)) as tx:
            first = await mailed(tx)
            raise ToolRefused("not yet")
    async with store.append(Append(lease, 1, 1)) as tx:
        await mailed(tx)
        await tx.record([succeeded()])

    mails = await rows(store, "SELECT * FROM outbox ORDER BY id")
    assert [mail["id"] for mail in mails] == first
    assert json.loads(mails[0]["body"]) == {
        "to": "ann@example.org",
        "subject": "Grüße 😀",
        "text": "Hi",
        "html": "<p>Hi</p>",
    }
    assert {(m["thread_id"], m["kind"], m["attempts"], m["sent_at"]) for m in mails} == {
        (lease.run.thread, "mail", 0, None)
    }


@pytest.mark.parametrize("status", ["completed", "incomplete", "failed", "cancelled"])
async def test_a_step_that_ends_the_run_stores_its_status(store: Store, status: RunStatus) -> None:
    lease = await leased(store)

    await append(store, lease, 1, finished(), status=status, usage=SPENT, error="why 😀")

    record = await store.run(lease.run)
    assert (record.status, record.usage, record.error) == (status, SPENT, "why 😀")
    assert record.finished_at_us is not None
    assert not record.leased
    with pytest.raises(LeaseLost):
        await append(store, lease, 2, said())


async def test_a_step_after_which_the_run_waits_releases_the_lease(store: Store) -> None:
    lease = await leased(store)

    await append(store, lease, 1, said(), status="waiting", usage=SPENT)

    record = await store.run(lease.run)
    assert (record.status, record.leased, record.usage) == ("waiting", False, SPENT)
    assert record.finished_at_us is None
    claimed = await store.claim(lease.run, LONG_S)
    assert claimed is not None
    assert claimed[1] is False


async def test_a_step_in_the_middle_keeps_the_status_and_the_lease(store: Store) -> None:
    lease = await leased(store)

    await append(store, lease, 1, said())

    record = await store.run(lease.run)
    assert (record.status, record.leased, record.usage) == ("running", True, Usage())


async def test_a_transaction_refuses_statements_after_its_step(store: Store) -> None:
    lease = await leased(store)
    async with store.append(Append(lease, 1, 0)) as tx:
        pass
    async with store.read() as reading:
        pass

    with pytest.raises(StoreRefused, match="over"):
        await tx.execute(INSERT, id=1, taken=1)
    with pytest.raises(StoreRefused, match="over"):
        await reading.fetch_all("SELECT 1 AS one")

    assert await seats(store) == {}


async def test_a_cancelled_step_writes_nothing(store: Store) -> None:
    lease = await leased(store)
    inside = asyncio.Event()

    async def step() -> None:
        async with store.append(Append(lease, 1, 1)) as tx:
            await tx.execute(INSERT, id=1, taken=1)
            await tx.record([said()])
            inside.set()
            await asyncio.sleep(60)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(step())
        await inside.wait()
        task.cancel()

    assert await seats(store) == {}
    await append(store, lease, 1, said())
