"""A refund agent: it refunds orders of the caller; a person approves what is over 50 dollars."""

from collections.abc import Iterable, Mapping
from typing import Any

from twelvefold import Principal, ReadOnly, ToolRefused, Transaction, Workflow, tool


@tool
async def find_order(db: ReadOnly, who: Principal, number: int) -> dict[str, Any]:
    """Find one of the caller's orders by its number. Amounts are in dollars."""
    order = await db.fetch_one(
        "select number, item, paid, refunded from refund_orders"
        " where number = :number and customer = :customer",
        number=number,
        customer=who.id,
    )
    if order is None:
        raise ToolRefused(f"the caller has no order {number}; ask for the number on the receipt")
    return order


def is_large(arguments: Mapping[str, Any]) -> bool:
    """Whether a person has to approve a refund."""
    return int(arguments["dollars"]) > 50


@tool(requires="find_order", approval=is_large, approval_timeout_s=7 * 24 * 3600)
async def refund(tx: Transaction, who: Principal, number: int, dollars: int) -> str:
    """Refund an order of the caller, whole or in part."""
    changed = await tx.execute(
        "update refund_orders set refunded = refunded + :dollars where number = :number"
        " and customer = :customer and :dollars > 0 and refunded + :dollars <= paid",
        number=number,
        customer=who.id,
        dollars=dollars,
    )
    if not changed:
        raise ToolRefused(f"order {number} has less than {dollars} left; see find_order")
    await tx.send_mail(who.id, f"Refund for order {number}", f"You get {dollars} dollars back.")
    return f"refunded {dollars} dollars"


async def seed(tx: Transaction, records: Iterable[Mapping[str, Any]] | None) -> int:
    """Write orders, by default one to try the workflow with."""
    orders = list(records or [{"number": 1002, "customer": "you@example.org", "paid": 80}])
    for order in orders:
        sql = "insert into refund_orders values (:number, :customer, 'lamp', :paid, 0)"
        await tx.execute(sql, **order)
    return len(orders)


workflow = Workflow(
    name="refund",
    instructions="You refund orders. Never answer from memory: use the tools.",
    tools=(find_order, refund),
    schema="""
        create table if not exists refund_orders (
            number integer primary key, customer varchar(255) not null, item varchar(100) not null,
            paid integer not null, refunded integer not null
        );
    """,
    seed=seed,
)
