"""A workflow whose tools wait, and runs of it that wait."""

from datetime import UTC, datetime, timedelta
from typing import Literal

from tests.builders import user
from tests.engine.stage import ANN, Stage, after_start, resume
from twelvefold import Ask, CallKey, Principal, SyncTransaction, Transaction, Wait, Workflow, tool
from twelvefold.core.events import Event, ModelReplied
from twelvefold.core.ids import RunId
from twelvefold.core.ports import NullListener, SignalKey
from twelvefold.engine.commands import RunRequest, start_run
from twelvefold.engine.drive import Outcome, drive
from twelvefold.engine.services import Services
from twelvefold.services.model.scripted import Scripted, calls, says

SOON = timedelta(minutes=1)
LATER_S = 90
"""Longer than `SOON`."""
PAID = SignalKey("desk", "ann", "payment:1")
called: list[str] = []
"""The tools that were called, in order."""


@tool(effect="pure")
async def pause(milliseconds: int) -> str | Wait:
    """Wait some time."""
    called.append("pause")
    return Wait(until=timedelta(milliseconds=milliseconds)) if milliseconds else "no pause"


@tool(effect="pure")
async def until_1970() -> Wait:
    """Wait for a time that has passed."""
    return Wait(until=datetime(1970, 1, 1, tzinfo=UTC))


@tool
async def pay(tx: Transaction, who: Principal) -> Wait:
    """Begin a payment, and wait for it."""
    called.append("pay")
    insert = "insert into bought (item, who) values ('a payment', :who)"
    await tx.execute(insert, who=who.id)
    return Wait(event="payment:1")


@tool
async def pay_soon(tx: Transaction) -> Wait:
    """Wait for a payment, but not for long."""
    return Wait(event="payment:1", timeout=SOON)


@tool(effect="unsafe")
async def send_invoice() -> Wait:
    """Send an invoice, and wait for the payment."""
    called.append("send_invoice")
    return Wait(event="payment:1")


@tool
async def order_by_key(key: CallKey) -> Wait:
    """Order, and wait for the delivery."""
    called.append(f"order {key}")
    return Wait(event="payment:1")


@tool(effect="pure")
async def ask_colour() -> Ask:
    """Ask for a colour."""
    called.append("ask_colour")
    return Ask("Which colour?", schema=Literal["red", "blue"])


@tool(effect="pure")
async def ask_bob() -> Ask:
    """Ask bob, but not for long."""
    return Ask("Is it true?", schema=bool, person="bob", timeout=SOON)


@tool(effect="pure")
async def ask_size() -> Ask:
    """Ask for a size."""
    return Ask("Which size?", schema=int)


@tool(effect="pure")
async def undeclared():  # type: ignore[no-untyped-def]
    """Wait without saying so."""
    return Wait(until=SOON)


@tool(effect="pure")
async def ask_unknown() -> Ask:
    """Ask for something without a schema."""
    return Ask("What?", schema=object())


@tool(approval=True, approval_timeout_s=60.0)
async def refund_soon(tx: Transaction, item: str) -> str:
    """Give the money back, if somebody approves soon."""
    await tx.execute("delete from bought where item = :item", item=item)
    return f"refunded {item}"


@tool(approval=True)
async def give(tx: Transaction, item: str) -> str:
    """Give something away."""
    await tx.execute("insert into bought (item, who) values (:item, 'ann')", item=item)
    return f"gave {item}"


@tool
async def confirm(tx: Transaction, who: Principal, amount: int) -> bool:
    """Confirm a payment."""
    return await tx.signal("desk", who.id, "payment:1", {"amount": amount})


@tool
def confirm_plainly(tx: SyncTransaction, who: Principal) -> bool:
    """Confirm a payment, in a thread."""
    return tx.signal("desk", who.id, "payment:1")


DESK = Workflow(
    "desk",
    "Help.",
    (
        *(pause, until_1970, pay, pay_soon, send_invoice, order_by_key, ask_colour, ask_bob),
        *(ask_size, undeclared, ask_unknown, refund_soon, give, confirm, confirm_plainly),
    ),
)


def desk(stage: Stage, *replies: Scripted, **how: object) -> Services:
    return stage.process(*replies, workflow=DESK, **how)  # type: ignore[arg-type]


async def drive_desk(services: Services) -> Outcome:
    """Start a run and drive it until it rests."""
    request = RunRequest(workflow="desk", principal=ANN, items=[user("help me")])
    return await drive(services, await start_run(services, request), NullListener())


async def begin(stage: Stage, tool: str, **arguments: object) -> RunId:
    """Return a run whose call of the tool waits."""
    outcome = await drive_desk(desk(stage, calls((tool, arguments))))
    assert outcome.status == "waiting"
    return outcome.run


async def go_on(stage: Stage, run: RunId, tool: str = "", **arguments: object) -> Outcome:
    """Drive a run that waited for this tool in another process; the model then says good bye."""
    return await resume(desk(stage, calls((tool, arguments)), says("Good bye.")), run)


async def events_of(stage: Stage, run: RunId) -> list[Event]:
    """Return the journal of a run without its start and its replies."""
    events = after_start(await stage.journal(run))
    return [event for event in events if not isinstance(event, ModelReplied)]


async def due_runs(services: Services) -> list[RunId]:
    """Return the runs that a worker finds."""
    work = await services.store.waiting_work(workflows=["desk"], limit=10)
    return [one.run for one in work.runs]
