"""Ann, whose workflow asks Bob, and Carol, who is not asked: each with a key of their own."""

from typing import Any, Literal

import httpx2

from tests.engine.stage import refund
from tests.web.doubles import OTHER, TOKEN, api_key
from tests.web.serving import Json, Serve, Served
from twelvefold import Ask, Workflow, tool
from twelvefold.core.ports import ModelRequest
from twelvefold.services.model.scripted import Scripted, calls, says

CAROL = f"tw_{'c' * 43}"


@tool(effect="pure")
async def ask_bob(city: str) -> Ask:
    """Ask bob."""
    return Ask(f"Is {city} nice?", schema=Literal["yes", "no"], person="bob")


@tool(effect="pure")
async def ask_caller(city: str) -> Ask:
    """Ask the caller."""
    return Ask(f"Is {city} nice?", schema=int)


SHOP = Workflow("shop", "Sell.", (ask_bob, ask_caller, refund))
CLERK = Workflow("clerk", "clerk", (ask_bob,))
FAMILY = Workflow[Any]("shop", "boss", (CLERK.as_tool("Asks."),))


async def people(serve: Serve, **how: Any) -> tuple[Served, Served, Served]:
    """Ann, Bob and Carol, each with a key of their own."""
    ann, bob, carol = [
        await serve(**{"workflow": SHOP} | how, headers={"authorization": f"Bearer {token}"})
        for token in (TOKEN, OTHER, CAROL)
    ]
    store = ann.web.services.store
    await store.add_key(api_key())
    await store.add_key(api_key(OTHER, "bob", "key-2"))
    await store.add_key(api_key(CAROL, "carol", "key-3"))
    return ann, bob, carol


def question_of(response: Json) -> str:
    return str(response["output"][-1]["call_id"])


async def give(api: Served, id: str, output: object) -> httpx2.Response:
    return await api.post("/answers", {"call_id": id, "output": output})


def script(request: ModelRequest) -> Scripted:
    results = [item for item in request.items if item.get("type") == "function_call_output"]
    if results:
        return says(f"{request.instructions}: {results[-1]['output']}")
    if request.instructions == "boss":
        return calls(("clerk", {"input": "ask"}))
    return calls(("ask_bob", {"city": "Rome"}))
