"""The packets of a run: how many there are, and what a connection that is cut at one leaves."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from tests.builders import asked, finished, said, succeeded, user
from tests.services.store.builders import (
    LONG_S,
    append,
    emptied,
    journal,
    leased,
    new_run,
    on_server,
    queued,
    seats,
)
from tests.services.store.mysql.cutting_proxy import CuttingProxy, Place
from twelvefold.boot import RandomIds
from twelvefold.core.budget import Limits
from twelvefold.core.ports import (
    Append,
    IdempotentRequest,
    Lease,
    NullListener,
    Principal,
    ReadOnly,
    Store,
    Transaction,
)
from twelvefold.core.tools.tool import tool
from twelvefold.core.workflow import Workflow
from twelvefold.engine.commands import RunRequest, start_run
from twelvefold.engine.drive import drive
from twelvefold.engine.services import Services
from twelvefold.errors import LeaseLost, StaleRun, StoreUnavailable
from twelvefold.services.model.scripted import ScriptedModel, calls, in_turn, says
from twelvefold.services.store import open_store

pytestmark = pytest.mark.mysql
INSERT = "INSERT INTO seats (id, taken) VALUES (:id, :taken)"
PLACES: tuple[Place, ...] = ("before", "inside", "behind")


@pytest.fixture
async def proxy(mariadb_url: str) -> AsyncIterator[CuttingProxy]:
    async with CuttingProxy(mariadb_url) as proxy:
        yield proxy


@pytest.fixture
async def store(proxy: CuttingProxy, mariadb: Store) -> AsyncIterator[Store]:
    """A store behind the proxy, with connections that are set up."""
    store = await open_store(proxy.url)
    await emptied(store)
    await store.runs(limit=1)
    lease = await leased(store)
    await store.renew(lease, LONG_S)
    proxy.packets.clear()
    yield store
    await store.close()


# --- how many -----------------------------------------------------------------------------------


async def count(proxy: CuttingProxy, work: Awaitable[object]) -> int:
    proxy.packets.clear()
    await work
    return len(proxy.packets)


async def step(store: Store, lease: Lease, head: int, *, statements: int = 0) -> None:
    async with store.append(Append(lease, head, 1)) as tx:
        for number in range(statements):
            await tx.execute(INSERT, id=10 * head + number, taken=1)
        await tx.send_mail("ann@example.org", "You are in", "Welcome.")
        await tx.record([succeeded()])


async def test_each_use_of_the_store_takes_as_few_packets_as_it_can(
    proxy: CuttingProxy, store: Store
) -> None:
    lease, run, request = await leased(store), await queued(store), IdempotentRequest("k", "h")
    again = new_run(lease.run.thread, ordinal=2, head=6, token="t2", exists=True, request=request)

    assert await count(proxy, leased(store)) == 1
    new = new_run(request=IdempotentRequest("n", "h"))
    assert await count(proxy, store.start(new, asked(), None)) == 1
    assert await count(proxy, append(store, lease, 1, said())) == 2
    for n in (1, 2, 3):
        assert await count(proxy, step(store, lease, n + 1, statements=n)) == n + 1
    assert await count(proxy, store.renew(lease, LONG_S)) == 1
    assert await count(proxy, append(store, lease, 5, finished(), status="completed")) == 2
    assert await count(proxy, store.start(again, asked(), LONG_S)) == 2
    assert await count(proxy, store.claim(run, LONG_S)) == 2
    assert await count(proxy, store.ask_cancel(run)) <= 2
    async with store.read() as db:
        assert await count(proxy, db.fetch_all("SELECT id FROM seats")) == 1


@tool
async def look(db: ReadOnly, id: int) -> str:
    """Look at a seat."""
    return str(await db.fetch_all("SELECT taken FROM seats WHERE id = :id", id=id))


@tool
async def take_seat(tx: Transaction, id: int) -> str:
    """Take a seat."""
    await tx.execute(INSERT, id=id, taken=1)
    return "taken"


@tool
async def move(tx: Transaction, id: int, to: int) -> str:
    """Move to another seat, and get a mail."""
    await tx.execute("DELETE FROM seats WHERE id = :id", id=id)
    await tx.execute(INSERT, id=to, taken=1)
    await tx.send_mail("ann@example.org", "You have moved", f"Your seat is {to}.")
    return "moved"


async def test_a_run_of_four_replies_and_three_tools_takes_twelve_packets(
    proxy: CuttingProxy, store: Store
) -> None:
    script = in_turn(
        calls(("look", {"id": 1})),
        calls(("take_seat", {"id": 1})),
        calls(("move", {"id": 1, "to": 2})),
        says("You have seat 2."),
    )
    workflow = Workflow("seats", "Seat people.", (look, take_seat, move))
    services = Services(
        store, ScriptedModel(script), {"seats": workflow}, RandomIds(), Limits(), "1.0"
    )
    request = RunRequest("seats", Principal("ann"), [user("A seat, please.")])

    held = await start_run(services, request)
    outcome = await drive(services, held, NullListener())

    assert outcome.status == "completed"
    assert await seats(store) == {2: 1}
    # The budgets, once in ten seconds, 1; the start 1; the read and its step 1 + 2; the tools 2 and
    # 3; the end 2.
    assert len(proxy.packets[:-1]) == 12
    assert sum("COMMIT" in packet for packet in proxy.packets[:-1]) == 6
    fences = [one for one in proxy.packets if one[0].startswith("UPDATE threads")]
    assert len(fences) == 4
    assert not any("COMMIT" in packet for packet in fences)


# --- a connection that is cut -------------------------------------------------------------------

STEP = "UPDATE threads SET head"
LAST = "INSERT INTO events"


async def tool_step(store: Store, lease: Lease) -> None:
    async with store.append(Append(lease, 1, 1, "completed")) as tx:
        await tx.execute(INSERT, id=1, taken=1)
        await tx.record([succeeded()])


async def plain_step(store: Store, lease: Lease) -> None:
    await append(store, lease, 1, finished(), status="completed")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("packet", [STEP, LAST])
@pytest.mark.parametrize("work", [tool_step, plain_step])
async def test_a_step_whose_connection_is_cut_happens_wholly_or_not_at_all(
    proxy: CuttingProxy,
    store: Store,
    mariadb: Store,
    work: Callable[[Store, Lease], Awaitable[None]],
    packet: str,
    place: Place,
) -> None:
    lease = await leased(store)
    proxy.cut(packet, place)

    with pytest.raises(StoreUnavailable):
        await work(store, lease)

    is_committed = (packet, place) == (LAST, "behind")
    if is_committed:
        await until(lambda: has_head(mariadb, lease, 2))
        with pytest.raises(StaleRun):  # the lease was given back with the last entry
            await work(store, lease)
    else:
        assert await seats(mariadb) == {}
        assert await journal(mariadb, lease.run.thread) == [asked()]
        await work(store, lease)
    assert len(await journal(mariadb, lease.run.thread)) == 2
    assert await seats(mariadb) == ({1: 1} if work is tool_step else {})
    assert (await mariadb.run(lease.run)).status == "completed"


@pytest.mark.parametrize("place", PLACES)
async def test_a_start_whose_connection_is_cut_is_repeated_with_one_result(
    proxy: CuttingProxy, store: Store, mariadb: Store, place: Place
) -> None:
    new = new_run(request=IdempotentRequest("key", "hash"))
    proxy.cut("INSERT INTO runs", place)

    with pytest.raises(StoreUnavailable):
        await store.start(new, asked(), LONG_S)
    if place == "behind":
        await until(lambda: exists(mariadb, new.run.thread))
    else:
        assert not await exists(mariadb, new.run.thread)
    entry, lease = await store.start(new, asked(), LONG_S)

    assert lease is not None
    assert await journal(mariadb, new.run.thread) == [asked()] == [entry.event]
    assert await mariadb.find_request("ann", "key") == (new.run, "hash")


async def exists(store: Store, thread: Any) -> bool:
    async with store.read() as db:
        return bool(await db.fetch_one("SELECT id FROM threads WHERE id = :id", id=thread))


async def has_head(store: Store, lease: Lease, head: int) -> bool:
    return (await store.load(lease.run.thread)).head == head


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    while not await is_so():
        await asyncio.sleep(0.01)


async def waiting_connection(url: str, statement: str) -> int:
    """Return the connection whose statement waits for a lock."""
    store = await open_store(url)
    found: list[dict[str, Any]] = []
    async with store.read() as db:
        while not found:
            await asyncio.sleep(0.02)
            found = await db.fetch_all(
                "SELECT id FROM information_schema.processlist WHERE info LIKE :text"
                " AND id <> CONNECTION_ID()",
                text=f"{statement}%",
            )
    await store.close()
    return int(found[0]["id"])


async def test_a_connection_killed_inside_the_packet_of_the_fence_leaves_nothing(
    mariadb: Store, mariadb_url: str
) -> None:
    lease = await leased(mariadb)

    async with asyncio.TaskGroup() as group, mariadb.write() as rival:
        await rival.execute(INSERT, id=1, taken=7)  # the tool's statement waits for this row
        stepping = group.create_task(fault_of(tool_step(mariadb, lease)))
        connection = await waiting_connection(mariadb_url, "INSERT INTO seats")
        await on_server(mariadb_url, f"KILL {connection}")
        assert isinstance(await stepping, StoreUnavailable)
        await rival.execute("DELETE FROM seats")

    assert await journal(mariadb, lease.run.thread) == [asked()]
    assert (await mariadb.run(lease.run)).status == "running"
    await tool_step(mariadb, lease)
    assert await seats(mariadb) == {1: 1}


BLOCK = "INSERT INTO events VALUES (:thread, 2, 1, 'ItemsAdded', 1, '{}', 0)"


async def test_a_connection_killed_inside_the_last_packet_leaves_nothing(
    mariadb: Store, mariadb_url: str
) -> None:
    lease = await leased(mariadb)

    async with asyncio.TaskGroup() as group:
        with suppress(ZeroDivisionError):
            async with mariadb.write() as rival:
                await rival.execute(BLOCK, thread=lease.run.thread)
                stepping = group.create_task(fault_of(tool_step(mariadb, lease)))
                connection = await waiting_connection(mariadb_url, "INSERT INTO events")
                await on_server(mariadb_url, f"KILL {connection}")
                assert isinstance(await stepping, StoreUnavailable)
                raise ZeroDivisionError

    assert await seats(mariadb) == {}
    assert await journal(mariadb, lease.run.thread) == [asked()]
    await tool_step(mariadb, lease)


async def test_an_entry_that_exists_already_keeps_the_last_packet_from_its_commit(
    mariadb: Store,
) -> None:
    lease = await leased(mariadb)
    async with mariadb.write() as other:
        await other.execute(BLOCK, thread=lease.run.thread)

    assert isinstance(await fault_of(tool_step(mariadb, lease)), StoreUnavailable)

    assert await seats(mariadb) == {}
    assert (await mariadb.run(lease.run)).status == "running"


async def fault_of(work: Awaitable[object]) -> BaseException | None:
    try:
        await work
    except BaseException as fault:
        return fault
    return None


# --- packets and the limit of the server --------------------------------------------------------


async def test_a_large_statement_goes_behind_the_fence_in_a_packet_of_its_own(
    proxy: CuttingProxy, store: Store, mariadb: Store
) -> None:
    lease, value = await leased(store), b"x" * (2 * 1024 * 1024)

    proxy.packets.clear()
    async with store.append(Append(lease, 1, 1)) as tx:
        await tx.execute("INSERT INTO notes (id, raw) VALUES (1, :raw)", raw=value)
        await tx.record([said()])

    assert [len(packet) for packet in proxy.packets] == [2, 1, 2]
    async with mariadb.read() as db:
        assert await db.fetch_one("SELECT LENGTH(raw) AS n FROM notes") == {"n": len(value)}


async def test_a_large_statement_behind_a_lost_fence_is_rolled_back(
    store: Store, mariadb: Store
) -> None:
    lease = await leased(store, lease_s=0.01)
    await asyncio.sleep(0.05)
    assert await mariadb.claim(lease.run, LONG_S) is not None

    with pytest.raises(LeaseLost):
        async with store.append(Append(lease, 1, 1)) as tx:
            await tx.execute("INSERT INTO notes (id, raw) VALUES (1, :raw)", raw=b"x" * 2**21)

    async with mariadb.read() as db:
        assert await db.fetch_all("SELECT id FROM notes") == []
