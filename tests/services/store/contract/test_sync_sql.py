"""Statements of a tool's thread, in the transaction of a step, on every database."""
# ruff: noqa: PT012 - what has to fail is a whole transaction

import asyncio
import threading

import pytest
from sqlalchemy import text

from tests.builders import said
from tests.services.store.builders import append, journal, leased, seats
from tests.waiting import HANG_S
from twelvefold.core.ports import Append, Store
from twelvefold.engine.perform.sync_sql import CALL_OVER, SyncReader, SyncWriter
from twelvefold.errors import DuplicateRow, StoreRefused

INSERT = "INSERT INTO seats (id, taken) VALUES (:id, :taken)"


async def test_the_rows_of_a_thread_commit_with_the_entry(store: Store) -> None:
    lease = await leased(store)

    def work(tx: SyncWriter) -> list[object]:
        return [
            tx.execute(INSERT, id=1, taken=2),
            tx.fetch_one("SELECT taken FROM seats WHERE id = :id", id=1),
            tx.fetch_all(text("SELECT id FROM seats")),
        ]

    async with store.append(Append(lease, 1, 1)) as tx:
        async with SyncWriter(tx) as sync:
            found = await asyncio.to_thread(work, sync)
        await tx.record([said("done")])

    assert found == [1, {"taken": 2}, [{"id": 1}]]
    assert await seats(store) == {1: 2}
    assert len(await journal(store, lease.run.thread)) == 2


async def test_the_rows_of_a_thread_are_rolled_back_with_the_step(store: Store) -> None:
    lease = await leased(store)

    with pytest.raises(ZeroDivisionError):
        async with store.append(Append(lease, 1, 1)) as tx, SyncWriter(tx) as sync:
            await asyncio.to_thread(sync.execute, INSERT, id=1, taken=2)
            raise ZeroDivisionError

    assert await seats(store) == {}
    await append(store, lease, 1, said("next"))


@pytest.mark.parametrize(
    ("statement", "error"),
    [(INSERT, DuplicateRow), ("SELEKT 1", StoreRefused), ("DROP TABLE seats", StoreRefused)],
)
async def test_errors_of_statements_are_those_of_an_async_tool(
    store: Store, statement: str, error: type[Exception]
) -> None:
    lease = await leased(store)
    values = {"id": 1, "taken": 2} if ":" in statement else {}

    def work(tx: SyncWriter) -> None:
        tx.execute(INSERT, id=1, taken=2)
        with pytest.raises(error) as caught:
            tx.execute(statement, **values)
        assert caught.type is error
        tx.execute(INSERT, id=2, taken=2)

    async with store.append(Append(lease, 1, 1)) as tx:
        async with SyncWriter(tx) as sync:
            await asyncio.to_thread(work, sync)
        await tx.record([said("done")])

    assert await seats(store) == {1: 2, 2: 2}


async def test_a_reader_in_a_thread_writes_nothing(store: Store) -> None:
    async with store.read() as db, SyncReader(db) as sync:
        with pytest.raises(StoreRefused):
            await asyncio.to_thread(sync.fetch_all, INSERT, id=1, taken=2)

    assert await seats(store) == {}


async def test_a_thread_whose_step_was_cancelled_writes_into_no_later_step(store: Store) -> None:
    lease, other = await leased(store), await leased(store)
    wrote, go_on = asyncio.Event(), threading.Event()
    loop, refused = asyncio.get_running_loop(), list[str]()

    def work(tx: SyncWriter) -> None:
        tx.execute(INSERT, id=1, taken=2)
        loop.call_soon_threadsafe(wrote.set)
        go_on.wait()
        try:
            tx.execute(INSERT, id=2, taken=2)
        except StoreRefused as error:
            refused.append(str(error))

    async def step() -> None:
        async with store.append(Append(lease, 1, 1)) as tx, SyncWriter(tx) as sync:
            thread = threading.Thread(target=work, args=(sync,), daemon=True)
            threads.append(thread)
            thread.start()
            await asyncio.Event().wait()

    threads: list[threading.Thread] = []
    cancelled = asyncio.ensure_future(step())
    await asyncio.wait_for(wrote.wait(), HANG_S)
    cancelled.cancel()
    await asyncio.wait([cancelled])

    async with store.append(Append(other, 1, 1)) as tx:
        await tx.execute(INSERT, id=3, taken=3)  # perhaps on the connection of the cancelled step
        go_on.set()
        await asyncio.to_thread(threads[0].join, HANG_S)
        await tx.record([said("done")])

    assert refused == [CALL_OVER]
    assert await seats(store) == {3: 3}
