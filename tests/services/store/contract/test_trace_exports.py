"""Exports of spans that may be missing, on every database."""

from tests.builders import finished, said
from tests.services.store.builders import leased, rows
from twelvefold.core.ids import RunId, ThreadId
from twelvefold.core.ports import Append, RunStatus, Store, TraceExport

LEASE_S = 300.0
DUE = "UPDATE trace_exports SET due_at = due_at - 61000000, created_at = created_at - 61000000"


async def rest(store: Store, status: RunStatus, *, traced: bool = True) -> RunId:
    """Write the last entries of a run, or let it wait."""
    lease = await leased(store)
    change = Append(lease, 1, 2, status, traced=traced)
    async with store.append(change) as tx:
        await tx.record([said(), finished()])
    return lease.run


async def make_due(store: Store) -> None:
    async with store.write() as tx:
        await tx.execute(DUE)


async def claimed(store: Store) -> list[TraceExport]:
    found = await store.claim_trace_exports(limit=10, lease_s=LEASE_S)
    return [TraceExport(one.run, one.position) for one in found]


async def test_a_commit_that_ends_a_run_adds_its_export(store: Store) -> None:
    run = await rest(store, "completed")
    await make_due(store)

    (found,) = await store.claim_trace_exports(limit=10, lease_s=LEASE_S)

    assert (found.run, found.position) == (run, 3)
    assert 61 <= found.age_s < 120


async def test_no_export_is_added_without_traces_or_while_the_run_is_held(store: Store) -> None:
    await rest(store, "completed", traced=False)
    await rest(store, "running")

    assert await rows(store, "SELECT * FROM trace_exports") == []


async def test_an_export_is_due_after_a_minute(store: Store) -> None:
    await rest(store, "waiting")

    assert await claimed(store) == []


async def test_an_export_is_claimed_once(store: Store, rival: Store) -> None:
    run = await rest(store, "completed")
    await make_due(store)

    assert await claimed(store) == [TraceExport(run, 3)]
    assert await claimed(rival) == []


async def test_an_export_that_was_claimed_before_is_not_claimed_again(
    store: Store, rival: Store
) -> None:
    """Two processes have read the same row; the second finds that it has changed."""
    await rest(store, "completed")
    await make_due(store)
    fetch = rival._fetch  # type: ignore[attr-defined]

    async def fetch_late(statement: str, **values: object) -> object:
        found = await fetch(statement, **values)
        rival._fetch = fetch  # type: ignore[attr-defined]
        await claimed(store)
        return found

    rival._fetch = fetch_late  # type: ignore[attr-defined]

    assert await claimed(rival) == []


async def test_an_export_may_be_added_again_and_is_removed_once(store: Store) -> None:
    export = TraceExport(RunId(ThreadId("0" * 44), 1), 7)
    other = TraceExport(RunId(ThreadId("0" * 44), 1), 9)
    for one in (export, export, other):
        await store.add_trace_export(one)

    await store.remove_trace_exports([export, export])
    await make_due(store)

    assert await claimed(store) == [other]


async def test_prune_removes_exports_that_nobody_made(store: Store) -> None:
    await store.add_trace_export(TraceExport(RunId(ThreadId("0" * 44), 1), 7))

    await store.prune(before_us=1)
    assert len(await rows(store, "SELECT * FROM trace_exports")) == 1
    await store.prune(before_us=2**60)

    assert await rows(store, "SELECT * FROM trace_exports") == []
