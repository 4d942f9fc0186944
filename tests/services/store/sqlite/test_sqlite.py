"""SQLite only: files, other processes, and types that it does not have."""
# ruff: noqa: PT012 - what has to fail is a whole transaction

import asyncio
import sqlite3
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.builders import asked, said
from tests.services.store.builders import append, journal, leased, made, rows, seats
from tests.waiting import HANG_S
from twelvefold.core.ports import Append, Store
from twelvefold.errors import DuplicateRow, StoreFailed, StoreRefused, StoreUnavailable
from twelvefold.services.store import open_store, sqlite_path
from twelvefold.services.store.sqlite.errors import translate_error
from twelvefold.services.store.sqlite.store import SQLiteStore

INSERT = "INSERT INTO seats (id, taken) VALUES (:id, 0)"


@pytest.fixture
async def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/journal.db"
    await made(url)
    return url


@pytest.fixture
async def store(url: str) -> Any:
    store = await open_store(url)
    yield store
    await store.close()


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    store = await open_store(f"sqlite:///{tmp_path}/nowhere/journal.db")

    with pytest.raises(StoreFailed, match=r"unable to open database file: .*/nowhere/journal.db"):
        await store.schema()

    await store.close()


async def test_a_file_that_is_not_a_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_bytes(b"Dear Sir or Madam, " * 100)
    store = await open_store(f"sqlite:///{tmp_path}/text.db")

    for _ in range(2):
        with pytest.raises(StoreFailed, match="not a database"):
            await store.schema()

    await store.close()


async def test_a_tool_that_reads_delays_no_other_read_or_write(store: Store) -> None:
    lease = await leased(store)

    async with asyncio.timeout(HANG_S), store.read() as db:
        await db.fetch_one("SELECT 1")
        assert await journal(store, lease.run.thread) == [asked()]
        await append(store, lease, 1, said())

    assert await journal(store, lease.run.thread) == [asked(), said()]


async def test_a_wait_for_a_locked_file_ends_as_unavailable(url: str, store: Store) -> None:
    lease = await leased(store)
    rival = SQLiteStore(sqlite_path(url), busy_timeout_s=0.2)

    async with store.write() as tx:
        await tx.execute(INSERT, id=1)
        with pytest.raises(StoreUnavailable, match=r"the database asks to try again: .*locked"):
            await append(rival, lease, 1, said())
        assert await journal(rival, lease.run.thread) == [asked()]

    await append(rival, lease, 1, said())
    await rival.close()


async def test_a_commit_survives_the_loss_of_power(store: Store) -> None:
    async with store.write() as tx:
        mode = await tx.fetch_one("SELECT * FROM pragma_journal_mode, pragma_synchronous")

    assert mode == {"journal_mode": "wal", "synchronous": 2}


async def test_a_statement_that_rolls_back_by_itself_ends_the_step(store: Store) -> None:
    lease = await leased(store)
    async with store.write() as tx:
        await tx.execute(INSERT, id=1)

    with pytest.raises(StoreUnavailable, match="the database has rolled back the transaction"):
        async with store.append(Append(lease, 1, 1)) as step:
            await step.execute(INSERT, id=2)
            with pytest.raises(DuplicateRow):
                await step.execute("INSERT OR ROLLBACK INTO seats (id, taken) VALUES (1, 0)")
            await step.record([said()])

    assert await seats(store) == {1: 0}
    assert await journal(store, lease.run.thread) == [asked()]


async def test_a_cancelled_begin_leaves_no_transaction(store: Store) -> None:
    for _ in range(50):
        stepping = asyncio.ensure_future(leased(store))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        stepping.cancel()

        with pytest.raises(asyncio.CancelledError):
            await stepping

    assert await leased(store)


async def test_the_database_refuses_a_write_of_a_read_only_tool(store: Store) -> None:
    async with store.read() as db:
        with pytest.raises(StoreRefused, match="readonly database"):
            await db._connection.execute("DELETE FROM seats", {})  # type: ignore[attr-defined]

    async with store.write() as tx:
        await tx.execute(INSERT, id=1)
    assert await seats(store) == {1: 0}


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (Decimal("12.50"), 12.5),
        (Decimal("-3"), -3),
        (Decimal("1E+3"), 1000),
        (timedelta(hours=30, minutes=5), "30:05:00"),
        (timedelta(seconds=-1, microseconds=-250), "-00:00:01.000250"),
    ],
)
async def test_a_type_that_sqlite_lacks_is_stored_in_a_form_that_compares(
    store: Store, value: object, form: object
) -> None:
    assert await rows(store, "SELECT :value AS value", value=value) == [{"value": form}]


async def test_a_sum_is_compared_with_a_decimal_as_a_number(store: Store) -> None:
    statement = "SELECT 1 AS yes WHERE (SELECT 9.5 + 1) > :price"

    assert await rows(store, statement, price=Decimal("9.99")) == [{"yes": 1}]
    assert await rows(store, statement, price=Decimal("10.51")) == []


async def test_an_integer_beyond_64_bits_is_refused(store: Store) -> None:
    with pytest.raises(StoreRefused, match="does not fit SQLite"):
        await rows(store, "SELECT :big AS big", big=2**63)


async def test_a_pattern_matches_as_in_mysql(store: Store) -> None:
    statement = "SELECT :text REGEXP :pattern AS found"

    assert await rows(store, statement, text="CS101", pattern="^[A-Z]+[0-9]") == [{"found": 1}]
    assert await rows(store, statement, text="cs", pattern="^[A-Z]+[0-9]") == [{"found": 0}]
    assert await rows(store, statement, text=None, pattern="x") == [{"found": None}]


async def test_an_old_library_is_reported(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await store.check() == []

    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 37, 2))

    (problem,) = await store.check()
    assert problem.endswith("3.38 or newer is needed")


async def test_a_closed_store_refuses_statements(url: str) -> None:
    store = await open_store(url)

    async with store.read() as db:
        await store.close()
        with pytest.raises(StoreRefused, match="the store is closed"):
            await db.fetch_one("SELECT 1")
    with pytest.raises(StoreRefused, match="the store is closed"):
        await store.schema()


async def test_a_violated_deferred_constraint_is_the_tool_s_fault(store: Store) -> None:
    await store.run_script(
        "CREATE TABLE parents (id INTEGER PRIMARY KEY);"
        "CREATE TABLE children (parent INTEGER REFERENCES parents DEFERRABLE INITIALLY DEFERRED);"
    )

    with pytest.raises(StoreRefused, match="FOREIGN KEY constraint failed"):
        async with store.write() as tx:
            await tx.execute("INSERT INTO children (parent) VALUES (7)")


def driver_error(name: str) -> sqlite3.Error:
    error = sqlite3.OperationalError(f"what SQLite says of {name}")
    error.sqlite_errorcode = getattr(sqlite3, f"SQLITE_{name}")
    return error


OWN = {"ERROR", "CONSTRAINT", "MISMATCH", "TOOBIG", "RANGE"}
AGAIN = {"BUSY", "LOCKED", "IOERR", "FULL", "NOMEM", "INTERRUPT", "PROTOCOL"}
LASTING = {
    *("INTERNAL", "PERM", "ABORT", "READONLY", "CORRUPT", "NOTFOUND", "CANTOPEN", "EMPTY"),
    *("SCHEMA", "MISUSE", "NOLFS", "AUTH", "FORMAT", "NOTADB", "NOTICE", "WARNING"),
}


@pytest.mark.parametrize("name", sorted(OWN | AGAIN | LASTING))
def test_every_code_of_sqlite_has_one_meaning(name: str) -> None:
    expected = StoreRefused if name in OWN else StoreUnavailable if name in AGAIN else StoreFailed

    assert type(translate_error(driver_error(name))) is expected


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (driver_error("CONSTRAINT_UNIQUE"), DuplicateRow),
        (driver_error("IOERR_WRITE"), StoreUnavailable),
        (driver_error("READONLY_DBMOVED"), StoreFailed),
        (sqlite3.ProgrammingError("Incorrect number of bindings"), StoreRefused),
        (sqlite3.OperationalError("Could not decode to UTF-8 column"), StoreFailed),
        (OverflowError("Python int too large"), StoreRefused),
        (RuntimeError("what no driver should say"), StoreFailed),
    ],
    ids=lambda one: str(one),
)
def test_every_error_of_the_sqlite3_module_has_one_meaning(error: Exception, kind: type) -> None:
    assert type(translate_error(error)) is kind
