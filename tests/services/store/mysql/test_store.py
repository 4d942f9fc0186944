"""The store on a server: deadlocks, lost connections, restarts and unfit settings."""
# ruff: noqa: PT012 - what has to fail is a whole transaction

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.builders import asked, finished, said
from tests.servers import PrivateMariaDB
from tests.services.store.builders import (
    FAR_US,
    LONG_S,
    append,
    emptied,
    journal,
    leased,
    made,
    new_thread,
    on_server,
    queued,
    rows,
    seats,
)
from twelvefold.boot import RandomIds
from twelvefold.core.budget import Limits
from twelvefold.core.ids import LeaseToken, RunId
from twelvefold.core.ports import Append, Lease, Store
from twelvefold.engine.commands import take
from twelvefold.engine.services import Services
from twelvefold.errors import Conflict, StoreUnavailable
from twelvefold.services.model.scripted import ScriptedModel, says
from twelvefold.services.store import open_store
from twelvefold.services.store.mysql.connection import MySQLConnection
from twelvefold.services.store.mysql.connections import Timeouts
from twelvefold.services.store.mysql.store import MySQLStore
from twelvefold.services.store.mysql.url import connect_arguments
from twelvefold.services.store.sql.base import wall_clock_us
from twelvefold.services.store.sql.store import SQLStore

pytestmark = pytest.mark.mysql
TAKE = "UPDATE seats SET taken = taken + 1 WHERE id = :id"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateMariaDB]:
    with PrivateMariaDB(tmp_path_factory.mktemp("a server")) as server:
        asyncio.run(made(server.url))
        yield server


@pytest.fixture
async def own(server: PrivateMariaDB) -> AsyncIterator[Store]:
    """A store on a server that the test may stop."""
    store = await open_store(server.url, pool_size=3)
    await emptied(store)
    yield store
    await store.close()


async def two_rows(store: Store) -> None:
    async with store.write() as tx:
        await tx.execute("INSERT INTO seats (id, taken) VALUES (1, 0), (2, 0)")


async def test_a_deadlock_rolls_the_step_back_even_if_the_tool_catches_it(mariadb: Store) -> None:
    await two_rows(mariadb)
    leases = [await leased(mariadb), await leased(mariadb)]
    both = asyncio.Barrier(2)

    async def step(lease: Lease, first: int, second: int) -> None:
        async with mariadb.append(Append(lease, 1, 1)) as tx:
            await tx.execute(TAKE, id=first)
            await both.wait()
            with suppress(StoreUnavailable):
                await tx.execute(TAKE, id=second)
            tx.raise_if_lost()
            await tx.record([said()])

    ended = await asyncio.gather(
        step(leases[0], 1, 2), step(leases[1], 2, 1), return_exceptions=True
    )

    (fault,) = [one for one in ended if one is not None]
    assert isinstance(fault, StoreUnavailable)
    assert "1213" in str(fault)
    assert await seats(mariadb) == {1: 1, 2: 1}
    lost = leases[ended.index(fault)]
    assert await journal(mariadb, lost.run.thread) == [asked()]
    await append(mariadb, lost, 1, said())


async def test_a_claim_does_not_wait_for_a_step(mariadb: Store, mariadb_url: str) -> None:
    lease = await leased(mariadb, lease_s=0.01)
    rival = MySQLStore(connect_arguments(mariadb_url), 2, timeouts=Timeouts(lock_s=600))

    async with mariadb.append(Append(lease, 1, 1)) as tx:
        await tx.fetch_one("SELECT 1")
        await asyncio.sleep(0.02)
        assert await rival.claim(lease.run, LONG_S) is None
        await tx.record([said()])

    assert await rival.claim(lease.run, LONG_S) is not None
    await rival.close()


async def test_a_claim_waits_for_a_step_as_long_as_it_may(mariadb: Store, mariadb_url: str) -> None:
    lease = await leased(mariadb, lease_s=0.01)
    rival = await open_store(mariadb_url)

    async with asyncio.TaskGroup() as group, mariadb.append(Append(lease, 1, 1)) as tx:
        await tx.fetch_one("SELECT 1")
        assert await rival.claim(lease.run, LONG_S, None, 0.1) is None
        claiming = group.create_task(rival.claim(lease.run, LONG_S, None, LONG_S))
        await asyncio.sleep(0.1)
        assert not claiming.done()
        await tx.record([said()])

    assert claiming.result() is not None
    await rival.close()


LOCK_RUN = "SELECT ordinal FROM runs WHERE thread_id = :thread FOR UPDATE"
CLAIM = (
    "UPDATE runs SET status = 'running', lease_token = :token, lease_until = :far"
    " WHERE thread_id = :thread"
)


def services_of(store: Store) -> Services:
    return Services(store, ScriptedModel(lambda _: says("hi")), {}, RandomIds(), Limits(), "1.0")


async def test_a_person_s_command_waits_for_a_short_lock(mariadb: Store, mariadb_url: str) -> None:
    run, rival = await queued(mariadb), await open_store(mariadb_url)

    async with asyncio.TaskGroup() as group, rival.write() as other:
        await other.fetch_all(LOCK_RUN, thread=run.thread)
        taking = group.create_task(take(services_of(mariadb), run))
        await asyncio.sleep(0.1)
        assert not taking.done()

    assert taking.result().run == run
    await rival.close()


async def test_a_worker_does_not_wait_for_a_lock(mariadb: Store, mariadb_url: str) -> None:
    run, rival = await queued(mariadb), await open_store(mariadb_url)

    async with rival.write() as other:
        await other.fetch_all(LOCK_RUN, thread=run.thread)
        with pytest.raises(Conflict, match="is held by another process"):
            await take(services_of(mariadb), run, waits=False)

    await rival.close()


async def test_a_claim_whose_answer_was_lost_waits_for_its_first_attempt(
    mariadb: Store, mariadb_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, rival = await queued(mariadb), await open_store(mariadb_url)
    claim = mariadb.claim

    async with asyncio.TaskGroup() as group, rival.write() as first:

        async def lost(run: RunId, _: float, token: LeaseToken, *__: Any) -> None:
            monkeypatch.setattr(mariadb, "claim", claim)
            await first.execute(CLAIM, token=token, far=FAR_US, thread=run.thread)
            raise StoreUnavailable("the answer was lost")

        monkeypatch.setattr(mariadb, "claim", lost)
        taking = group.create_task(take(services_of(mariadb), run, waits=False))
        await asyncio.sleep(0.5)
        assert not taking.done()

    assert taking.result().thread.interrupted
    await rival.close()


async def test_rows_that_a_step_has_locked_are_left_out(mariadb: Store, mariadb_url: str) -> None:
    leases = [await leased(mariadb) for _ in range(5)]
    for lease in leases:
        await append(mariadb, lease, 1, finished(), status="completed")
    held, rival = leases[2].run.thread, await open_store(mariadb_url)
    before_us = wall_clock_us() + 1
    await asyncio.sleep(0.01)

    async with mariadb.write() as tx:
        await tx.execute("UPDATE threads SET head = head WHERE id = :id", id=held)
        assert await rival.prune(before_us=before_us) == 4

    assert await journal(mariadb, held) == [asked(), finished()]
    assert await rival.prune(before_us=before_us) == 1
    await rival.close()


async def test_a_thread_can_be_forked_during_a_long_step(mariadb: Store) -> None:
    lease, fork = await leased(mariadb), new_thread()

    async with mariadb.append(Append(lease, 1, 1)) as tx:
        await mariadb.fork(lease.run.thread, 1, fork)
        await tx.record([said()])

    assert await journal(mariadb, fork) == [asked()]
    assert await journal(mariadb, lease.run.thread) == [asked(), said()]


async def test_a_thread_that_is_being_forked_is_not_pruned(
    mariadb: Store, mariadb_url: str
) -> None:
    assert isinstance(mariadb, MySQLStore)
    lease, fork = await leased(mariadb), new_thread()
    await append(mariadb, lease, 1, finished(), status="completed")
    rival, before_us = await open_store(mariadb_url), wall_clock_us() + 1
    await asyncio.sleep(0.01)

    async with mariadb._transaction() as db:
        await mariadb._fork(db, lease.run.thread, 2, fork)
        pruning = asyncio.create_task(rival.prune(before_us=before_us))
        await asyncio.sleep(0.3)

    assert await pruning == 0
    assert await journal(mariadb, fork) == [asked(), finished()]
    await rival.close()


async def test_a_lock_timeout_rolls_the_step_back(mariadb: Store) -> None:
    await two_rows(mariadb)
    lease = await leased(mariadb)

    async with mariadb.write() as tx:
        await tx.execute(TAKE, id=1)
        with pytest.raises(StoreUnavailable, match="1205"):
            async with mariadb.append(Append(lease, 1, 1)) as step:
                await step.execute(TAKE, id=2)
                with suppress(StoreUnavailable):
                    await step.execute(TAKE, id=1)
                await step.record([said()])

    assert await seats(mariadb) == {1: 1, 2: 0}
    await append(mariadb, lease, 1, said())


async def test_a_killed_connection_loses_only_its_transaction(
    mariadb: Store, mariadb_url: str
) -> None:
    await two_rows(mariadb)
    lease = await leased(mariadb)

    with pytest.raises(StoreUnavailable):
        async with mariadb.append(Append(lease, 1, 1)) as tx:
            await tx.execute(TAKE, id=1)
            row = await tx.fetch_one("SELECT CONNECTION_ID() AS id")
            assert row is not None
            await on_server(mariadb_url, f"KILL {row['id']}")
            with suppress(StoreUnavailable):
                await tx.execute(TAKE, id=2)
            await tx.record([said()])

    assert await seats(mariadb) == {1: 0, 2: 0}
    await append(mariadb, lease, 1, said())


async def test_cancelled_writes_leave_no_half_transaction(mariadb: Store) -> None:
    chance = random.Random(12)
    insert = "INSERT INTO seats (id, taken) VALUES (:id, :pair)"
    done: set[int] = set()

    async def write(pair: int) -> None:
        async with mariadb.write() as tx:
            await tx.execute(insert, id=2 * pair, pair=pair)
            await tx.execute(insert, id=2 * pair + 1, pair=pair)
        done.add(pair)

    async def cut(pair: int) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(chance.uniform(0, 0.01)):
                await write(pair)

    for first in range(0, 300, 10):
        async with asyncio.TaskGroup() as group:
            for pair in range(first, first + 10):
                group.create_task(cut(pair))
    await write(300)

    ids = set(await seats(mariadb))
    assert {id ^ 1 for id in ids} == ids
    assert {id // 2 for id in ids} >= done


async def again(store: Store) -> Lease:
    """Start a run as the engine does: repeat it after each error that can be retried."""
    for _ in range(4):
        with suppress(StoreUnavailable):
            return await leased(store)
    return await leased(store)


async def test_a_restart_of_the_server_between_transactions_goes_unnoticed(
    own: Store, server: PrivateMariaDB
) -> None:
    lease = await leased(own)
    server.stop()
    with pytest.raises(StoreUnavailable):
        await leased(own)
    server.start()

    await again(own)

    await append(own, lease, 1, said())


async def test_a_server_killed_in_a_transaction_keeps_none_of_it(
    own: Store, server: PrivateMariaDB
) -> None:
    await two_rows(own)
    lease = await leased(own)

    with pytest.raises(StoreUnavailable):
        async with own.append(Append(lease, 1, 1)) as tx:
            await tx.execute(TAKE, id=1)
            server.kill()
            await tx.record([said()])
    server.start()
    await again(own)

    assert await seats(own) == {1: 0, 2: 0}
    await append(own, lease, 1, said())


async def test_a_read_is_one_statement_and_waits_for_no_tool(server: PrivateMariaDB) -> None:
    store = await open_store(server.url, pool_size=1)
    await emptied(store)
    lease = await leased(store)
    await store.run(lease.run)

    async with store.write():
        before = await read_questions(store)
        for _ in range(10):
            await store.run(lease.run)
        after = await read_questions(store)
    await store.close()

    assert after - before == 10 + 1


async def read_questions(store: Store) -> int:
    """Return how many statements the session of the store's reads has sent."""
    assert isinstance(store, SQLStore)
    async with store._read_connection() as db:
        (row,) = await db.fetch("SHOW SESSION STATUS LIKE 'Questions'", {})
    return int(row["Value"])


async def test_a_claim_whose_answer_was_lost_is_repeated_at_once(
    mariadb: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await queued(mariadb)
    services = services_of(mariadb)
    commit, cut = MySQLConnection.commit, 0

    async def unheard(self: MySQLConnection) -> None:
        nonlocal cut
        await commit(self)
        if not cut:
            cut += 1
            self.abort()
            raise StoreUnavailable("the answer to COMMIT was lost")

    monkeypatch.setattr(MySQLConnection, "commit", unheard)
    driven = await take(services, run)

    assert cut == 1
    assert await rows(mariadb, "SELECT lease_token FROM runs") == [
        {"lease_token": driven.lease.token}
    ]


async def test_a_fit_server_has_no_problems(mariadb: Store) -> None:
    assert await mariadb.check() == []


async def test_problems_of_a_server_are_reported_with_the_value_to_set(
    server: PrivateMariaDB,
) -> None:
    await on_server(
        server.url,
        "SET GLOBAL sql_mode = ''",
        "SET GLOBAL max_allowed_packet = 1048576",
        "ALTER TABLE outbox ENGINE = MyISAM",
    )
    store = await open_store(server.url)
    try:
        told = "\n".join(await store.check())
    finally:
        await store.close()
        await on_server(
            server.url,
            "SET GLOBAL sql_mode = DEFAULT",
            "SET GLOBAL max_allowed_packet = DEFAULT",
            "ALTER TABLE outbox ENGINE = InnoDB",
        )

    assert "add STRICT_TRANS_TABLES" in told
    assert "ALTER TABLE outbox ENGINE=InnoDB" in told
    assert "max_allowed_packet is 1048576: set it to 16777216" in told


async def test_a_user_without_ddl_privileges_can_drive_a_run(server: PrivateMariaDB) -> None:
    await on_server(
        server.url,
        "CREATE USER IF NOT EXISTS clerk@'%' IDENTIFIED BY 'clerk'",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON twelvefold.* TO clerk@'%'",
    )
    parts = urlsplit(server.url)
    url = parts._replace(netloc=f"clerk:clerk@{parts.hostname}:{parts.port}").geturl()
    store = await open_store(url)

    try:
        await emptied(store)
        claimed = await store.claim(await queued(store), LONG_S)
        assert claimed is not None
        lease = claimed[0]
        async with store.append(Append(lease, 1, 1)) as tx:
            await tx.send_mail("ann@example.org", "You are in", "Welcome.")
            await tx.record([said()])
        await store.renew(lease, LONG_S)
        await append(store, lease, 2, finished(), status="completed")

        assert await journal(store, lease.run.thread) == [asked(), said(), finished()]
        assert await store.check() == []
        assert await store.schema() is not None
        assert await rows(store, "SELECT sent_at FROM outbox") == [{"sent_at": None}]
        assert await store.prune(before_us=FAR_US) == 0
    finally:
        await store.close()
