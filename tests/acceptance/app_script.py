"""A program of a user that runs a workflow with `App`, and may die at a place.

    python -m tests.acceptance.app_script ACTION DATABASE_URL FILE [PLACE]

ACTION is `run` or `start` (always the same request), `resume` or `work`. FILE gets a line for each
charge. At PLACE the process kills itself: `reply N`, while the model writes its N-th reply; `buy`,
with the row written and not committed; `charge`, after the charge. Prints the run as JSON.
"""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from twelvefold import App, CallKey, Principal, Run, Settings, Transaction, Workflow, tool
from twelvefold.core import Item, Listener, ModelReply, ModelRequest, Usage
from twelvefold.services.model.scripted import calls, says

ACTION, URL, FILE, *PLACES = sys.argv[1:] if __name__ == "__main__" else ("", "", "")
SCHEMA = (
    "create table if not exists bought (item varchar(100) not null, who varchar(100) not null);"
)
PLAN: list[list[Item]] = [
    calls(("buy", {"item": "bread"})),
    calls(("charge", {"cents": 250})),
    calls(("buy", {"item": "milk"})),
    says("Bread and milk are bought."),
]


def reach(place: str) -> None:
    """Die here, as by the kernel, if this is the place."""
    if place in PLACES:
        os.kill(os.getpid(), signal.SIGKILL)


@tool
async def buy(tx: Transaction, who: Principal, item: str) -> str:
    """Buy an item."""
    await tx.execute("insert into bought (item, who) values (:item, :who)", item=item, who=who.id)
    reach("buy")
    return f"{item} is bought"


@tool
def charge(key: CallKey, cents: int) -> str:
    """Charge the caller's card."""
    with Path(FILE).open("a") as file:
        file.write(f"{key} {cents}\n")
    reach("charge")
    return "charged"


class Planned:
    """A model that follows the plan, whichever process asks it."""

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        done = sum(item["type"] == "function_call_output" for item in request.items)
        listener.text("I ")
        await asyncio.sleep(0.1)  # long enough for the piece to be in the journal
        reach(f"reply {done + 1}")
        items = [{**item, "call_id": f"call_{done}"} for item in PLAN[done]]
        return ModelReply(tuple(items), Usage(1, 1), "planned", "0" * 64)

    async def close(self) -> None:
        """Nothing is open."""


shop = Workflow("shop", "You keep a shop.", (buy, charge), schema=SCHEMA)


def settings(url: str) -> Settings:
    return Settings(database_url=url, lease_s=1.0)


async def main() -> None:
    async with App([shop], settings=settings(URL), model=Planned()) as app:
        if ACTION == "work":
            await app.work(until_idle=True)
        if ACTION == "run":
            run = await app.run(shop, "bread and milk", principal="ann", key="order-1")
        else:
            run = await app.start(shop, "bread and milk", principal="ann", key="order-1")
        if ACTION == "resume":
            run = await app.resume(run.id, principal="ann")
        print(json.dumps(describe(run)))


def describe(run: Run) -> dict[str, object]:
    return {
        "id": run.id,
        "status": run.status,
        "text": run.text,
        "calls": [call.result for call in run.calls],
    }


if __name__ == "__main__":
    asyncio.run(main())
