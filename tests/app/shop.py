"""The workflow of the tests of apps, and settings with an embedded database."""

import asyncio
from pathlib import Path
from typing import Any, Protocol

from twelvefold import App
from twelvefold.config import Settings
from twelvefold.core import (
    Listener,
    Model,
    ModelReply,
    ModelRequest,
    Principal,
    ReadOnly,
    Transaction,
    Usage,
    Workflow,
    tool,
)
from twelvefold.errors import ToolRefused
from twelvefold.services.model.scripted import ScriptedModel, calls, in_turn, says

SCHEMA = (
    "create table if not exists bought (item varchar(100) not null, who varchar(100) not null);"
)
BUY = calls(("buy", {"item": "bread"}))
REFUND = calls(("refund", {"item": "bread"}))


@tool
async def buy(tx: Transaction, who: Principal, item: str) -> str:
    """Buy an item."""
    if item == "gold":
        raise ToolRefused("there is no gold; ask for bread")
    await tx.execute("insert into bought (item, who) values (:item, :who)", item=item, who=who.id)
    return f"{item} is bought"


@tool
async def bought(db: ReadOnly, who: Principal) -> list[dict[str, Any]]:
    """List what the caller has bought."""
    return await db.fetch_all("select item from bought where who = :who", who=who.id)


@tool(approval=True)
async def refund(tx: Transaction, who: Principal, item: str) -> str:
    """Give an item back."""
    sql = "delete from bought where item = :item and who = :who"
    return f"{await tx.execute(sql, item=item, who=who.id)} refunded"


@tool(effect="unsafe")
async def ring(times: int) -> str:
    """Ring the bell."""
    return "ding" * times


shop = Workflow("shop", "You keep a shop.", (buy, bought, refund, ring), schema=SCHEMA)


def shop_settings(directory: Path) -> Settings:
    return Settings(database_url=f"sqlite:///{directory}/shop.db")


def scripted(*replies: Any) -> ScriptedModel:
    return ScriptedModel(in_turn(*replies))


class Blocking:
    """A model that replies once it is allowed to, in two pieces."""

    def __init__(self, *pieces: str) -> None:
        self._pieces = pieces or ("At ", "last.")
        self.is_asked, self.may_reply = asyncio.Event(), asyncio.Event()

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        self.is_asked.set()
        listener.text(self._pieces[0])
        await self.may_reply.wait()
        listener.text(self._pieces[1])
        return ModelReply(tuple(says("".join(self._pieces))), Usage(1, 1), "blocking", "0" * 64)

    async def close(self) -> None:
        """Do nothing."""


class OpenApp(Protocol):
    """Opens an app with the replies of its model, or with a model."""

    async def __call__(self, *replies: Any, model: Model | None = None) -> App: ...
