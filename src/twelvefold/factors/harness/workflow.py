"""The workflow that the checks run.

Its table has no unique key that would hide a row that was written twice. A `barrier` argument,
`PORT/REF` of the fake model server, blocks a call inside its transaction.
"""

import asyncio
import secrets

from twelvefold import Principal, Transaction, Workflow, tool

IMPORT_PATH = f"{__name__}:workflow"
RELAY_IMPORT_PATH = f"{__name__}:relay"


@tool
async def book(tx: Transaction, principal: Principal, ref: str, barrier: str = "") -> str:
    """Book one item."""
    insert = "insert into factors_bookings (id, ref, principal) values (:id, :ref, :principal)"
    await tx.execute(insert, id=secrets.token_hex(16), ref=ref, principal=principal.id)
    if barrier:
        await _wait_at(barrier)
    return f"{ref} is booked"


@tool
async def mail(tx: Transaction, ref: str, to: str) -> str:
    """Send a message about one item."""
    await tx.send_mail(to, f"twelvefold factors: {ref}", f"Sent by a check: {ref}.\n")
    return f"the message about {ref} is sent"


async def _wait_at(barrier: str) -> None:
    """Wait until the check releases the barrier or ends."""
    port, _, ref = barrier.partition("/")
    reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
    try:
        writer.write(f"GET /barrier/{ref} HTTP/1.0\r\n\r\n".encode())
        await reader.read()
    finally:
        writer.close()


workflow = Workflow(
    name="bookings",
    instructions="You book items and send messages about them.",
    tools=(book, mail),
    schema="create table if not exists factors_bookings"
    " (id varchar(32) primary key, ref varchar(64) not null, principal varchar(255) not null);",
)

relay = Workflow(name="relay", instructions="Forward the message and return the answer.", tools=())
