"""A shop that asks its customer, waits for a payment and for a time, and lets a person decide."""

import asyncio
from datetime import timedelta
from typing import Literal

from twelvefold import Ask, Transaction, Wait, Workflow, tool
from twelvefold.core.ports import Listener, ModelReply, ModelRequest
from twelvefold.services.model.scripted import Scripted, ScriptedModel, calls, says

REPLY_S = 0.05
HOLD_S = 0.1
"""How long the step that begins to wait for a payment takes: events come during it, too."""
WAIT_S = 0.5
SCHEMA = """
create table if not exists reservations
  (id bigint auto_increment primary key, number varchar(64) not null);
create table if not exists sales
  (id bigint auto_increment primary key, number varchar(64) not null, price integer not null);
"""


@tool(effect="pure")
async def ask_colour() -> Ask:
    """Ask the customer for a colour."""
    return Ask("Which colour?", schema=Literal["red", "blue"])


@tool
async def await_payment(tx: Transaction, number: str) -> Wait:
    """Reserve an article, and wait for its payment."""
    await tx.execute("insert into reservations (number) values (:number)", number=number)
    await asyncio.sleep(HOLD_S)
    return Wait(event=f"payment:{number}", timeout=timedelta(hours=1))


@tool(effect="pure")
async def pause() -> Wait:
    """Wait a moment."""
    return Wait(until=timedelta(seconds=WAIT_S))


@tool(approval=True)
async def sell(tx: Transaction, number: str, price: int) -> str:
    """Sell an article; a person allows it first, and may change the price."""
    await tx.execute(
        "insert into sales (number, price) values (:number, :price)", number=number, price=price
    )
    return f"{number} is sold for {price}"


shop = Workflow("shop", "shop", (ask_colour, await_payment, pause, sell), schema=SCHEMA)


def script(request: ModelRequest) -> Scripted:
    """Reply by what the conversation has so far."""
    number = str(request.items[0]["content"][0]["text"])
    plan = [
        ("ask_colour", {}),
        ("await_payment", {"number": number}),
        ("pause", {}),
        ("sell", {"number": number, "price": 5}),
    ]
    results = sum(item.get("type") == "function_call_output" for item in request.items)
    return calls(plan[results]) if results < len(plan) else says("All is sold.")


class PacedModel(ScriptedModel):
    """The script's replies, each after a time as a model takes it."""

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        await asyncio.sleep(REPLY_S)
        return await super().reply(request, listener)
