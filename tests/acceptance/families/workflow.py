"""A firm whose boss lets clerks buy: three at once by a fan-out, then one as a tool."""

import asyncio

from twelvefold import FanOut, Principal, Transaction, Workflow, tool
from twelvefold.core.ports import Listener, ModelReply, ModelRequest
from twelvefold.services.model.scripted import Scripted, ScriptedModel, calls, says

FAN_OUT = ("a", "b", "c")
CLERKS = (*FAN_OUT, "d")
REPLY_S = 0.05
SCHEMA = "create table if not exists purchases (item varchar(64) not null, who varchar(64));"


@tool
async def buy(tx: Transaction, who: Principal, item: str) -> str:
    """Buy an item."""
    await tx.execute(
        "insert into purchases (item, who) values (:item, :who)", item=item, who=who.id
    )
    return f"bought {item}"


clerk = Workflow("clerk", "clerk", (buy,), schema=SCHEMA)


@tool(effect="pure")
async def buy_all(items: list[str]) -> FanOut:
    """Buy several items, each by a clerk."""
    return FanOut(clerk.task(item) for item in items)


boss = Workflow("boss", "boss", (buy_all, clerk.as_tool("Buys one item.")), children=(clerk,))


def script(request: ModelRequest) -> Scripted:
    """Reply by what the conversation has so far."""
    text = str(request.items[0]["content"][0]["text"])
    results = sum(item.get("type") == "function_call_output" for item in request.items)
    if request.instructions == "clerk":
        return says(f"I bought {text}.") if results else calls(("buy", {"item": text}))
    if not results:
        return calls(("buy_all", {"items": [f"{text}-{one}" for one in FAN_OUT]}))
    if results == 1:
        return calls(("clerk", {"input": f"{text}-{CLERKS[-1]}"}))
    return says("All is bought.")


class PacedModel(ScriptedModel):
    """The script's replies, each after a time as a model takes it."""

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        await asyncio.sleep(REPLY_S)
        return await super().reply(request, listener)
