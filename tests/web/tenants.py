"""Two tenants of one service, on SQLite or on the server of DATABASE_URL, and all that one has."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tests.acceptance.database import SERVER, private_database
from tests.engine.stage import LIMITS, SCHEMA, SHOP
from tests.web.asking import WEATHER, answer_to, approval
from tests.web.doubles import OTHER, TOKEN, api_key
from tests.web.serving import Json, Rules, Served, event_of, served
from twelvefold import Ask, tool
from twelvefold.boot import SCHEMA as LEVEL
from twelvefold.boot import RandomIds
from twelvefold.core.budget import Limits
from twelvefold.core.conversation.attachments import ALL_INPUTS
from twelvefold.core.models import DEFAULT_MODEL, ModelProfile
from twelvefold.core.ports import Listener, Model, ModelReply, ModelRequest, Release, Store
from twelvefold.core.workflow import Workflow
from twelvefold.engine.services import Services
from twelvefold.services.store import open_store
from twelvefold.services.store.migrate import migrate

HELLO = {"role": "user", "content": "x"}
LASTING = replace(LIMITS, deadline_s=3_600.0)
"""A response that is running stays so while a test asks about it."""


@tool(effect="pure")
async def ask_colour(city: str) -> Ask:
    """Ask the caller for a colour."""
    return Ask(f"Which colour in {city}?", schema=Literal["red", "blue"])


@tool(effect="pure")
async def ask_carol(city: str) -> Ask:
    """Ask carol for a colour."""
    return Ask(f"Which colour in {city}?", schema=Literal["red", "blue"], person="carol")


ASKING = Workflow[Any]("shop", "Sell.", (*SHOP.tools, ask_colour, ask_carol))
DATABASES = ("sqlite", "server")


class Database:
    """One database; each process has a store of its own on it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def process(
        self,
        *,
        model: Model,
        workflow: Workflow = SHOP,
        limits: Limits = LASTING,
        accepts: frozenset[str] = ALL_INPUTS,
    ) -> Services:
        profiles = {DEFAULT_MODEL: ModelProfile(accepts=accepts)}
        workflows = {workflow.name: workflow}
        ids = RandomIds()
        return Services(self._store, model, workflows, ids, limits, "1.0", profiles=profiles)


@asynccontextmanager
async def database(kind: str) -> AsyncIterator[Database]:
    url = "sqlite://" if kind == "sqlite" else SERVER
    async with private_database(url, f"tenants_{secrets.token_hex(6)}") as own:
        await migrate(own)
        store = await open_store(own, pool_size=4)
        # A question needs a database that no older release works on.
        await store.add_release(Release("r1", "1.0", "", LEVEL, LEVEL))
        try:
            if kind == "sqlite":
                await store.run_script(SCHEMA)
            else:
                text = SCHEMA.replace("text", "varchar(80)")
                await store.run_script(text)
            yield Database(store)
        finally:
            await store.close()


@dataclass
class Tenants:
    """Ann, who has something of each kind, and Bob, who asks for it; both through one process."""

    ann: Served
    bob: Served
    model: "Holding"
    ids: dict[str, dict[str, str]] = field(default_factory=dict)
    """What Ann has: by kind, then by its state.

    A kind is response, conversation, item, approval, question or call.
    """
    own: dict[str, str] = field(default_factory=dict)
    """What Bob has: a conversation and a response."""


@asynccontextmanager
async def tenants(kind: str) -> AsyncIterator[Tenants]:
    async with AsyncExitStack() as stack:
        base: Any = await stack.enter_async_context(database(kind))
        model = Holding()
        how = {"model": model, "worker": False, "limits": LASTING, "workflow": ASKING}
        serve = stack.enter_async_context
        ann = await serve(served(base, headers={"authorization": f"Bearer {TOKEN}"}, **how))  # type: ignore[arg-type]
        bob = await serve(served(base, headers={"authorization": f"Bearer {OTHER}"}, **how))  # type: ignore[arg-type]
        await ann.web.services.store.add_key(api_key())
        await ann.web.services.store.add_key(api_key(OTHER, "bob", "key-2"))
        both = Tenants(ann, bob, model)
        await _fill(both, stack)
        yield both


async def _fill(both: Tenants, stack: AsyncExitStack) -> None:
    ann, bob = both.ann, both.bob
    both.own["conversation"] = (await bob.post("/conversations", {"items": [HELLO]})).json()["id"]
    both.own["response"] = (await bob.ask("hi"))["id"]
    finished = await ann.ask("hi")
    bought = await ann.ask("buy a lamp")
    client = await ann.ask("call get_weather", tools=[WEATHER])
    waiting, request = await approval(ann)
    began, asked = await approval(ann)
    after = await ann.ask(answer_to(asked, True))
    colour, carol = await ann.ask("call ask_colour"), await ann.ask("call ask_carol")
    deleted = await ann.ask("hi")
    await ann.http.delete(f"/v1/responses/{deleted['id']}")
    unkept = await ann.ask("hi", store=False)
    fork = await ann.ask("again", previous_response_id=finished["id"])
    beside = await ann.ask("again", previous_response_id=finished["id"])
    queued = (await ann.post("/responses", _turn("hi", background=True))).json()
    named = (await ann.post("/conversations", {"items": [HELLO]})).json()["id"]
    empty = (await ann.post("/conversations")).json()["id"]
    gone = (await ann.post("/conversations", {"items": [HELLO]})).json()["id"]
    await ann.http.delete(f"/v1/conversations/{gone}")
    turn = await ann.ask("hi", conversation=named)
    forked = (await ann.post(f"/conversations/{named}/fork", {"position": 1})).json()["id"]
    running = await _running(both, stack)
    both.ids["response"] = {
        "finished": finished["id"],
        "with a tool": bought["id"],
        "of a client's tool": client["id"],
        "waiting": waiting["id"],
        "before an answer": began["id"],
        "after an answer": after["id"],
        "with a question": colour["id"],
        "deleted": deleted["id"],
        "not kept": unkept["id"],
        "continued": fork["id"],
        "on a fork": beside["id"],
        "queued": queued["id"],
        "in a conversation": turn["id"],
        "running": running,
    }
    threads = {name: f"conv_{id[5:49]}" for name, id in both.ids["response"].items()}
    both.ids["conversation"] = {
        **threads,
        "named": named,
        "empty": empty,
        "removed": gone,
        "forked": forked,
    }
    items = (await ann.get(f"/conversations/{named}/items", limit=100)).json()["data"]
    both.ids["item"] = {
        "said": items[-1]["id"],
        "answered": finished["output"][0]["id"],
        "of a tool": bought["output"][0]["id"],
        "of a client's tool": client["output"][0]["id"],
        "of what was deleted": deleted["output"][0]["id"],
        "of what was not kept": unkept["output"][0]["id"],
        "of a request": request["id"],
        "of an answer": after["id"].replace("resp_", "mcpa_")[:49] + "2.0",
    }
    both.ids["approval"] = {
        "waiting": request["id"],
        "answered": asked["id"],
        "of no approval": bought["output"][0]["id"].replace("mcp_", "mcpr_"),
    }
    both.ids["question"] = {
        "waiting": colour["output"][-1]["call_id"],
        "to another person": carol["output"][-1]["call_id"],
        "of no question": request["id"].replace("mcpr_", "ask_"),
    }
    own_call = bought["output"][0]["id"].replace("mcp_", "call_")
    both.ids["call"] = {
        "of a client's tool": client["output"][0]["call_id"],
        "of a tool": own_call,
    }


def _turn(input: object, **more: object) -> Json:
    return {"model": "shop", "input": input, **more}


class Holding(Rules):
    """A model that answers `hold on` only once `released` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.held = asyncio.Event()
        self.released = asyncio.Event()

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        if "hold on" in str(request.items[-1].get("content")):
            self.held.set()
            await self.released.wait()
        return await super().reply(request, listener)


async def _running(both: Tenants, stack: AsyncExitStack) -> str:
    """A response that stays in the middle of its model call until the tenants leave."""
    stream = both.ann.http.stream("POST", "/v1/responses", json=_turn("hold on", stream=True))
    answer = await stack.enter_async_context(stream)
    stack.callback(both.model.released.set)
    lines = answer.aiter_lines()
    event = event_of(f"{await anext(lines)}\n{await anext(lines)}")
    assert event is not None
    await both.model.held.wait()
    id: str = event["response"]["id"]
    return id


def unused(id: str) -> str:
    """An id of the same form that no object has."""
    prefix, _, rest = id.partition("_")
    return f"{prefix}_{rest[:12]}{'f' * 32}{rest[44:]}"
