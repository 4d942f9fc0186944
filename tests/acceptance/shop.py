"""A retail database of one's own: filled once, compared and put back after each conversation."""

import hashlib
import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from examples.retail.documents import order_document, user_document
from examples.retail.load import PositionCounter, documents, insert, seed
from examples.retail.workflow import workflow
from tests.acceptance.database import private_database
from twelvefold import ReadOnly, Transaction
from twelvefold.core.ports import Store
from twelvefold.services.store import open_store
from twelvefold.services.store.migrate import migrate

DocumentKey = tuple[str, str]
"""A document's table and id."""

# A document's own table first, then what hangs on it, parents before children.
_ORDER_TABLES = (
    *("orders", "order_items", "order_item_options", "payment_history"),
    *("fulfillments", "fulfillment_items", "requested_items"),
)
_USER_TABLES = ("users", "payment_methods")
_PRODUCT_TABLES = ("products", "variants", "variant_options")
_TABLES = (*_USER_TABLES, *_PRODUCT_TABLES, *_ORDER_TABLES)
_READERS = {"orders": order_document, "users": user_document}


class Shop:
    """The initial state, and one store whose state is compared with it."""

    def __init__(self, store: Store, initial: "Initial", *, is_sqlite: bool) -> None:
        self.store = store
        self.initial = initial
        self._fingerprint_of = _sqlite_fingerprint if is_sqlite else _mysql_fingerprint
        self._pristine: object = None

    async def fill(self) -> None:
        """Empty all tables, load the documents, and remember what they look like then."""
        async with self.store.write() as tx:
            for table in reversed(_TABLES):
                await tx.execute(f"delete from {table}")
            await seed(tx, self.initial.documents)
        self._pristine = await self._fingerprint()

    async def changed(self, suspects: Iterable[DocumentKey]) -> dict[DocumentKey, dict[str, Any]]:
        """Those of the suspects that are not as they were, key order included, as they are now."""
        async with self.store.read() as db:
            now = {key: await _READERS[key[0]](db, key[1]) for key in sorted(suspects)}
        return {
            key: document
            for key, document in now.items()
            if document is not None and json.dumps(document) != self.initial.texts[key]
        }

    async def put_back(self, changed: Iterable[DocumentKey]) -> bool:
        """Write these documents as they were; False if others had changed, too.

        Then everything is loaded anew, so that the database is as it was in any case.
        """
        async with self.store.write() as tx:
            for key in changed:
                await _put_back(tx, key, self.initial.rows[key])
        if await self._fingerprint() == self._pristine:
            return True
        await self.fill()
        return False

    async def _fingerprint(self) -> object:
        async with self.store.write() as tx:
            return await self._fingerprint_of(tx)


class Initial:
    """The shop as shipped: its documents, their texts, and the rows that they are stored in."""

    def __init__(self) -> None:
        positions = PositionCounter()
        self.documents: Sequence[Mapping[str, Any]] = list(documents())
        self.texts = {_key(one): json.dumps(one["record"]) for one in self.documents}
        self.rows = {_key(one): list(positions.rows(one)) for one in self.documents}

    def suspects(self, words: Iterable[str]) -> set[DocumentKey]:
        """The users and orders that are named, and the users of those orders."""
        found = {(table, word) for word in words for table in _READERS} & self.texts.keys()
        orders = (self.rows[key][0][1] for key in found if key[0] == "orders")
        return found | {("users", order["user_id"]) for order in orders}


@asynccontextmanager
async def open_shop(url: str, name: str, initial: Initial) -> AsyncIterator[Shop]:
    """A shop in a new database beside the one of the URL, which is dropped at the end."""
    async with private_database(url, name) as own:
        await migrate(own)
        store = await open_store(own, pool_size=4)
        try:
            await store.run_script(workflow.schema)
            shop = Shop(store, initial, is_sqlite=own.startswith("sqlite"))
            await shop.fill()
            yield shop
        finally:
            await store.close()


def _key(document: Mapping[str, Any]) -> DocumentKey:
    return document["table"], document["id"]


async def _put_back(
    tx: Transaction, key: DocumentKey, rows: Sequence[tuple[str, Mapping[str, Any]]]
) -> None:
    table, id = key
    (_, own), *hanging = rows
    id_column, *columns = own
    tables = _ORDER_TABLES if table == "orders" else _USER_TABLES
    for child in reversed(tables[1:]):
        await tx.execute(f"delete from {child} where {id_column} = :id", id=id)
    # The row itself stays: others refer to it.
    settings = ", ".join(f"{column} = :{column}" for column in columns)
    await tx.execute(f"update {table} set {settings} where {id_column} = :{id_column}", **own)
    await insert(tx, [(child, dict(row)) for child, row in hanging])


async def _mysql_fingerprint(tx: Transaction) -> object:
    # A sum over the rows, so their order in the table is no matter.
    return await tx.fetch_all(f"checksum table {', '.join(_TABLES)}")


async def _sqlite_fingerprint(tx: Transaction) -> object:
    return [await _sqlite_table_hash(tx, table) for table in _TABLES]


async def _sqlite_table_hash(db: ReadOnly, table: str) -> str:
    described = await db.fetch_all("select name from pragma_table_info(:table)", table=table)
    columns = ", ".join(row["name"] for row in described)
    whole = await db.fetch_one(
        f"select json_group_array(json_array({columns})) as text"
        f" from (select * from {table} order by {columns})"
    )
    text = whole["text"] if whole else ""
    return hashlib.sha256(text.encode()).hexdigest()
