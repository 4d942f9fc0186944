"""The types of the public names.

mypy and pyright must accept this file, and need each of its ignores.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, assert_type

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from twelvefold import (
    CallKey,
    Principal,
    ReadOnly,
    RejectedCall,
    Resource,
    SyncReadOnly,
    SyncTransaction,
    Tool,
    ToolRefused,
    Transaction,
    Workflow,
    tool,
)
from twelvefold.core.output import output_of
from twelvefold.core.ports import StepTransaction
from twelvefold.core.thread import fold


class Courier:
    """A resource."""

    async def send(self, parcel: str) -> int:
        return len(parcel)


@asynccontextmanager
async def open_courier() -> AsyncIterator[Courier]:
    yield Courier()


@tool
async def look(db: ReadOnly, code: str) -> dict[str, Any]:
    """Look it up."""
    return await db.fetch_one("select 1 as one") or {}


@tool(requires="look", once=True, max_calls=2, approval=lambda arguments: bool(arguments["code"]))
async def enrol(tx: Transaction, who: Principal, code: str) -> str:
    """Enrol the caller."""
    if not await tx.execute("update courses set seats = seats - 1 where code = :code", code=code):
        raise ToolRefused("the course is full")
    return who.id


@tool(effect="unsafe", after_refusal=("enrol", "look"), timeout_s=5)
async def pay(amount: int) -> None:
    """Pay for it."""


@tool(effect="unsafe")
def ring(times: int) -> str:
    """Ring the bell."""
    return "ding" * times


@tool
def charge(key: CallKey, cents: int) -> str:
    """Charge the card."""
    return f"{key}: {cents}"


@tool
def sell(tx: SyncTransaction, code: str) -> bool:
    """Sell a place, from a thread."""
    return bool(tx.execute("update courses set seats = seats - 1 where code = :code", code=code))


@tool
def count(db: SyncReadOnly) -> int:
    """Count the courses, from a thread."""
    return len(db.fetch_all("select code from courses"))


@tool(effect="unsafe")
async def deliver(courier: Resource[Courier], parcel: str) -> int:
    """Deliver a parcel."""
    return await assert_type(courier, Courier).send(parcel)


def is_large(arguments: dict[str, object]) -> bool:
    return float(str(arguments["usd"])) > 50


def is_small(arguments: Mapping[str, Any]) -> bool:
    return bool(arguments["usd"] < 50)


@tool(approval=is_large)
async def refund(tx: Transaction, usd: float) -> None:
    """Refund it."""


@tool(approval=is_small)
async def tip(tx: Transaction, usd: float) -> None:
    """Tip the waiter."""


def explain(bad: RejectedCall) -> str:
    return f"{assert_type(bad.tool, str)}: {', '.join(assert_type(bad.problems, tuple[str, ...]))}"


def test_a_decorated_function_is_a_tool() -> None:
    tools: tuple[Tool, ...] = (look, enrol, ring, charge, sell, count, deliver)

    assert [one.name for one in tools][:2] == ["look", "enrol"]


async def call_tools(db: ReadOnly, tx: Transaction, sync: SyncTransaction) -> None:
    """A tool is called with the parameters of its function, and returns its result."""
    ann, courier = Principal("ann"), Courier()
    assert_type(await look(db, "c1"), dict[str, Any])
    assert_type(await enrol(tx, ann, code="c1"), str)
    assert_type(await pay(5), None)
    assert_type(await ring(times=2), str)
    assert_type(await charge(CallKey("k"), 5), str)
    assert_type(await sell(sync, "c1"), bool)
    assert_type(await count(sync), int)
    assert_type(await deliver(courier, "a lamp"), int)


async def call_wrongly(db: ReadOnly, tx: Transaction, sync: SyncTransaction) -> None:
    """Calls that a type checker rejects."""
    await look(db, 7)  # type: ignore[arg-type]  # code is text
    await look(db)  # type: ignore[call-arg]  # code is missing
    await look(db, "c1", "c2")  # type: ignore[call-arg]  # one too many
    await enrol(db, Principal("ann"), "c1")  # type: ignore[arg-type]  # it writes
    await ring(count=2)  # type: ignore[call-arg]  # no such parameter
    await sell(tx, "c1")  # type: ignore[arg-type]  # the transaction of an async function
    await deliver("a courier", "a lamp")  # type: ignore[arg-type]  # not the resource
    text: str = await count(sync)  # type: ignore[assignment]  # it returns a number
    print(text)


def test_a_workflow_is_made_of_tools() -> None:
    workflow = Workflow(
        name="academy",
        instructions="Help.",
        tools=(look, enrol, pay, sell, count, deliver),
        explain=explain,
        resources=open_courier,
    )

    assert_type(workflow, Workflow[None])
    assert_type(workflow.tools, tuple[Tool, ...])
    assert_type(workflow.tools[0].name, str)


@dataclass
class Booking:
    guests: int


@dataclass
class Refusal:
    why: str


def greet(who: Principal) -> str:
    return f"Help {who.id}."


async def greet_with_rows(who: Principal, db: ReadOnly) -> str:
    return f"Help {who.id}, {await db.fetch_one('select 1')}."


def test_a_workflow_has_the_type_of_its_output() -> None:
    either: Workflow[Booking | Refusal] = Workflow("table", greet, output=Booking | Refusal)

    assert_type(Workflow("table", greet_with_rows, output=Booking), Workflow[Booking])
    assert_type(Workflow("table", "Help.", output=list[int]), Workflow[list[int]])
    assert_type(output_of(fold(()), Workflow("table", "Help.", output=Booking)), Booking | None)
    assert_type(output_of(fold(()), either), Booking | Refusal | None)


def test_a_call_key_is_text_and_a_principal_has_an_id() -> None:
    assert_type(CallKey("k"), CallKey)
    text: str = CallKey("k")
    assert_type(Principal("ann").id, str)
    assert text == "k"


async def use_transaction(tx: Transaction) -> None:
    """Use a transaction as a tool does."""
    assert_type(await tx.fetch_one("select 1"), dict[str, Any] | None)
    assert_type(await tx.fetch_all("select :one", one=1), list[dict[str, Any]])
    assert_type(await tx.fetch_all(select(1)), list[dict[str, Any]])
    assert_type(await tx.execute("delete from courses"), int)
    assert_type(await tx.orm_session(), AsyncSession)
    await tx.send_mail("ann@example.org", "Welcome", "Hello", html="<p>Hello</p>")


def use_sync_transaction(tx: SyncTransaction) -> None:
    """Use a transaction as a tool does that is a plain function."""
    assert_type(tx.fetch_one("select 1"), dict[str, Any] | None)
    assert_type(tx.fetch_all(select(1)), list[dict[str, Any]])
    assert_type(tx.execute("delete from courses"), int)
    assert_type(tx.orm_session(), Session)
    tx.send_mail("ann@example.org", "Welcome", "Hello", html="<p>Hello</p>")


def use_sync_reader(db: SyncReadOnly) -> None:
    """A tool that only reads has no method that writes."""
    assert_type(db.fetch_one("select 1"), dict[str, Any] | None)
    db.execute("delete from courses")  # type: ignore[attr-defined]  # SyncReadOnly has no execute


async def use_reader(db: ReadOnly) -> None:
    """A tool that only reads has no method that writes."""
    assert_type(await db.fetch_one("select 1"), dict[str, Any] | None)
    await db.execute("delete from courses")  # type: ignore[attr-defined]  # ReadOnly has no execute
    takes_reader(db)


def takes_reader(db: ReadOnly) -> ReadOnly:
    return db


def use_transaction_as_reader(tx: Transaction, step: StepTransaction) -> None:
    assert_type(takes_reader(tx), ReadOnly)
    takes_reader(step)


def declare_wrongly() -> None:
    """Declarations that mypy rejects before the program runs."""
    tool(effect="transactional")  # type: ignore[call-overload]  # the signature declares it
    tool("explain")  # type: ignore[call-overload]  # not a function
    Workflow("academy", "Help.", (explain,))  # type: ignore[arg-type]  # not a tool
    Workflow("academy", "Help.", (look,), resources=Courier)  # type: ignore[arg-type]  # no opener
    Workflow("academy", takes_reader)  # type: ignore[arg-type]  # takes no principal
