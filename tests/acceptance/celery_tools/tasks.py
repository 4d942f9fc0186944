"""The Celery app of the comparison: the same three tools in a plain task and in a workflow.

    celery -A tests.acceptance.celery_tools.tasks worker -Q plain

Environment: `BROKER` (the URL of RabbitMQ), and the settings of Twelvefold.
"""

import asyncio
import json
import os
from typing import Any

import aiohttp
from celery import Celery

from twelvefold import Transaction, Workflow, tool
from twelvefold.contrib.celery import CeleryRuns
from twelvefold.services.store import open_store

SCHEMA = "CREATE TABLE IF NOT EXISTS acts (order_id VARCHAR(80) NOT NULL, act VARCHAR(80) NOT NULL)"
"""Without a unique key: a second row is not rejected, but counted."""
ACTS = ("reserve", "charge", "ship")


@tool
async def reserve(tx: Transaction, order: str) -> str:
    """Reserve the goods of an order."""
    return await _act(tx, order, "reserve")


@tool
async def charge(tx: Transaction, order: str) -> str:
    """Charge the customer."""
    return await _act(tx, order, "charge")


@tool
async def ship(tx: Transaction, order: str) -> str:
    """Ship the goods."""
    return await _act(tx, order, "ship")


async def _act(tx: Transaction, order: str, act: str) -> str:
    await tx.execute("INSERT INTO acts (order_id, act) VALUES (:order, :act)", order=order, act=act)
    return f"{act}: done"


workflow = Workflow("orders", "You handle orders.", (reserve, charge, ship), schema=SCHEMA)
app = Celery("comparison", broker=os.environ.get("BROKER", "memory://"))
app.conf.task_routes = {"plain": {"queue": "plain"}, "twelvefold.advance": {"queue": "advance"}}
app.conf.worker_prefetch_multiplier = 1
runs = CeleryRuns(app)


@app.task(name="plain", acks_late=True, reject_on_worker_lost=True, ignore_result=True)  # type: ignore[untyped-decorator]
def plain(text: str) -> None:
    """An agent as a plain task: request a reply, run the tool that it calls, until it is a text."""
    asyncio.run(_plain(text))


async def _plain(text: str) -> None:
    items: list[dict[str, Any]] = [{"type": "message", "role": "user", "content": text}]
    store = await open_store(os.environ["DATABASE_URL"], pool_size=1)
    try:
        async with aiohttp.ClientSession() as model:
            while call := await _next_call(model, items):
                async with store.write() as tx:
                    result = await TOOLS[call["name"]](tx, **json.loads(call["arguments"]))
                output = {"call_id": call["call_id"], "output": result}
                items += [call, {"type": "function_call_output", **output}]
    finally:
        await store.close()


async def _next_call(
    model: aiohttp.ClientSession, items: list[dict[str, Any]]
) -> dict[str, Any] | None:
    url = f"{os.environ['OPENAI_BASE_URL']}/responses"
    async with model.post(url, json={"model": "mock", "input": items}) as response:
        [item] = (await response.json())["output"]
    return item if item["type"] == "function_call" else None


TOOLS = {one.name: one for one in (reserve, charge, ship)}
