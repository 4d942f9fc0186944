"""No transaction of a web process or a worker uses the rows of two families, on every database."""

import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.builders import asked, finished, said
from tests.services.store.builders import LONG_S, append, leased, new_run
from tests.services.store.shards import Shards, shards_of
from tests.services.store.test_shards import statements
from twelvefold.boot import RandomIds
from twelvefold.core.ids import RunId, ThreadId, family_of
from twelvefold.core.ports import Append, IdempotentRequest, Store
from twelvefold.services.store.connection import Connection
from twelvefold.services.store.sql.store import SQLStore

IDS = RandomIds()
REQUEST = IdempotentRequest("once", "ab" * 32)
_ID = re.compile(r"[0-9a-f]{44}(?=\.|\Z)")
Open = Callable[[], AbstractAsyncContextManager[Connection]]


class RecordedConnection:
    """A connection of one transaction, which records families and statements without a thread."""

    def __init__(self, db: Connection, scattered: frozenset[str]) -> None:
        self._db = db
        self._scattered = scattered
        self.families: set[str] = set()
        self.scattered: list[str] = []

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._db, name)
        if name not in ("execute", "fetch", "defer"):
            return found

        def recorded(statement: str, values: Mapping[str, Any], *others: Any, **named: Any) -> Any:
            ids = [_ID.match(value) for value in values.values() if isinstance(value, str)]
            self.families |= {family_of(ThreadId(id[0])) for id in ids if id}
            self.scattered += {_start_of(statement)} & self._scattered
            return found(statement, values, *others, **named)

        return recorded


def _start_of(statement: str) -> str:
    """Return the text before a list of values, which is expanded."""
    return statement.partition(":threads")[0]


@pytest.fixture
def transactions(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[RecordedConnection]:
    assert isinstance(store, SQLStore)
    scattered = {name.partition(" ")[2] for name, text in statements().items() if is_scatter(text)}
    texts = frozenset(_start_of(store._sql[name]) for name in scattered if name in store._sql)
    made: list[RecordedConnection] = []

    def record(opened: Open) -> Open:
        @asynccontextmanager
        async def opening() -> AsyncIterator[Any]:
            async with opened() as db:
                made.append(RecordedConnection(db, texts))
                yield made[-1]

        return opening

    for name in ("_transaction", "_tool_transaction"):
        monkeypatch.setattr(store, name, record(getattr(store, name)))
    return made


def is_scatter(statement: str) -> bool:
    return shards_of(statement) is Shards.ALL


async def ended(store: Store, thread: ThreadId | None = None) -> RunId:
    """A run that is over, with a mail."""
    lease = await leased(store, thread or IDS.thread())
    async with store.append(Append(lease, 1, 1, "completed")) as tx:
        await tx.send_mail("ann@example.org", "You are in", "Welcome.")
        await tx.record([finished()])
    return lease.run


async def forked(store: Store, origin: ThreadId) -> ThreadId:
    """A fork that began with a run, whose title no list has determined yet."""
    fork = IDS.thread_in_family(origin)
    new = new_run(fork, ordinal=2, head=2, request=REQUEST)
    await store.start(replace(new, forked_from=origin), asked("again"), None)
    return fork


async def test_a_transaction_uses_the_rows_of_one_family(
    store: Store, transactions: list[RecordedConnection]
) -> None:
    first, second = await ended(store), await ended(store)
    fork = await forked(store, first.thread)
    again = IDS.thread_in_family(second.thread)
    await store.fork(second.thread, 2, again)
    await store.add_items(again, 2, 1, said())
    listed = await store.threads("ann", limit=10)
    claim = await store.claim(RunId(fork, 2), LONG_S)
    assert claim is not None
    await append(store, claim.lease, 3, finished(), status="completed")
    for message in await store.due_messages(10):
        assert await store.claim_message(message, LONG_S)
        await store.message_sent(message)
    await store.delete_run(first)
    await store.threads("ann", limit=10)
    await store.delete_thread(second.thread)

    assert {one.head.id for one in listed} == {first.thread, second.thread, fork, again}
    assert [one.families for one in transactions if len(one.families) > 1] == []
    assert [one.scattered for one in transactions if one.scattered] == []
    assert len({family for one in transactions for family in one.families}) == 2


async def test_a_prune_uses_several_families_in_a_transaction(
    store: Store, transactions: list[RecordedConnection]
) -> None:
    for _ in range(2):
        await ended(store)
    async with store.write() as tx:
        await tx.execute("UPDATE outbox SET sent_at = 1")

    assert await store.prune(before_us=2**62) == 2

    assert any(len(one.families) > 1 or one.scattered for one in transactions)
