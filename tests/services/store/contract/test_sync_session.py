"""A SQLAlchemy session in the thread of a tool, in the transaction of a step."""
# ruff: noqa: PT012 - what has to fail is a whole transaction

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar

import pytest
from sqlalchemy import String, select, text
from sqlalchemy.exc import IntegrityError, StatementError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from tests.builders import said
from tests.services.store.builders import leased, rows, seats
from tests.waiting import HANG_S
from twelvefold.core.ports import Append, Store
from twelvefold.engine.perform.sync_sql import CALL_OVER, SyncWriter
from twelvefold.errors import StoreRefused

INSERT = "INSERT INTO seats (id, taken) VALUES (:id, :taken)"


class Base(DeclarativeBase):
    """The base of a user's models."""


class Seat(Base):
    __tablename__ = "seats"

    id: Mapped[int] = mapped_column(primary_key=True)
    taken: Mapped[int]


class Note(Base):
    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str | None] = mapped_column(String(100))


@pytest.fixture(autouse=True)
async def warnings_of_coroutines() -> AsyncIterator[None]:
    """Let a coroutine that is never awaited be found in its own test."""
    yield
    import gc

    gc.collect()


async def in_a_step(store: Store, work: Callable[[SyncWriter], object]) -> object:
    """Run a tool's function in a thread, within a step."""
    lease = await leased(store)
    async with store.append(Append(lease, 1, 1)) as tx:
        async with SyncWriter(tx) as sync:
            result = await asyncio.to_thread(sync.call, lambda: work(sync))
        await tx.flush()
        await tx.record([said("done")])
    return result


async def test_session_and_plain_sql_commit_together(store: Store) -> None:
    def work(tx: SyncWriter) -> list[tuple[int, int]]:
        session = tx.orm_session()
        session.add(Seat(id=1, taken=2))
        tx.execute(INSERT, id=2, taken=3)
        found = session.scalars(select(Seat).order_by(Seat.id)).all()
        assert tx.orm_session() is session
        return [(one.id, one.taken) for one in found]

    assert await in_a_step(store, work) == [(1, 2), (2, 3)]
    assert await seats(store) == {1: 2, 2: 3}


async def test_what_the_session_has_not_flushed_is_flushed_before_the_commit(store: Store) -> None:
    await in_a_step(store, lambda tx: tx.orm_session().add(Seat(id=1, taken=2)))

    assert await seats(store) == {1: 2}


async def test_a_session_in_a_with_block_keeps_what_was_written(store: Store) -> None:
    def work(tx: SyncWriter) -> None:
        with tx.orm_session() as session:
            session.add(Seat(id=1, taken=1))
        with tx.orm_session() as session, session.begin():
            session.add(Seat(id=2, taken=2))
        with pytest.raises(ZeroDivisionError), tx.orm_session() as session:
            session.add(Seat(id=3, taken=3))
            session.flush()
            raise ZeroDivisionError

    await in_a_step(store, work)

    assert await seats(store) == {1: 1, 2: 2}


async def test_a_session_is_rolled_back_with_the_step(store: Store) -> None:
    def work(tx: SyncWriter) -> None:
        session = tx.orm_session()
        session.add(Seat(id=1, taken=2))
        session.commit()
        session.add(Seat(id=2, taken=2))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await in_a_step(store, work)

    assert await seats(store) == {}


async def test_a_duplicate_is_sqlalchemy_s_error_and_can_be_caught(store: Store) -> None:
    def work(tx: SyncWriter) -> None:
        tx.execute(INSERT, id=1, taken=2)
        session = tx.orm_session()
        session.add(Seat(id=1, taken=3))
        with pytest.raises(IntegrityError):
            session.flush()
        session.rollback()
        session.add(Seat(id=2, taken=3))

    await in_a_step(store, work)

    assert await seats(store) == {1: 2, 2: 3}


async def test_attributes_are_loaded_in_the_thread_when_they_are_used(store: Store) -> None:
    async with store.write() as tx:
        await tx.execute("INSERT INTO notes (id, body) VALUES (1, 'hello')")

    def work(tx: SyncWriter) -> str | None:
        session = tx.orm_session()
        note = session.scalars(select(Note)).one()
        session.expire(note)
        return note.body

    assert await in_a_step(store, work) == "hello"


async def test_context_variables_are_those_of_the_call(store: Store) -> None:
    bound: ContextVar[str] = ContextVar("bound")
    bound.set("a run")

    def work(tx: SyncWriter) -> str:
        tx.orm_session().scalars(select(Seat)).all()
        return bound.get()

    assert await in_a_step(store, work) == "a run"


async def test_a_session_whose_call_is_over_sends_nothing(store: Store) -> None:
    lease, go_on = await leased(store), threading.Event()
    began, refused = asyncio.Event(), list[str]()
    loop = asyncio.get_running_loop()

    def work(session: Session) -> None:
        session.add(Seat(id=1, taken=2))
        session.flush()
        session.add(Seat(id=2, taken=2))
        loop.call_soon_threadsafe(began.set)
        go_on.wait()
        try:
            session.flush()
        except StatementError as error:  # SQLAlchemy's, around that of the store
            refused.append(str(error.orig))

    async with store.append(Append(lease, 1, 1)) as tx:
        async with SyncWriter(tx) as sync:
            thread = threading.Thread(
                target=sync.call, args=(lambda: work(sync.orm_session()),), daemon=True
            )
            thread.start()
            await asyncio.wait_for(began.wait(), HANG_S)
        go_on.set()
        await asyncio.to_thread(thread.join, HANG_S)
        await tx.execute(INSERT, id=3, taken=3)
        await tx.record([said("done")])

    assert refused == [CALL_OVER]
    assert (await rows(store, "SELECT id FROM seats WHERE id = 2")) == []


COUNT = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 9000000)"


async def test_a_session_that_waits_for_a_statement_at_the_end_harms_no_other_step(
    store: Store,
) -> None:
    is_mysql = type(store).__name__ == "MySQLStore"
    slow = "SELECT SLEEP(3)" if is_mysql else f"{COUNT} select max(i) from n"
    lease, other, raised = await leased(store), await leased(store), list[BaseException]()
    threads: list[threading.Thread] = []
    loop = asyncio.get_running_loop()

    def work(tx: SyncWriter) -> None:
        session = tx.orm_session()
        session.add(Seat(id=1, taken=2))
        session.flush()
        loop.call_soon_threadsafe(lambda: loop.call_later(0.3, stepping.cancel))
        try:
            session.execute(text(slow))
        except Exception as error:
            raised.append(error)

    async def step() -> None:
        async with store.append(Append(lease, 1, 1)) as tx, SyncWriter(tx) as sync:
            thread = threading.Thread(target=sync.call, args=(lambda: work(sync),), daemon=True)
            threads.append(thread)
            thread.start()
            await asyncio.Event().wait()

    stepping = asyncio.ensure_future(step())
    await asyncio.wait([stepping])
    async with store.append(Append(other, 1, 1)) as tx:
        await tx.execute(INSERT, id=3, taken=3)
        await tx.record([said("done")])
    await asyncio.to_thread(threads[0].join, HANG_S)

    assert len(raised) == 1
    assert await seats(store) == {3: 3}


async def test_a_session_outside_the_function_of_the_tool_is_refused(store: Store) -> None:
    lease = await leased(store)

    async with store.append(Append(lease, 1, 1)) as tx:
        async with SyncWriter(tx) as sync:
            with pytest.raises(StoreRefused, match=r"needs `import sqlalchemy.orm`"):
                await asyncio.to_thread(sync.orm_session)
        await tx.record([said("done")])
