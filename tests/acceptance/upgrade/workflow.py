"""Workflows that the processes of both releases load.

`orders` uses none of the features that came with schema 0006. `reminder` has a tool that waits,
where the release can; in the release before, the same workflow has a tool that returns at once.

Environment: `UPGRADE_CHARGES` is the file that stands for a payment service: a line for each
request, with the key of the call.
"""

import os
from datetime import timedelta

import twelvefold
from twelvefold import CallKey, Transaction, Workflow, tool

CHARGES = os.environ.get("UPGRADE_CHARGES", "")
WAIT_S = 1.0
SCHEMA = """
create table if not exists orders
  (id bigint auto_increment primary key, ticket varchar(80) not null);
create table if not exists refunds
  (id bigint auto_increment primary key, ticket varchar(80) not null);
"""


@tool
async def place_order(tx: Transaction, ticket: str) -> str:
    """Place the order."""
    await tx.execute("insert into orders (ticket) values (:ticket)", ticket=ticket)
    return f"{ticket} is ordered"


@tool
async def charge(key: CallKey, ticket: str) -> str:
    """Charge the customer's card."""
    descriptor = os.open(CHARGES, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{ticket} {key}\n".encode())
    finally:
        os.close(descriptor)
    return f"{ticket} is paid"


@tool(approval=True)
async def refund(tx: Transaction, ticket: str) -> str:
    """Pay the money back; a person allows it first."""
    await tx.execute("insert into refunds (ticket) values (:ticket)", ticket=ticket)
    return f"{ticket} is refunded"


@tool
async def send_letter(tx: Transaction, ticket: str) -> str:
    """Send the confirmation by mail."""
    await tx.send_mail("customer@upgrade.example", ticket, f"Your case {ticket} is closed.")
    return f"{ticket} is on its way"


orders = Workflow(
    name="orders",
    instructions="You handle orders.",
    tools=(place_order, charge, refund, send_letter),
    schema=SCHEMA,
)

if hasattr(twelvefold, "Wait"):

    @tool(effect="pure")
    async def remind(ticket: str) -> twelvefold.Wait:
        """Wait."""
        return twelvefold.Wait(until=timedelta(seconds=WAIT_S))

else:

    @tool(effect="pure")
    async def remind(ticket: str) -> str:
        """Wait."""
        return f"{ticket} has waited"


reminder = Workflow(name="reminder", instructions="You remind.", tools=(remind,))
