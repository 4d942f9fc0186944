"""A support desk: orders, refunds that a person approves, parcels, invoices and reminders."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from support.billing import billing
from support.carrier import Carrier, open_carrier

from twelvefold import (
    Ask,
    DuplicateRow,
    Principal,
    ReadOnly,
    Resource,
    ToolRefused,
    Transaction,
    Wait,
    Workflow,
    tool,
)

LARGE_REFUND_CENTS = 5_000
"""A person approves a refund of more than this."""


@tool
async def find_order(db: ReadOnly, who: Principal, number: int) -> dict[str, Any]:
    """Find one of the caller's orders by its number."""
    order = await db.fetch_one(
        "select number, item, paid_cents, refunded_cents, parcel, status"
        "  from support_orders where number = :number and customer = :customer",
        number=number,
        customer=who.id,
    )
    if order is None:
        raise ToolRefused(f"the caller has no order {number}; ask for the number on the receipt")
    return order


@tool(effect="pure")
async def track_parcel(carrier: Resource[Carrier], parcel: str) -> str:
    """Ask the carrier where a parcel is."""
    return await carrier.status(parcel)


@tool(
    requires="find_order",
    approval=lambda arguments: arguments["cents"] > LARGE_REFUND_CENTS,
    approval_timeout_s=7 * 24 * 3600,
)
async def refund(tx: Transaction, who: Principal, number: int, cents: int, reason: str) -> str:
    """Refund an order of the caller, whole or in part. `cents` is the amount in cents."""
    changed = await tx.execute(
        "update support_orders set refunded_cents = refunded_cents + :cents"
        " where number = :number and customer = :customer and :cents > 0"
        " and refunded_cents + :cents <= paid_cents",
        number=number,
        customer=who.id,
        cents=cents,
    )
    if not changed:
        raise ToolRefused(
            f"order {number} has less than {cents} cents left; find_order says how much"
        )
    await tx.send_mail(
        who.id, f"Refund for order {number}", f"We refund {cents / 100:.2f} EUR: {reason}"
    )
    return f"refunded {cents} cents"


@tool(requires="find_order")
async def choose_replacement(db: ReadOnly, item: str) -> str | Ask:
    """Let the customer choose another article of the same kind in place of an order."""
    rows = await db.fetch_all(
        "select name from support_articles where kind ="
        " (select kind from support_articles where name = :item) and name <> :item"
        " order by name limit 5",
        item=item,
    )
    if not rows:
        return "there is no other article of this kind"
    names = ", ".join(row["name"] for row in rows)
    return Ask(f"Which article would you like in place of {item}: {names}?", str)


@tool
async def remind_me(tx: Transaction, who: Principal, days: int, text: str) -> Wait:
    """Wait for some days, and then remind the customer."""
    try:
        await tx.execute(
            "insert into support_reminders (customer, text) values (:customer, :text)",
            customer=who.id,
            text=text,
        )
    except DuplicateRow:
        raise ToolRefused("the customer has this reminder already") from None
    return Wait(until=timedelta(days=days))


workflow = Workflow(
    name="support",
    instructions=(
        "You answer customers of a shop. Never answer from memory: use the tools. Find the order "
        "before you refund or replace it. A receipt may come as an image; its order number is on "
        "the first line. Give questions about invoices to billing."
    ),
    tools=(
        find_order,
        track_parcel,
        refund,
        choose_replacement,
        remind_me,
        billing.as_tool("Answers questions about invoices and payments."),
    ),
    resources=open_carrier,
    schema=(Path(__file__).parent / "schema.sql").read_text(),
)
