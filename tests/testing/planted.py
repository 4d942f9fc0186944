"""A workflow with faults: one tool writes in its transaction, one beside it."""

import sqlite3

from twelvefold import ReadOnly, Transaction, Workflow, tool


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


hotel = Workflow(
    name="hotel",
    instructions="You book rooms.",
    tools=(book, book_beside, ring, cancel),
    schema="create table if not exists bookings (room integer not null);",
)
