"""The types of the public names: mypy must accept this file, and need each of its ignores."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, assert_type

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from twelvefold import (
    CallKey,
    Principal,
    ReadOnly,
    RejectedCall,
    Tool,
    ToolRefused,
    Transaction,
    Workflow,
    tool,
)
from twelvefold.core.output import output_of
from twelvefold.core.ports import StepTransaction
from twelvefold.core.thread import fold

Declared = Callable[[Callable[..., object]], Tool]


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
    assert_type(look, Tool)
    assert_type(enrol, Tool)
    assert_type(ring, Tool)
    assert_type(charge, Tool)
    assert_type(tool(effect="pure"), Declared)


def test_a_workflow_is_made_of_tools() -> None:
    workflow = Workflow(
        name="academy", instructions="Help.", tools=(look, enrol, pay), explain=explain
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
    Workflow("academy", takes_reader)  # type: ignore[arg-type]  # takes no principal
