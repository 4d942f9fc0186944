"""A workflow made for the checks: its one table has no key that would hide what is done twice.

A call is given `gate`, a port of this machine and a name, where a check wants it to stay inside its
transaction for a while.
"""

import asyncio
import secrets

from twelvefold import Principal, Transaction, Workflow, tool

IMPORT_PATH = f"{__name__}:workflow"


@tool
async def book(tx: Transaction, who: Principal, ref: str, gate: str = "") -> str:
    """Book one thing."""
    insert = "insert into factors_bookings (id, ref, who) values (:id, :ref, :who)"
    await tx.execute(insert, id=secrets.token_hex(16), ref=ref, who=who.id)
    if gate:
        await _passed(gate)
    return f"{ref} is booked"


@tool
async def write(tx: Transaction, ref: str, to: str) -> str:
    """Write a letter about one thing."""
    await tx.send_mail(to, f"twelvefold factors: {ref}", f"A check of the factors wrote {ref}.\n")
    return f"{ref} is written"


async def _passed(gate: str) -> None:
    """Until the check lets go, or is gone."""
    port, _, name = gate.partition("/")
    reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
    try:
        writer.write(f"GET /gate/{name} HTTP/1.0\r\n\r\n".encode())
        await reader.read()
    finally:
        writer.close()


workflow = Workflow(
    name="clerk",
    instructions="You book things and write letters.",
    tools=(book, write),
    schema="create table if not exists factors_bookings"
    " (id varchar(32) primary key, ref varchar(64) not null, who varchar(255) not null);",
)

relay = Workflow(
    name="relay", instructions="Pass on what you are told, and what you are answered.", tools=()
)
