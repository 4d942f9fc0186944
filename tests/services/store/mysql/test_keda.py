"""The queries by which KEDA scales the workers, on a server."""

from collections.abc import AsyncIterator

import pytest
import yaml

from tests.ci.workflow import ROOT
from tests.services.store.builders import emptied, leased, queued, rows
from twelvefold.core.ports import Store
from twelvefold.services.store import open_store

pytestmark = pytest.mark.mysql
SCALER = ROOT / "deploy" / "kubernetes" / "keda" / "scaler.yaml"
[AGE, LENGTH] = [
    trigger["metadata"]["query"]
    for resource in yaml.safe_load_all(SCALER.read_text())
    if resource["kind"] == "ScaledObject"
    for trigger in resource["spec"]["triggers"]
]


@pytest.fixture
async def store(mariadb_url: str) -> AsyncIterator[Store]:
    store = await open_store(mariadb_url, pool_size=2)
    await emptied(store)
    yield store
    await store.close()


async def measured(store: Store, query: str) -> float:
    [row] = await rows(store, query)
    [value] = row.values()
    return float(value)


async def test_an_empty_queue_has_no_age_and_no_length(store: Store) -> None:
    await leased(store)

    assert [await measured(store, query) for query in (AGE, LENGTH)] == [0, 0]


async def test_the_age_is_that_of_the_run_that_waits_longest(store: Store) -> None:
    run = await queued(store)
    await queued(store)
    async with store.write() as tx:
        await tx.execute(
            "UPDATE runs SET lease_until = lease_until - 60000000 WHERE thread_id = :thread",
            thread=run.thread,
        )

    assert 60 <= await measured(store, AGE) < 90
    assert await measured(store, LENGTH) == 2


async def test_a_run_that_was_given_back_to_be_continued_first_has_no_age(store: Store) -> None:
    lease = await leased(store)
    await store.release(lease)

    assert await measured(store, AGE) == 0
    assert await measured(store, LENGTH) == 1
