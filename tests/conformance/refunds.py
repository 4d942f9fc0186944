"""A workflow with one tool, which a person has to allow."""

from typing import Any

from twelvefold import Transaction, Workflow, tool


@tool(approval=True)
async def refund(tx: Transaction, order: str) -> dict[str, Any]:
    """Give the money of an order back."""
    await tx.execute("insert into refunds (order_id) values (:order)", order=order)
    return {"refunded": order}


workflow = Workflow(
    "refunds",
    "You give money back.",
    (refund,),
    schema="create table if not exists refunds (order_id varchar(40) not null);",
)
