"""Errors that the engine gets for a lost transaction, even if the tool catches them."""

import asyncio
import threading
from contextlib import suppress
from typing import Any

import pytest
from asyncmy.errors import OperationalError

from tests.builders import asked, said
from tests.services.store.builders import append, journal, leased, seats
from tests.services.store.mysql.fake_driver import FakeDriver, SilentFakeDriver
from twelvefold.core.ports import Append, Store, ToolReadOnly
from twelvefold.errors import StoreFailed, StoreRefused, StoreUnavailable, TooLarge
from twelvefold.services.store import MEMORY
from twelvefold.services.store.mysql.connection import MySQLConnection
from twelvefold.services.store.sqlite.connection import SQLiteConnection, SQLiteFile
from twelvefold.services.store.transaction import SQLReadOnly

INSERT = "INSERT INTO seats (id, taken) VALUES (:id, 0)"


def tool_of(driver: Any) -> ToolReadOnly:
    return SQLReadOnly(MySQLConnection(driver, write_fence=0), NotImplemented)


async def test_a_transaction_without_an_error_is_not_lost(store: Store) -> None:
    lease = await leased(store)

    async with store.append(Append(lease, 1, 1)) as tx:
        await tx.execute(INSERT, id=1)
        tx.raise_if_lost()
        await tx.record([said()])
    async with store.read() as db:
        await db.fetch_one("SELECT 1")
        db.raise_if_lost()

    assert await seats(store) == {1: 0}


async def test_a_wrong_statement_does_not_lose_the_transaction(store: Store) -> None:
    lease = await leased(store)

    async with store.append(Append(lease, 1, 1)) as tx:
        with pytest.raises(StoreRefused):
            await tx.execute("INSERT INTO seats (id, taken) VALUES (:id, NULL)", id=1)
        tx.raise_if_lost()
        await tx.record([said()])

    assert await journal(store, lease.run.thread) == [asked(), said()]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (OperationalError(1213, "Deadlock found"), StoreUnavailable),
        (OperationalError(1114, "The table is full"), StoreUnavailable),
        (OperationalError(2013, "Lost connection"), StoreUnavailable),
        (RuntimeError("Transport does not expose socket instance"), StoreUnavailable),
        (OperationalError(1142, "SELECT command denied"), StoreFailed),
        (OperationalError(9999, "nobody knows"), StoreFailed),
    ],
)
async def test_an_error_that_the_tool_catches_is_raised_again(fault: Exception, kind: type) -> None:
    db = tool_of(FakeDriver(fault))
    with pytest.raises(kind) as first:
        await db.fetch_one("SELECT 1")

    with pytest.raises(kind) as again:
        await db.fetch_one("SELECT 2")
    with pytest.raises(kind) as raised:
        db.raise_if_lost()

    assert first.value is again.value is raised.value


class HungUp(FakeDriver):
    """A server that disconnects after its error, as for a packet that is too large."""

    async def ping(self, *, reconnect: bool) -> None:
        raise OperationalError(2013, "Lost connection")


async def test_a_refused_packet_is_too_large_though_the_server_disconnects() -> None:
    db = tool_of(HungUp(OperationalError(1153, "Got a packet bigger than the limit")))
    with pytest.raises(TooLarge, match="raise max_allowed_packet"):
        await db.fetch_one("SELECT 1")

    with pytest.raises(TooLarge):
        db.raise_if_lost()


async def test_a_connection_that_breaks_after_a_wrong_statement_is_lost() -> None:
    db = tool_of(HungUp(OperationalError(1364, "Field has no default value")))
    with pytest.raises(StoreRefused):
        await db.fetch_one("SELECT 1")

    with pytest.raises(StoreUnavailable, match="has rolled back the transaction"):
        db.raise_if_lost()


class SilentPing(FakeDriver):
    """A server that answers nothing after its error."""

    def __init__(self, *faults: BaseException) -> None:
        super().__init__(*faults)
        self.pinged = asyncio.Event()

    async def ping(self, *, reconnect: bool) -> None:
        self.pinged.set()
        await asyncio.Event().wait()


async def test_a_tool_cancelled_after_a_wrong_statement_leaves_no_connection_in_use() -> None:
    driver = SilentPing(OperationalError(1364, "Field has no default value"))
    db = tool_of(driver)
    tool = asyncio.create_task(db.fetch_one("SELECT 1"))
    await driver.pinged.wait()

    tool.cancel()
    with suppress(asyncio.CancelledError):
        await tool

    with pytest.raises(StoreFailed, match="did not answer the tool's statement in time"):
        db.raise_if_lost()
    assert not driver.connected


async def test_a_tool_cancelled_in_a_statement_leaves_the_database_at_fault() -> None:
    driver = SilentFakeDriver()
    db = tool_of(driver)
    tool = asyncio.create_task(db.fetch_one("SELECT 1"))
    await driver.sent.wait()

    tool.cancel()
    with suppress(asyncio.CancelledError):
        await tool

    with pytest.raises(StoreFailed, match="did not answer the tool's statement in time"):
        db.raise_if_lost()
    assert not driver.connected


async def test_a_statement_that_is_not_awaited_is_the_tool_s_fault() -> None:
    driver = SilentFakeDriver()
    db = tool_of(driver)
    left = asyncio.create_task(db.fetch_one("SELECT 1"))
    await driver.sent.wait()

    with pytest.raises(StoreRefused, match="still running"):
        db.raise_if_lost()
    left.cancel()


async def test_sqlite_detects_a_statement_that_still_runs_or_was_cancelled() -> None:
    file, held = SQLiteFile(MEMORY), threading.Event()
    db = SQLReadOnly(SQLiteConnection(file, "BEGIN"), NotImplemented)
    db.raise_if_lost()
    file.queue(lambda _: held.wait())
    tool = asyncio.create_task(db.fetch_one("SELECT 1"))
    await asyncio.sleep(0)

    with pytest.raises(StoreRefused, match="still running"):
        db.raise_if_lost()
    tool.cancel()
    with suppress(asyncio.CancelledError):
        await tool
    with pytest.raises(StoreFailed, match="did not answer the tool's statement in time"):
        db.raise_if_lost()

    held.set()
    await file.close()


async def test_sqlite_raises_again_an_error_that_the_tool_caught() -> None:
    file = SQLiteFile(MEMORY)
    db = SQLReadOnly(SQLiteConnection(file), NotImplemented)
    with pytest.raises(StoreUnavailable):
        await db.fetch_one("SELECT 1")  # where no transaction is

    with pytest.raises(StoreUnavailable, match="has rolled back the transaction"):
        db.raise_if_lost()
    await file.close()


OWN_FAULT = OperationalError(1364, "Field has no default value")


async def test_an_error_of_a_commit_is_the_database_s_fault() -> None:
    driver = FakeDriver(None, OWN_FAULT)
    db = MySQLConnection(driver, write_fence=0)
    await db.execute("INSERT", {})

    with pytest.raises(StoreFailed, match=r"cannot be ended: .*1364"):
        await db.commit()


async def test_an_error_in_the_store_s_own_statements_is_the_database_s_fault(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = await leased(store)
    sql = store._sql  # type: ignore[attr-defined]
    refused = "INSERT INTO seats (id, taken) VALUES (1, NULL)"

    for name in ("fence_thread", "settle_run", "insert_event"):
        with monkeypatch.context() as broken:
            broken.setitem(sql, name, refused + (" VALUES (1, NULL)" if "event" in name else ""))
            with pytest.raises(StoreFailed):
                await append(store, lease, 1, said(), status="waiting")

    assert await journal(store, lease.run.thread) == [asked()]
    await append(store, lease, 1, said())
