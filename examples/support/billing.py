"""Billing: a workflow of its own, which the support desk calls as a tool."""

from dataclasses import dataclass
from typing import Any

from twelvefold import Principal, ReadOnly, Workflow, tool


@dataclass
class BillingAnswer:
    """The answer of billing. `open_cents` is what the customer still has to pay."""

    answer: str
    open_cents: int


@tool
async def list_invoices(db: ReadOnly, who: Principal) -> list[dict[str, Any]]:
    """List the caller's invoices, the newest first. `paid` is 1 for a paid invoice."""
    return await db.fetch_all(
        "select number, cents, paid from support_invoices where customer = :customer"
        " order by number desc limit 20",
        customer=who.id,
    )


billing = Workflow(
    name="billing",
    instructions="You answer questions about invoices. Never answer from memory: use the tools.",
    tools=(list_invoices,),
    output=BillingAnswer,
)
