"""Cancelling and deleting a run during a step's transaction."""
# ruff: noqa: PT012 - the deletion has to happen inside the step

from collections.abc import AsyncIterator

import pytest

from tests.services.store.builders import emptied, journal, leased
from twelvefold.boot import RandomIds
from twelvefold.core.budget import Limits
from twelvefold.core.ports import Append, Store
from twelvefold.engine.commands import cancel, delete_thread
from twelvefold.engine.retry import RetryPolicy
from twelvefold.engine.services import Services, Timings
from twelvefold.errors import StepUnderWay
from twelvefold.services.model.scripted import ScriptedModel, says
from twelvefold.services.store.mysql.connections import Timeouts
from twelvefold.services.store.mysql.store import MySQLStore
from twelvefold.services.store.mysql.url import connect_arguments

pytestmark = pytest.mark.mysql


@pytest.fixture
async def store(mariadb_url: str) -> AsyncIterator[Store]:
    """A store that waits one second for a lock instead of five."""
    store = MySQLStore(connect_arguments(mariadb_url), 10, timeouts=Timeouts(lock_s=1))
    await emptied(store)
    yield store
    await store.close()


def services(store: Store) -> Services:
    model, timings = ScriptedModel(lambda _: says("hi")), Timings(retry=RetryPolicy(timeout_s=0.05))
    return Services(store, model, {}, RandomIds(), Limits(), "1.0", timings=timings)


async def test_a_cancellation_during_a_step_is_refused_and_succeeds_after_it(
    store: Store,
) -> None:
    lease = await leased(store)

    with pytest.raises(StepUnderWay, match=f"run {lease.run} is in the transaction of a step"):
        async with store.append(Append(lease, 1, 1)) as tx:
            await tx.fetch_one("SELECT 1")
            await cancel(services(store), lease.run)

    assert await cancel(services(store), lease.run) == "cancelled"
    assert len(await journal(store, lease.run.thread)) == 2


async def test_a_deletion_during_a_step_is_refused_and_succeeds_after_it(
    store: Store,
) -> None:
    lease = await leased(store)

    with pytest.raises(StepUnderWay, match="try again when it is over"):
        async with store.append(Append(lease, 1, 1)) as tx:
            await tx.fetch_one("SELECT 1")
            await delete_thread(services(store), lease.run.thread)

    await delete_thread(services(store), lease.run.thread)
    assert (await store.run(lease.run)).cancel_asked
