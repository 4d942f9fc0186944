"""The tools of the support desk."""

from datetime import timedelta
from typing import Any

from examples.support.carrier import Carrier, UnknownParcel
from twelvefold import (
    Ask,
    DuplicateRow,
    Principal,
    ReadOnly,
    Resource,
    ToolRefused,
    Transaction,
    Wait,
    tool,
)

LARGE_REFUND_CENTS = 5_000
"""A person approves a refund of more than this."""
APPROVAL_TIMEOUT_S = 7 * 24 * 3600
"""A refund that a person has not approved after a week is denied."""


@tool
async def find_order(db: ReadOnly, who: Principal, number: int) -> dict[str, Any]:
    """Find one of the caller's orders by its number. Amounts are in cents."""
    order = await db.fetch_one(
        "select number, item, paid_cents, refunded_cents, parcel from support_orders"
        " where number = :number and customer = :customer",
        number=number,
        customer=who.id,
    )
    if order is None:
        raise ToolRefused(f"the caller has no order {number}; ask for the number on the receipt")
    return order


@tool(effect="pure")
async def track_parcel(carrier: Resource[Carrier], parcel: str) -> str:
    """Return where a parcel is. find_order gives its number."""
    try:
        return await carrier.find(parcel)
    except UnknownParcel:
        raise ToolRefused(f"the carrier has no parcel {parcel}; see find_order") from None


def is_large(arguments: dict[str, Any]) -> bool:
    """Whether a person has to approve a refund: that of a whole order, or of a large amount."""
    cents = arguments.get("cents")
    return cents is None or int(cents) > LARGE_REFUND_CENTS


@tool(requires="find_order", approval=is_large, approval_timeout_s=APPROVAL_TIMEOUT_S)
async def refund(
    tx: Transaction, who: Principal, number: int, reason: str, cents: int | None = None
) -> str:
    """Refund an order of the caller: an amount in cents, or without one what is left of it."""
    order = await tx.fetch_one(
        "select paid_cents - refunded_cents as rest from support_orders"
        " where number = :number and customer = :customer",
        number=number,
        customer=who.id,
    )
    amount = cents if cents is not None else int(order["rest"]) if order else 0
    changed = await tx.execute(
        "update support_orders set refunded_cents = refunded_cents + :amount"
        " where number = :number and customer = :customer and :amount > 0"
        " and refunded_cents + :amount <= paid_cents",
        number=number,
        customer=who.id,
        amount=amount,
    )
    if not changed:
        raise ToolRefused(f"order {number} has less than {amount} cents left; see find_order")
    text = f"We refund {amount / 100:.2f} EUR: {reason}"
    await tx.send_mail(who.id, f"Refund for order {number}", text)
    return f"refunded {amount} cents"


@tool(requires="find_order")
async def choose_replacement(db: ReadOnly, item: str) -> str | Ask:
    """Let the customer choose another article of the same kind in place of an item."""
    rows = await db.fetch_all(
        "select other.name from support_articles other join support_articles ordered"
        " on ordered.kind = other.kind and ordered.name <> other.name"
        " where ordered.name = :item order by other.name limit 5",
        item=item,
    )
    if not rows:
        return f"there is no other article of the kind of {item}"
    names = [row["name"] for row in rows]
    question = f"Which article would you like in place of {item}?"
    return Ask(question, schema={"type": "string", "enum": names})


@tool(requires="choose_replacement")
async def replace_item(tx: Transaction, who: Principal, number: int, item: str) -> str:
    """Replace the item of an order with the article that the customer has chosen."""
    changed = await tx.execute(
        "update support_orders set item = :item where number = :number and customer = :customer"
        " and exists (select 1 from support_articles where name = :item)",
        number=number,
        customer=who.id,
        item=item,
    )
    if not changed:
        raise ToolRefused(f"there is no order {number} or no article {item}")
    return f"order {number} is now {item}"


@tool
async def remind_me(tx: Transaction, who: Principal, days: int, note: str) -> Wait:
    """Wait for some days. After that call send_reminder with the same note."""
    insert = "insert into support_reminders (customer, note) values (:customer, :note)"
    try:
        await tx.execute(insert, customer=who.id, note=note)
    except DuplicateRow:
        raise ToolRefused("the customer has this reminder already; say so") from None
    return Wait(until=timedelta(days=days))


@tool(requires="remind_me")
async def send_reminder(tx: Transaction, who: Principal, note: str) -> str:
    """Mail a reminder that is due, and remove it."""
    delete = "delete from support_reminders where customer = :customer and note = :note"
    if not await tx.execute(delete, customer=who.id, note=note):
        raise ToolRefused("there is no such reminder; use the note of remind_me")
    await tx.send_mail(who.id, "A reminder", note)
    return "the reminder is on its way"
