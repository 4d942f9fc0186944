"""The workflow that the abusive tenant runs: a tool that takes long, and one that asks a person."""

import asyncio

from twelvefold import Transaction, Workflow, tool


@tool(effect="pure")
async def linger(seconds: int) -> str:
    """Linger for some seconds."""
    await asyncio.sleep(seconds)
    return "done"


@tool(approval=True)
async def refund(tx: Transaction, order: str) -> str:
    """Refund an order; a person allows it first."""
    await tx.fetch_one("select 1 as one")
    return f"{order} is refunded"


workflow = Workflow("slow", "Do what the user asks for.", (linger, refund))
