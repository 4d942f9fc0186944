"""SQLAlchemy inside a step: Core statements and an ORM session, on every database."""
# ruff: noqa: PT012 - what has to fail is a whole transaction

import asyncio
import sqlite3
import subprocess
import sys
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from typing import Any, cast

import pytest
from sqlalchemy import JSON, Numeric, String, bindparam, func, insert, select, text, update
from sqlalchemy.dialects.sqlite.aiosqlite import (
    AsyncAdapt_aiosqlite_connection,
    AsyncAdapt_aiosqlite_dbapi,
)
from sqlalchemy.exc import IntegrityError, ResourceClosedError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tests.builders import asked, said
from tests.services.store.builders import journal, leased, rows
from twelvefold.core.ports import Append, Lease, Store
from twelvefold.errors import DuplicateRow, StoreRefused, StoreUnavailable, ToolRefused

SCHEMA = """
DROP TABLE IF EXISTS guest_courses;
CREATE TABLE guest_courses (
  id INTEGER NOT NULL PRIMARY KEY {serial},
  code VARCHAR(20) NOT NULL UNIQUE,
  price DECIMAL(10, 2) NULL,
  starts_at DATETIME NULL,
  notes {json} NULL
);
"""


class Base(DeclarativeBase):
    """The base of a user's models."""


class Course(Base):
    __tablename__ = "guest_courses"

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(20), unique=True)
    price: Mapped[Decimal | None] = mapped_column(Numeric(10, 2))
    starts_at: Mapped[datetime | None]
    notes: Mapped[dict[str, Any] | None] = mapped_column(JSON)


def test_sqlalchemy_s_adapter_of_sqlite_needs_only_the_errors_of_its_driver() -> None:
    """Otherwise tools that use SQLAlchemy on SQLite fail, or need aiosqlite."""
    module: Any = AsyncAdapt_aiosqlite_dbapi(sqlite3, sqlite3)

    assert module.OperationalError is sqlite3.OperationalError
    assert not module.has_stop


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_sqlalchemy_s_adapter_of_sqlite_ends_no_transaction_of_a_closed_driver(end: str) -> None:
    """Otherwise each use of SQLAlchemy would call `commit` or `rollback` of the bridge's driver."""

    class Closed:
        _connection = None

        async def commit(self) -> None:
            pytest.fail("commit")

        async def rollback(self) -> None:
            pytest.fail("rollback")

    module, closed = AsyncAdapt_aiosqlite_dbapi(sqlite3, sqlite3), cast("Any", Closed())

    getattr(AsyncAdapt_aiosqlite_connection(module, closed), end)()


@pytest.fixture
async def lease(store: Store, url: str) -> Lease:
    """A leased run, and an empty table of courses."""
    is_mysql = not url.startswith("sqlite")
    serial = "AUTO_INCREMENT" if is_mysql else "AUTOINCREMENT"
    await store.run_script(SCHEMA.format(serial=serial, json="JSON" if is_mysql else "TEXT"))
    return await leased(store)


async def codes(store: Store) -> list[str]:
    found = await rows(store, "SELECT code FROM guest_courses ORDER BY code")
    return [row["code"] for row in found]


async def test_session_core_and_plain_sql_commit_together(store: Store, lease: Lease) -> None:
    starts_at = datetime(2026, 9, 1, 8, 30)  # noqa: DTZ001 - as the column has it

    async with store.append(Append(lease, 1, 1)) as tx:
        session = await tx.orm_session()
        session.add(Course(code="a", price=Decimal("1.10"), starts_at=starts_at, notes={"x": [1]}))
        await tx.execute("INSERT INTO guest_courses (code) VALUES (:code)", code="b")
        await tx.execute(insert(Course).values(code="c", price=Decimal("2.50")))
        found = (await session.scalars(select(Course).order_by(Course.code))).all()
        await tx.record([said()])

    assert [(one.code, one.price, one.starts_at, one.notes) for one in found] == [
        ("a", Decimal("1.10"), starts_at, {"x": [1]}),
        ("b", None, None, None),
        ("c", Decimal("2.50"), None, None),
    ]
    assert await codes(store) == ["a", "b", "c"]
    assert await journal(store, lease.run.thread) == [asked(), said()]


async def test_session_core_and_plain_sql_roll_back_together(store: Store, lease: Lease) -> None:
    with pytest.raises(ToolRefused):
        async with store.append(Append(lease, 1, 1)) as tx:
            session = await tx.orm_session()
            session.add(Course(code="a"))
            await session.commit()
            await tx.execute("INSERT INTO guest_courses (code) VALUES ('b')")
            await tx.execute(insert(Course).values(code="c"))
            raise ToolRefused("the course is full")

    assert await codes(store) == []
    assert await journal(store, lease.run.thread) == [asked()]


async def test_the_session_is_flushed_before_the_commit(store: Store, lease: Lease) -> None:
    async with store.append(Append(lease, 1, 1)) as tx:
        await tx.record([said()])
        (await tx.orm_session()).add(Course(code="late"))

    assert await codes(store) == ["late"]


async def test_a_session_in_a_with_block_keeps_what_was_written(store: Store, lease: Lease) -> None:
    async with store.append(Append(lease, 1, 1)) as tx:
        async with await tx.orm_session() as session:
            session.add(Course(code="a"))
        async with await tx.orm_session() as session, session.begin():
            session.add(Course(code="b"))
        await tx.record([said()])

    assert await codes(store) == ["a", "b"]


async def test_a_session_s_rollback_undoes_its_writes_and_the_step_continues(
    store: Store, lease: Lease
) -> None:
    async with store.append(Append(lease, 1, 1)) as tx:
        await tx.execute("INSERT INTO guest_courses (code) VALUES ('before')")
        session = await tx.orm_session()
        session.add(Course(code="undone"))
        await session.flush()
        await session.rollback()
        session.add(Course(code="after"))
        await tx.record([said()])

    assert await codes(store) == ["after", "before"]


async def test_a_failed_with_block_undoes_the_session_s_writes(store: Store, lease: Lease) -> None:
    async with store.append(Append(lease, 1, 1)) as tx:
        with pytest.raises(ToolRefused):
            async with await tx.orm_session() as session:
                session.add(Course(code="undone"))
                await session.flush()
                raise ToolRefused("caught by the tool itself")
        await tx.record([said()])

    assert await codes(store) == []
    assert await journal(store, lease.run.thread) == [asked(), said()]


async def test_a_session_s_duplicate_is_sqlalchemy_s_error_and_can_be_caught(
    store: Store, lease: Lease
) -> None:
    async with store.append(Append(lease, 1, 1)) as tx:
        session = await tx.orm_session()
        session.add(Course(code="a"))
        await session.flush()
        with pytest.raises(IntegrityError):
            async with session.begin_nested():
                session.add(Course(code="a"))
        session.add(Course(code="b"))
        await tx.record([said()])

    assert await codes(store) == ["a", "b"]


async def test_an_error_in_a_session_shows_no_values(store: Store, lease: Lease) -> None:
    with pytest.raises(IntegrityError) as caught:
        async with store.append(Append(lease, 1, 1)) as tx:
            session = await tx.orm_session()
            session.add_all([Course(code="a"), Course(code="a", notes={"born": "1999-12-31"})])
            await session.flush()

    assert "1999" not in str(caught.value)


async def test_a_core_statement_s_duplicate_is_the_store_s_error(
    store: Store, lease: Lease
) -> None:
    async with store.append(Append(lease, 1, 1)) as tx:
        await tx.execute(insert(Course).values(code="a"))
        with pytest.raises(DuplicateRow):
            await tx.execute(insert(Course).values(code="a"))
        await tx.record([said()])

    assert await codes(store) == ["a"]


async def test_core_statements_take_values_and_return_rows_as_text_does(
    store: Store, lease: Lease
) -> None:
    some = select(Course.code, Course.price).where(Course.code.in_(["a", "b"])).order_by("code")
    one = select(Course.code).where(Course.code == bindparam("code"))

    async with store.append(Append(lease, 1, 1)) as tx:
        for code in "abc":
            await tx.execute(insert(Course), code=code, price=Decimal("9.90"))
        changed = update(Course).where(Course.code != "a").values(price=Decimal("5.05"))
        matched = await tx.execute(changed)
        found = await tx.fetch_all(some)
        found_one = await tx.fetch_one(one, code="c")
        found_none = await tx.fetch_one(one, code="50% :off 'quoted' \\")
        count = await tx.fetch_one(select(func.count().label("n")).select_from(Course))
        await tx.record([said()])

    assert matched == 2
    assert found == [
        {"code": "a", "price": Decimal("9.90")},
        {"code": "b", "price": Decimal("5.05")},
    ]
    assert (found_one, found_none, count) == ({"code": "c"}, None, {"n": 3})


async def test_many_objects_are_flushed_at_once(store: Store, lease: Lease) -> None:
    courses = [Course(code=f"c{number:03}") for number in range(300)]

    async with store.append(Append(lease, 1, 1)) as tx:
        session = await tx.orm_session()
        session.add_all(courses)
        await session.flush()
        await tx.record([said()])

    assert len({course.id for course in courses}) == 300
    assert await codes(store) == [course.code for course in courses]


async def test_a_session_streams(store: Store, lease: Lease) -> None:
    async with store.append(Append(lease, 1, 1)) as tx:
        session = await tx.orm_session()
        session.add_all(Course(code=code) for code in "abc")
        streamed = await session.stream_scalars(select(Course.code).order_by(Course.code))
        found = [code async for code in streamed]
        await tx.record([said()])

    assert found == ["a", "b", "c"]


@pytest.mark.parametrize("statement", ["COMMIT", "ROLLBACK", "DROP TABLE guest_courses"])
async def test_a_session_cannot_end_the_transaction_with_sql(
    store: Store, lease: Lease, statement: str
) -> None:
    async with store.append(Append(lease, 1, 1)) as tx:
        session = await tx.orm_session()
        with pytest.raises(StoreRefused, match=f"{statement.split()[0]} neither reads nor writes"):
            await session.execute(text(statement))
        await tx.record([said()])

    assert await journal(store, lease.run.thread) == [asked(), said()]


async def test_a_value_that_sql_does_not_know_is_refused(store: Store, lease: Lease) -> None:
    async with store.append(Append(lease, 1, 1)) as tx:
        with pytest.raises(StoreRefused, match="is a dict; SQL takes"):
            await tx.fetch_all(text("SELECT :what AS what"), what={"a": 1})
        await tx.record([said()])


async def test_a_read_only_tool_reads_by_core_and_writes_nothing(
    store: Store, lease: Lease
) -> None:
    async with store.append(Append(lease, 1, 1)) as tx:
        await tx.execute(insert(Course).values(code="a"))
        await tx.record([said()])

    async with store.read() as db:
        committed = await db.fetch_all(select(Course.code))
        with pytest.raises(StoreRefused, match="INSERT is not a read"):
            await db.fetch_all(insert(Course).values(code="b"))
    assert committed == [{"code": "a"}]


async def test_a_session_refuses_statements_after_its_step(store: Store, lease: Lease) -> None:
    async with store.append(Append(lease, 1, 1)) as tx:
        session = await tx.orm_session()
        session.add(Course(code="a"))
        await tx.record([said()])

    with pytest.raises(ResourceClosedError):
        await session.execute(select(Course))
    session.add(Course(code="b"))
    with pytest.raises(ResourceClosedError):
        await session.commit()
    with pytest.raises(StoreRefused, match="the transaction is over"):
        await tx.orm_session()
    with pytest.raises(StoreRefused, match="the transaction is over"):
        await tx.fetch_all(select(Course))
    assert await codes(store) == ["a"]


async def test_a_transaction_outside_a_step_has_a_session(store: Store, lease: Lease) -> None:
    async with store.write() as tx:
        (await tx.orm_session()).add(Course(code="seeded"))

    assert await codes(store) == ["seeded"]


@pytest.mark.mysql
async def test_a_deadlock_in_a_session_rolls_the_step_back_even_if_caught(
    mariadb: Store,
) -> None:
    await mariadb.run_script(SCHEMA.format(serial="AUTO_INCREMENT", json="JSON"))
    async with mariadb.write() as tx:
        (await tx.orm_session()).add_all([Course(id=1, code="a"), Course(id=2, code="b")])
    leases = [await leased(mariadb), await leased(mariadb)]
    both = asyncio.Barrier(2)

    async def step(lease: Lease, first: int, second: int) -> None:
        async with mariadb.append(Append(lease, 1, 1)) as tx:
            session = await tx.orm_session()
            await session.execute(update(Course).where(Course.id == first).values(price=1))
            await both.wait()
            with suppress(StoreUnavailable):
                await session.execute(update(Course).where(Course.id == second).values(price=2))
            await tx.record([said()])

    ended = await asyncio.gather(
        step(leases[0], 1, 2), step(leases[1], 2, 1), return_exceptions=True
    )

    (fault,) = [one for one in ended if one is not None]
    assert isinstance(fault, StoreUnavailable)
    lost = leases[ended.index(fault)]
    assert await journal(mariadb, lost.run.thread) == [asked()]


def test_sqlalchemy_is_imported_only_when_used() -> None:
    program = (
        "import sys, twelvefold.services.store.mysql.store, twelvefold.services.store.sqlite.store;"
        "print([name for name in sys.modules if name.split('.')[0] in ('sqlalchemy', 'alembic')])"
    )

    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert (ran.stdout, ran.returncode) == ("[]\n", 0)
