"""Formats rows as the JSON documents that the tools return, with the keys in their exact order.

Recorded conversations are compared with these texts byte by byte.
"""

import json
from itertools import groupby
from typing import Any

from examples.retail.records import (
    Line,
    PaymentMethod,
    lines_of,
    number,
    payment_methods_of,
    payments_of,
)
from examples.retail.sql import SQL
from twelvefold import ReadOnly

Document = dict[str, Any]
Row = dict[str, Any]


def text_of(document: Document) -> str:
    """Format a document with `", "` and `": "` as separators, and non-ASCII as `\\uXXXX`."""
    return json.dumps(document)


async def user_document(db: ReadOnly, user_id: str) -> Document | None:
    """A user with payment methods and order ids; None if there is no such user."""
    user = await db.fetch_one(SQL["user"], user_id=user_id)
    if user is None:
        return None
    methods = await payment_methods_of(db, user_id)
    orders = await db.fetch_all(SQL["order_ids"], user_id=user_id)
    return {
        "name": {"first_name": user["first_name"], "last_name": user["last_name"]},
        "address": _address(user),
        "email": user["email"],
        "payment_methods": {method.id: _payment_method(method) for method in methods.values()},
        "orders": [row["order_id"] for row in orders],
    }


async def product_document(db: ReadOnly, product_id: str) -> Document | None:
    """A product with all its variants; None if there is no such product."""
    rows = await db.fetch_all(SQL["product"], product_id=product_id)
    if not rows:
        return None
    variants = {
        item_id: _variant(list(of_item))
        for item_id, of_item in groupby(rows, key=lambda row: row["item_id"])
    }
    return {"name": rows[0]["name"], "product_id": product_id, "variants": variants}


async def order_document(db: ReadOnly, order_id: str) -> Document | None:
    """An order with everything below it; None if there is no such order."""
    order = await db.fetch_one(SQL["order"], order_id=order_id)
    if order is None:
        return None
    lines = await lines_of(db, order_id)
    payments = await payments_of(db, order_id)
    return {
        "order_id": order["order_id"],
        "user_id": order["user_id"],
        "address": _address(order),
        "items": [_line(line) for line in lines],
        "fulfillments": await _fulfillments(db, order_id),
        "status": order["status"],
        "payment_history": [
            {
                "transaction_type": payment.transaction_type,
                "amount": payment.amount,
                "payment_method_id": payment.method_id,
            }
            for payment in payments
        ],
        **await _requests(db, order),
    }


def _address(row: Row) -> Document:
    # An original address has the country before the state, a changed one the state first.
    keys = ["address1", "address2", "city", "country", "state", "zip"]
    if row["state_before_country"]:
        keys = ["address1", "address2", "city", "state", "country", "zip"]
    return {key: row[key] for key in keys}


def _payment_method(method: PaymentMethod) -> Document:
    match method.source:
        case "credit_card":
            fields: Document = {"brand": method.brand, "last_four": method.last_four}
        case "gift_card":
            fields = {"balance": method.balance}
        case _:
            fields = {}
    return {"source": method.source, **fields, "id": method.id}


def _variant(rows: list[Row]) -> Document:
    options = {row["option_name"]: row["option_value"] for row in rows}
    options.pop(None, None)  # a variant without options is one row without an option
    return {
        "item_id": rows[0]["item_id"],
        "options": options,
        "available": bool(rows[0]["available"]),
        "price": rows[0]["price"],
    }


def _line(line: Line) -> Document:
    return {
        "name": line.name,
        "product_id": line.product_id,
        "item_id": line.item_id,
        "price": line.price,
        "options": line.options,
    }


async def _fulfillments(db: ReadOnly, order_id: str) -> list[Document]:
    rows = await db.fetch_all(SQL["fulfillments"], order_id=order_id)
    return [
        {"tracking_id": [tracking_id], "item_ids": [row["item_id"] for row in of_parcel]}
        for (_, tracking_id), of_parcel in groupby(
            rows, key=lambda row: (row["position"], row["tracking_id"])
        )
    ]


async def _requests(db: ReadOnly, order: Row) -> Document:
    """Return the fields that tools add at the end of an order, each kind at most once."""
    if order["cancel_reason"] is not None:
        return {"cancel_reason": order["cancel_reason"]}
    if order["return_payment_method_id"] is not None:
        return {
            "return_items": await _requested(db, order, "return_items"),
            "return_payment_method_id": order["return_payment_method_id"],
        }
    if order["exchange_payment_method_id"] is not None:
        return {
            "exchange_items": await _requested(db, order, "exchange_items"),
            "exchange_new_items": await _requested(db, order, "exchange_new_items"),
            "exchange_payment_method_id": order["exchange_payment_method_id"],
            "exchange_price_difference": number(
                order["exchange_price_difference"], order["exchange_price_difference_is_int"]
            ),
        }
    return {}


async def _requested(db: ReadOnly, order: Row, request: str) -> list[str]:
    rows = await db.fetch_all(SQL["requested_items"], order_id=order["order_id"], request=request)
    return [row["item_id"] for row in rows]
