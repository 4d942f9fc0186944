"""A support desk: orders, refunds that a person approves, parcels, invoices and reminders."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from examples.support.billing import billing
from examples.support.carrier import open_carrier
from examples.support.tools import (
    choose_replacement,
    find_order,
    refund,
    remind_me,
    replace_item,
    send_reminder,
    track_parcel,
)
from twelvefold import Transaction, Workflow

CUSTOMER = "ann@example.org"
ORDERS = [
    {"number": 1002, "customer": CUSTOMER, "item": "desk lamp", "cents": 8_000, "parcel": "P-1002"},
    {"number": 1003, "customer": CUSTOMER, "item": "kettle", "cents": 4_500, "parcel": "P-1003"},
]
ARTICLES = {"desk lamp": "lamp", "floor lamp": "lamp", "wall lamp": "lamp", "kettle": "kettle"}


async def seed(tx: Transaction, records: Iterable[Mapping[str, Any]] | None) -> int:
    """Write orders with their invoices, and the articles. The last invoice is not paid."""
    orders = list(records or ORDERS)
    for order in orders:
        await tx.execute(
            "insert into support_orders values (:number, :customer, :item, :cents, 0, :parcel)",
            **order,
        )
        await tx.execute(
            "insert into support_invoices values (:number, :customer, :cents, :paid)",
            number=order["number"],
            customer=order["customer"],
            cents=order["cents"],
            paid=int(order is not orders[-1]),
        )
    for name, kind in ARTICLES.items():
        await tx.execute("insert into support_articles values (:name, :kind)", name=name, kind=kind)
    return 2 * len(orders) + len(ARTICLES)


workflow = Workflow(
    name="support",
    instructions=(
        "You answer customers of a shop. Never answer from memory: use the tools. Find an order "
        "before you refund or replace it. A receipt may come as an image; the number of the order "
        "is on its first line. Give questions about invoices to billing."
    ),
    tools=(
        find_order,
        track_parcel,
        refund,
        choose_replacement,
        replace_item,
        remind_me,
        send_reminder,
        billing.as_tool("Answers questions about invoices and payments."),
    ),
    resources=open_carrier,
    schema=(Path(__file__).parent / "schema.sql").read_text(),
    seed=seed,
)
