"""The workflow of the tests of apps, and settings with an embedded database."""

from pathlib import Path
from typing import Any

from twelvefold.config import Settings
from twelvefold.core import Principal, ReadOnly, Transaction, Workflow, tool
from twelvefold.errors import ToolRefused
from twelvefold.services.model.scripted import Script, ScriptedModel, calls, in_turn, says

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


__all__ = ["BUY", "REFUND", "Script", "calls", "says", "scripted", "shop", "shop_settings"]
