"""The processes that work on the database, by their heartbeats, on every database."""

from msgspec.structs import replace

from tests.services.store.builders import rows
from twelvefold.core.ports import Process, Store

WEB = Process("w1", "web", "1.0", "host-ä", 71, runs=2)
WORKER = Process("w2", "worker", "1.1", "h" * 255, 72)
MINUTE_US = 60_000_000
DAY_US = 1_440 * MINUTE_US
EARLIER = "UPDATE processes SET heartbeat_at = heartbeat_at -"


def told(process: Process) -> Process:
    return replace(process, started_at_us=0, heartbeat_at_us=0, age_s=0.0)


async def test_the_first_heartbeat_records_a_process(store: Store, rival: Store) -> None:
    await store.record_heartbeat(WEB)
    await rival.record_heartbeat(WORKER)

    found = await store.processes()

    assert sorted(map(told, found), key=lambda one: one.id) == [WEB, WORKER]
    assert all(0 < one.started_at_us <= one.heartbeat_at_us for one in found)
    assert all(0 <= one.age_s < 60 for one in found)


async def test_a_later_heartbeat_keeps_the_start(store: Store) -> None:
    await store.record_heartbeat(WEB)
    (first,) = await store.processes()
    async with store.write() as tx:
        await tx.execute("UPDATE processes SET heartbeat_at = 1, started_at = started_at - 5")

    await store.record_heartbeat(replace(WEB, runs=7))

    (found,) = await store.processes()
    assert told(found) == replace(WEB, runs=7)
    assert found.started_at_us == first.started_at_us - 5
    assert found.heartbeat_at_us >= first.heartbeat_at_us


async def test_a_process_that_ends_is_removed(store: Store) -> None:
    for process in (WEB, WORKER):
        await store.record_heartbeat(process)

    await store.remove_process(WEB.id)
    await store.remove_process(WEB.id)

    assert list(map(told, await store.processes())) == [WORKER]


async def test_a_killed_process_is_shown_for_a_day_and_then_removed(store: Store) -> None:
    for process in (WEB, WORKER):
        await store.record_heartbeat(process)
    async with store.write() as tx:
        await tx.execute(f"{EARLIER} {DAY_US - MINUTE_US}")
    assert len(await store.processes()) == 2
    async with store.write() as tx:
        await tx.execute(f"{EARLIER} {MINUTE_US} WHERE id = 'w1'")
    assert list(map(told, await store.processes())) == [WORKER]

    await store.prune(before_us=0)

    assert [row["id"] for row in await rows(store, "SELECT id FROM processes")] == ["w2"]
