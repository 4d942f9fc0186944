"""A cancelled task leaves nothing behind, on every database."""

import asyncio
import random
from contextlib import suppress

from tests.builders import asked, said
from tests.services.store.builders import append, journal, leased, rows
from twelvefold.core.ports import Append, Store
from twelvefold.errors import StaleRun, StoreUnavailable

INSERT = "INSERT INTO seats (id, taken) VALUES (:id, :taken)"
AT_ONCE = 24
OPERATIONS = 504


async def test_a_cancelled_step_leaves_no_rows_no_locks_and_no_unread_answer(
    store: Store,
) -> None:
    chance = random.Random(7)
    leases = [await leased(store) for _ in range(AT_ONCE)]
    heads = [1] * AT_ONCE
    wrong: list[object] = []
    faults: list[BaseException] = []

    async def read(marker: int) -> None:
        async with store.read() as db:
            for _ in range(3):
                row = await db.fetch_one("SELECT :marker AS marker", marker=marker)
                if row != {"marker": marker}:
                    wrong.append(row)

    async def step(worker: int, marker: int) -> None:
        async with store.append(Append(leases[worker], heads[worker], 1)) as tx:
            await tx.execute(INSERT, id=2 * marker, taken=worker)
            await tx.execute(INSERT, id=2 * marker + 1, taken=worker)
            await tx.record([said(str(marker))])

    async def work(worker: int) -> None:
        for number in range(OPERATIONS // AT_ONCE):
            marker = worker * OPERATIONS + number
            try:
                async with asyncio.timeout(chance.choice((0, 0.001, 0.003, 0.01, 5))):
                    await (read(marker) if number % 2 else step(worker, marker))
            except (TimeoutError, StaleRun):
                pass  # a cancelled COMMIT may have succeeded
            except Exception as fault:
                faults.append(fault)
            heads[worker] = len(await journal(store, leases[worker].run.thread))

    await asyncio.gather(*(work(worker) for worker in range(AT_ONCE)))

    assert (wrong, faults) == ([], [])
    async with store.write() as tx:
        # Waits for statements that still run.
        await tx.execute("UPDATE seats SET taken = taken")
    found = await rows(store, "SELECT id, taken FROM seats")
    succeeded_calls = {
        (worker, int(_text(event)))
        for worker, lease in enumerate(leases)
        for event in (await journal(store, lease.run.thread))[1:]
    }
    assert {(row["taken"], row["id"] // 2) for row in found} == succeeded_calls
    assert len(found) == 2 * len(succeeded_calls)
    assert succeeded_calls


def _text(event: object) -> str:
    """Return the text of an entry that `said` has built."""
    return str(event.items[0]["content"][0]["text"])  # type: ignore[attr-defined]


async def test_a_step_cancelled_at_any_moment_is_complete_or_absent(store: Store) -> None:
    """Cancel after more and more turns of the loop, until the work completes."""
    turns, ended = 0, False
    while not ended:
        lease = await leased(store)
        stepping = asyncio.ensure_future(append(store, lease, 1, said()))
        for _ in range(turns):
            await asyncio.sleep(0)
        stepping.cancel()
        with suppress(asyncio.CancelledError):
            await stepping
            ended = True
        turns += 1

        with suppress(StaleRun):
            await append(store, lease, 1, said())
        assert await journal(store, lease.run.thread) == [asked(), said()]

    assert turns > 3


async def test_a_tool_that_times_out_on_a_statement_leaves_all_or_nothing(
    store: Store, url: str
) -> None:
    lease = await leased(store)

    async def step() -> None:
        async with store.append(Append(lease, 1, 1)) as tx:
            await tx.execute(INSERT, id=1, taken=1)
            with suppress(TimeoutError):
                async with asyncio.timeout(0):
                    await tx.fetch_all("SELECT id FROM seats")
            assert await tx.fetch_one("SELECT 5 AS five") == {"five": 5}
            await tx.record([said()])

    with suppress(StoreUnavailable):
        await step()
        assert url.startswith("sqlite")

    written = await rows(store, "SELECT id FROM seats")
    assert len(await journal(store, lease.run.thread)) == 1 + len(written)
