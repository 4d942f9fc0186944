"""A workflow with faults: one tool writes in its transaction, one beside it."""

import secrets
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Literal

from twelvefold import Ask, Fallback, ReadOnly, Resource, Transaction, Wait, Workflow, tool


@tool
async def book(tx: Transaction, room: int) -> str:
    """Book a room."""
    await tx.execute("insert into bookings (room) values (:room)", room=room)
    return f"room {room} is booked"


@tool
async def book_beside(db: ReadOnly, room: int) -> str:
    """Book a room with a connection of the tool's own."""
    row = await db.fetch_one("select file from pragma_database_list where name = 'main'")
    assert row is not None
    with sqlite3.connect(row["file"]) as other:
        other.execute("insert into bookings (room) values (?)", (room,))
    return f"room {room} is booked"


@tool(effect="unsafe")
async def ring(room: int) -> str:
    """Ring the telephone of a room."""
    return f"room {room} rang"


@tool(approval=True)
async def cancel(tx: Transaction, room: int) -> str:
    """Cancel a booking."""
    await tx.execute("delete from bookings where room = :room", room=room)
    return f"room {room} is free"


@tool(effect="pure")
async def make_key() -> str:
    """Make a key."""
    return secrets.token_hex()


@tool
async def book_some(tx: Transaction) -> str:
    """Book as many rooms as the number of this database, `0.db` being the first."""
    row = await tx.fetch_one("select file from pragma_database_list where name = 'main'")
    assert row is not None
    for room in range(1 + int(Path(row["file"]).stem)):
        await tx.execute("insert into bookings (room) values (:room)", room=room)
    return "some rooms are booked"


@tool
async def take(tx: Transaction, room: int) -> str:
    """Take a key from the board, and write a line in the book."""
    await tx.execute("insert into book (room) values (:room)", room=room)
    return f"the key of room {room} is taken"


board = Workflow(
    name="board",
    instructions="You hand out keys.",
    tools=(take,),
    schema="""
        create table if not exists book (
            id integer not null primary key auto_increment, room integer not null
        );
    """,
)
"""Its table has a number for each line; for a server."""


@tool(effect="pure")
async def remind(days: int) -> Wait:
    """Wait some days."""
    return Wait(until=timedelta(days=days))


@tool
async def await_payment(tx: Transaction, room: int) -> Wait:
    """Reserve a room and wait for its payment."""
    await tx.execute("insert into bookings (room) values (:room)", room=room)
    return Wait(event=f"payment:{room}", timeout=timedelta(hours=1))


@tool(effect="pure")
async def ask_colour() -> Ask:
    """Ask for a colour."""
    return Ask("Which colour?", schema=Literal["red", "blue"])


class Bell:
    """A resource."""

    def ring(self) -> str:
        return "ding"


@asynccontextmanager
async def open_bell() -> AsyncIterator[Bell]:
    yield Bell()


@tool(effect="pure")
async def ring_bell(bell: Resource[Bell]) -> str:
    """Ring the bell of the reception."""
    return bell.ring()


reception = Workflow("reception", "You ring.", (ring_bell,), resources=open_bell)
hotel = Workflow(
    name="hotel",
    instructions="You book rooms.",
    tools=(
        *(book, book_beside, book_some, ring, cancel, make_key),
        *(remind, await_payment, ask_colour),
    ),
    schema="create table if not exists bookings (room integer not null);",
)
concierge = replace(hotel, name="concierge", model=Fallback("fast", "careful"))
billing = Workflow(
    name="billing",
    instructions="You write bills.",
    tools=(book,),
)
desk = Workflow(
    name="desk",
    instructions="You stand at the desk.",
    tools=(book, billing.as_tool("Ask the billing department.")),
    schema=hotel.schema,
)
