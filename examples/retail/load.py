"""Fills the shop's tables from τ-bench's documents.

The documents come from the data set's files, or from lines of the form {"table": …, "id": …,
"record": …}, users and products before orders.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from twelvefold import Transaction

Rows = Iterator[tuple[str, dict[str, Any]]]
"""Tables and rows: a document's own row, then the rows that reference it."""

_ID_OF = {"users": "user_id", "products": "product_id", "orders": "order_id"}
_BATCH = 200


def taubench() -> Path:
    """Return the data set's folder: in TWELVEFOLD_SHARED, or in `shared` beside this checkout."""
    beside = Path(__file__).resolve().parents[3] / "shared"
    return Path(os.environ.get("TWELVEFOLD_SHARED") or beside) / "taubench"


def documents() -> Iterator[Mapping[str, Any]]:
    """Yield the documents of the data set: users and products, then orders."""
    for table in ("users", "products", "orders"):
        path = taubench() / "retail" / "db" / f"{table}.json"
        records = json.loads(path.read_text(encoding="utf-8"))
        yield from ({"table": table, "id": id, "record": one} for id, one in records.items())


async def seed(tx: Transaction, records: Iterable[Mapping[str, Any]] | None = None) -> int:
    """Insert new documents and return their number.

    Raises ValueError for a document of an unknown table, and for an order before its user.
    """
    known = {table: await _ids(tx, table) for table in _ID_OF}
    positions = PositionCounter(after=len(known["users"]))
    new = 0
    rows: list[tuple[str, dict[str, Any]]] = []
    for document in documents() if records is None else records:
        of_document = list(positions.rows(document))
        if document["id"] not in known[document["table"]]:
            new += 1
            rows += of_document
    await insert(tx, rows)
    return new


async def _ids(tx: Transaction, table: str) -> set[str]:
    rows = await tx.fetch_all(f"select {_ID_OF[table]} as id from {table}")  # noqa: S608 - our own
    return {row["id"] for row in rows}


class PositionCounter:
    """Assigns positions to users and orders; the documents do not contain them."""

    def __init__(self, *, after: int = 0) -> None:
        self._after = after
        self._users: dict[str, int] = {}
        self._orders: dict[str, int] = {}

    def rows(self, document: Mapping[str, Any]) -> Rows:
        """Yield the rows of a document. The position of an order is that in its user's list."""
        id, record = document["id"], document["record"]
        match document["table"]:
            case "users":
                self._orders.update((order, n) for n, order in enumerate(record["orders"]))
                place = self._after + self._users.setdefault(id, len(self._users))
                return _user_rows(id, place, record)
            case "products":
                return _product_rows(record)
            case "orders" if id in self._orders:
                return _order_rows(self._orders[id], record)
            case "orders":
                raise ValueError(f"order {id!r} comes before its user")
            case unknown:
                raise ValueError(f"no table {unknown!r}; there are users, products and orders")


async def insert(tx: Transaction, rows: Iterable[tuple[str, dict[str, Any]]]) -> None:
    """Insert rows in batches, in the order of the tables and rows."""
    by_table: dict[str, list[dict[str, Any]]] = {}
    for table, row in rows:
        by_table.setdefault(table, []).append(row)
    for table, of_table in by_table.items():
        for start in range(0, len(of_table), _BATCH):
            await _insert_batch(tx, table, of_table[start : start + _BATCH])


async def _insert_batch(tx: Transaction, table: str, rows: list[dict[str, Any]]) -> None:
    columns = list(rows[0])
    marks = (
        "(" + ", ".join(f":{column}_{n}" for column in columns) + ")" for n in range(len(rows))
    )
    # Table and column names come from this module; values are bound.
    statement = f"insert into {table} ({', '.join(columns)}) values {', '.join(marks)}"  # noqa: S608
    values = {f"{column}_{n}": row[column] for n, row in enumerate(rows) for column in columns}
    await tx.execute(statement, **values)


def _user_rows(user_id: str, position: int, user: Mapping[str, Any]) -> Rows:
    name = user["name"]
    yield (
        "users",
        {
            "user_id": user_id,
            "position": position,
            "first_name": name["first_name"],
            "last_name": name["last_name"],
            "first_name_lower": name["first_name"].lower(),
            "last_name_lower": name["last_name"].lower(),
            "email": user["email"],
            "email_lower": user["email"].lower(),
            **_address(user["address"]),
        },
    )
    for n, method in enumerate(user["payment_methods"].values()):
        balance = method.get("balance")
        yield (
            "payment_methods",
            {
                "user_id": user_id,
                "payment_method_id": method["id"],
                "position": n,
                "source": method["source"],
                "brand": method.get("brand"),
                "last_four": method.get("last_four"),
                "balance": balance,
                "balance_is_int": None if balance is None else isinstance(balance, int),
            },
        )


def _product_rows(product: Mapping[str, Any]) -> Rows:
    yield "products", {"product_id": product["product_id"], "name": product["name"]}
    for n, variant in enumerate(product["variants"].values()):
        yield (
            "variants",
            {
                "item_id": variant["item_id"],
                "product_id": product["product_id"],
                "position": n,
                "available": variant["available"],
                "price": variant["price"],
            },
        )
        for m, (name, value) in enumerate(variant["options"].items()):
            option = {"item_id": variant["item_id"], "position": m, "name": name, "value": value}
            yield "variant_options", option


def _order_rows(position: int, order: Mapping[str, Any]) -> Rows:
    order_id = order["order_id"]
    difference = order.get("exchange_price_difference")
    yield (
        "orders",
        {
            "order_id": order_id,
            "user_id": order["user_id"],
            "position": position,
            "status": order["status"],
            **_address(order["address"]),
            "cancel_reason": order.get("cancel_reason"),
            "return_payment_method_id": order.get("return_payment_method_id"),
            "exchange_payment_method_id": order.get("exchange_payment_method_id"),
            "exchange_price_difference": difference,
            "exchange_price_difference_is_int": None
            if difference is None
            else isinstance(difference, int),
        },
    )
    for n, item in enumerate(order["items"]):
        yield from _item_rows(order_id, n, item)
    for n, payment in enumerate(order["payment_history"]):
        is_int = isinstance(payment["amount"], int)
        yield (
            "payment_history",
            {"order_id": order_id, "position": n, **payment, "amount_is_int": is_int},
        )
    for n, fulfillment in enumerate(order["fulfillments"]):
        yield from _fulfillment_rows(order_id, n, fulfillment)
    for request in ("return_items", "exchange_items", "exchange_new_items"):
        for n, item_id in enumerate(order.get(request, [])):
            row = {"order_id": order_id, "request": request, "position": n, "item_id": item_id}
            yield "requested_items", row


def _item_rows(order_id: str, position: int, item: Mapping[str, Any]) -> Rows:
    columns = {key: item[key] for key in ("name", "product_id", "item_id", "price")}
    yield "order_items", {"order_id": order_id, "position": position, **columns}
    for n, (name, value) in enumerate(item["options"].items()):
        yield (
            "order_item_options",
            {
                "order_id": order_id,
                "item_position": position,
                "position": n,
                "name": name,
                "value": value,
            },
        )


def _fulfillment_rows(order_id: str, position: int, fulfillment: Mapping[str, Any]) -> Rows:
    (tracking_id,) = fulfillment["tracking_id"]
    row = {"order_id": order_id, "position": position, "tracking_id": tracking_id}
    yield "fulfillments", row
    for n, item_id in enumerate(fulfillment["item_ids"]):
        yield (
            "fulfillment_items",
            {
                "order_id": order_id,
                "fulfillment_position": position,
                "position": n,
                "item_id": item_id,
            },
        )


def _address(address: Mapping[str, Any]) -> dict[str, Any]:
    keys = list(address)
    return {**address, "state_before_country": keys.index("state") < keys.index("country")}
