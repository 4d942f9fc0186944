"""Connections: the meaning of errors, when they are closed, and how long the store waits."""
# ruff: noqa: PT012 - what has to fail is a whole transaction

import asyncio
import os
import signal
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from asyncmy.errors import (
    InternalError,
    OperationalError,
)

from tests.builders import asked, said
from tests.loop_clock import LoopClock
from tests.servers import PrivateMariaDB
from tests.services.store.builders import (
    LONG_S,
    append,
    emptied,
    journal,
    kinds,
    leased,
    made,
    queued,
    rows,
    seats,
)
from tests.services.store.mysql.fake_driver import FakeDriver
from tests.services.store.mysql.silent_server import stop
from twelvefold.core.ports import Append, ReadOnly, Store
from twelvefold.errors import (
    StoreRefused,
    StoreUnavailable,
)
from twelvefold.services.store import open_store
from twelvefold.services.store.mysql.connection import MySQLConnection
from twelvefold.services.store.mysql.connections import READ_CONNECTIONS, Timeouts
from twelvefold.services.store.mysql.store import MySQLStore
from twelvefold.services.store.mysql.url import connect_arguments

INSERT = "INSERT INTO seats (id, taken) VALUES (:id, 0)"
READ_S = 20.0
"""Shorter than the default of the time for a connection. A test lets it pass."""


@pytest.mark.mysql
async def test_a_second_concurrent_statement_is_refused(mariadb: Store) -> None:
    async with mariadb.write() as tx:
        first, second = await asyncio.gather(
            tx.fetch_one("SELECT SLEEP(0.1) AS slept"),
            tx.fetch_one("SELECT 1 AS one"),
            return_exceptions=True,
        )

    assert first == {"slept": 0}
    assert isinstance(second, StoreRefused)
    assert "await it before the next one" in str(second)


@pytest.mark.mysql
async def test_a_statement_that_still_runs_ends_the_step_without_a_commit(mariadb: Store) -> None:
    lease = await leased(mariadb)

    async def left(tx: ReadOnly) -> None:
        with pytest.raises(StoreUnavailable):
            await tx.fetch_one("SELECT SLEEP(60)")

    async with asyncio.TaskGroup() as group:
        with pytest.raises(StoreRefused, match="still running"):
            async with mariadb.append(Append(lease, 1, 1)) as tx:
                await tx.execute(INSERT, id=1)
                group.create_task(left(tx))
                await asyncio.sleep(0.05)
                await tx.record([said()])

    assert await seats(mariadb) == {}
    await append(mariadb, lease, 1, said())


REFUSED = OperationalError(1364, "Field has no default value")


async def test_an_error_that_leaves_the_transaction_open_leaves_it_usable() -> None:
    driver = FakeDriver(None, REFUSED)
    db = MySQLConnection(driver, write_fence=0)
    await db.execute("FENCE", {})

    with pytest.raises(StoreRefused, match=r"no default value \(MySQL error 1364\)"):
        await db.execute("INSERT", {})
    await db.execute("SELECT", {})

    assert driver.asked == ["FENCE", "INSERT", "PING", "SELECT"]


async def test_an_error_that_rolls_back_ends_the_transaction() -> None:
    driver = FakeDriver(None, REFUSED, is_open=False)
    db = MySQLConnection(driver, write_fence=0)
    await db.execute("FENCE", {})
    with pytest.raises(StoreRefused):
        await db.execute("INSERT", {})

    for go_on in (db.execute("SELECT", {}), db.fetch("SELECT", {}), db.commit()):
        with pytest.raises(StoreUnavailable, match="the database has rolled back the transaction"):
            await go_on

    assert driver.asked == ["FENCE", "INSERT", "PING", "ROLLBACK"]
    assert driver.connected


@pytest.mark.parametrize(
    ("fault", "stays"),
    [
        (OperationalError(1213, "Deadlock found"), True),
        (OperationalError(2013, "Lost connection"), False),
        (OperationalError(1290, "running with the --read-only option"), False),
        (InternalError("Packet sequence number wrong"), False),
        (ValueError("the driver stumbles over what it reads"), False),
    ],
)
async def test_a_connection_that_may_be_out_of_step_is_closed(
    fault: Exception, stays: bool
) -> None:
    driver = FakeDriver(fault)
    db = MySQLConnection(driver, write_fence=0)

    with pytest.raises(StoreUnavailable):
        await db.execute("SELECT", {})
    await db.rollback()

    assert driver.connected is stays
    assert driver.asked == (["SELECT", "ROLLBACK"] if stays else ["SELECT"])


async def test_no_statement_is_sent_after_the_transaction() -> None:
    driver = FakeDriver()
    db = MySQLConnection(driver, write_fence=0)
    await db.commit()
    await db.execute("UPDATE", {}, commit=True)
    await db.commit()

    db.detach()

    with pytest.raises(StoreRefused, match="the transaction is over"):
        await db.execute("SELECT", {})
    assert driver.asked == ["UPDATE", "COMMIT"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateMariaDB]:
    with PrivateMariaDB(tmp_path_factory.mktemp("server")) as server:
        asyncio.run(made(server.url))
        yield server


@pytest.mark.mysql
async def test_a_wait_for_a_silent_server_ends(
    server: PrivateMariaDB,
) -> None:
    patient = await open_store(server.url)
    lease = await leased(patient)
    timeouts = Timeouts(answer_s=0.2, check_interval_s=0.05, connect_s=0.3)
    store = MySQLStore(connect_arguments(server.url), 1, timeouts=timeouts)
    while await fault_of(rows(store, "SELECT 1")):
        pass  # a busy machine may take longer to connect

    await stop(server.pid)
    try:
        with pytest.raises(StoreUnavailable):
            await append(store, lease, 1, said())
        with pytest.raises(StoreUnavailable, match="no connection to the database within"):
            await append(store, lease, 1, said())
    finally:
        os.kill(server.pid, signal.SIGCONT)

    assert await journal(patient, lease.run.thread) == [asked()]
    while await fault_of(append(store, lease, 1, said())):
        pass
    for one in (store, patient):
        await one.close()


async def fault_of(work: Coroutine[Any, Any, object]) -> StoreUnavailable | None:
    try:
        await work
    except StoreUnavailable as fault:
        return fault
    return None


@pytest.mark.mysql
async def test_reads_of_a_silent_server_do_not_wait_for_later_ones(
    server: PrivateMariaDB,
) -> None:
    store = MySQLStore(connect_arguments(server.url), 1, timeouts=Timeouts(read_s=READ_S))
    ended: list[str] = []
    loop_clock = LoopClock()

    async def read(name: str) -> None:
        with pytest.raises(StoreUnavailable, match=f"did not answer within {READ_S:g} s"):
            await store.schema()
        ended.append(name)

    async with AsyncExitStack() as all_connections:
        for _ in range(READ_CONNECTIONS):
            await all_connections.enter_async_context(store._read_connection())
    await stop(server.pid)
    try:
        async with asyncio.TaskGroup() as group:
            first = group.create_task(read("first"))
            await asyncio.sleep(0.01)
            loop_clock.let_pass(READ_S / 2)
            for _ in range(2 * READ_CONNECTIONS):
                group.create_task(read("early"))
            await asyncio.sleep(0.01)
            loop_clock.let_pass(READ_S / 2)
            await first
            # The connection that it gave up is made anew by one of those that wait for it.
            await asyncio.sleep(0.05)
            group.create_task(read("late"))
            await asyncio.sleep(0.01)
            for _ in range(2):
                loop_clock.let_pass(READ_S / 2)
                await asyncio.sleep(0.01)
    finally:
        os.kill(server.pid, signal.SIGCONT)

    assert ended == ["first", *["early"] * 2 * READ_CONNECTIONS, "late"]
    assert await store.schema() is not None
    await store.close()


@pytest.mark.mysql
async def test_a_wait_for_a_connection_ends_with_an_error(
    mariadb_url: str,
) -> None:
    store = MySQLStore(connect_arguments(mariadb_url), 1, timeouts=Timeouts(connect_s=READ_S))
    loop_clock = LoopClock()

    async with store.read():
        reading = asyncio.ensure_future(rows(store, "SELECT 1"))
        await asyncio.sleep(0.01)
        loop_clock.let_pass(READ_S)
        with pytest.raises(StoreUnavailable, match=f"no connection .* within {READ_S:g} s"):
            await reading

    assert await rows(store, "SELECT 1 AS one") == [{"one": 1}]
    await store.close()


@pytest.mark.mysql
async def test_tools_that_use_all_connections_delay_no_claim_read_or_renewal(
    mariadb_url: str,
) -> None:
    store = MySQLStore(connect_arguments(mariadb_url), 2, timeouts=Timeouts(connect_s=10.0))
    await emptied(store)
    held, run, stepping = await leased(store), await queued(store), await leased(store)

    async with store.read(), store.append(Append(stepping, 1, 1)) as tx:
        assert await store.claim(run, LONG_S)
        assert await store.renew(held, LONG_S) is False
        assert not (await store.waiting_work(workflows=("academy",), limit=1)).runs
        await tx.record([said()])

    assert await journal(store, stepping.run.thread) == [asked(), said()]
    await store.close()


@pytest.mark.mysql
async def test_leases_are_kept_while_other_runs_are_in_long_steps(
    mariadb: Store, mariadb_url: str
) -> None:
    held, stepping = await leased(mariadb, lease_s=0.0), [await leased(mariadb) for _ in range(3)]
    rival = await open_store(mariadb_url)

    async with AsyncExitStack() as steps:
        for lease in stepping:
            tx = await steps.enter_async_context(mariadb.append(Append(lease, 1, 0)))
            await tx.fetch_one("SELECT 1")
        renewals = [mariadb.renew(lease, LONG_S) for lease in (*stepping, held)]
        renewed = await asyncio.gather(*renewals, return_exceptions=True)
        assert await rival.claim(held.run, LONG_S) is None

    assert kinds(renewed) == [*[StoreUnavailable] * 3, bool]
    await rival.close()


@pytest.mark.mysql
async def test_a_script_s_settings_do_not_reach_other_users(mariadb: Store) -> None:
    await mariadb.run_script(
        "SET SESSION sql_mode = ''; SET @mine = 1; INSERT INTO seats VALUES (1, 1)"
    )

    assert await rows(mariadb, "SELECT @mine AS mine") == [{"mine": None}]
    assert await mariadb.check() == []
    assert await seats(mariadb) == {1: 1}


@pytest.mark.mysql
async def test_a_closed_store_refuses_statements(mariadb_url: str) -> None:
    store = await open_store(mariadb_url)
    await store.close()

    with pytest.raises(StoreRefused, match="the store is closed"):
        await store.schema()


@pytest.mark.mysql
async def test_a_store_closes_in_time_while_a_statement_runs(
    mariadb_url: str,
) -> None:
    store = MySQLStore(connect_arguments(mariadb_url), 1, timeouts=Timeouts(close_s=0.1))

    with pytest.raises(StoreUnavailable):
        async with store.read() as db:
            await store.close()
            await db.fetch_one("SELECT 1")


@pytest.mark.mysql
async def test_warnings_are_neither_fetched_nor_logged(
    mariadb: Store, caplog: pytest.LogCaptureFixture
) -> None:
    async with mariadb.read() as db:
        before = await _fetched_warnings(db)
        await db.fetch_one("SELECT CAST('a secret' AS SIGNED) AS number")

        assert await _fetched_warnings(db) == before
    assert "secret" not in caplog.text


async def _fetched_warnings(db: ReadOnly) -> int:
    row = await db.fetch_one("SHOW SESSION STATUS LIKE 'Com_show_warnings'")
    assert row is not None
    return int(row["Value"])
