"""The workflow that the workers of the chaos scenes load. Every call leaves one trace.

Orders and refunds are rows of tables without a unique ticket: a second one is not rejected, but
counted. The other calls go to the counter, a process outside the database. When this module is
imported, the store also records which process took which lease, so that the counter can check the
caller's.

Environment: `CHAOS_SOCKET` (the counter's socket), `CHAOS_LEASES` (the file of the notes),
`CHAOS_NOTES` (how many notes of 7 kB a row has), `CHAOS_BLOCK_S` (how long a blocking tool sleeps),
`CHAOS_EPOCH_US` (the wall clock less the monotonic one: that of this process may be wrong).
"""

import asyncio
import json
import os
import socket
import time
from typing import Any

from tests.acceptance.chaos.plan import thread_of
from twelvefold import CallKey, Transaction, Workflow, tool
from twelvefold.core.ids import RunId
from twelvefold.core.ports import Claim, Lease
from twelvefold.services.store.mysql.store import MySQLStore

SOCKET = os.environ.get("CHAOS_SOCKET", "")
LEASES = os.environ.get("CHAOS_LEASES", "")
NOTES = int(os.environ.get("CHAOS_NOTES", "0"))
NOTE = "x" * 7_000  # two in a page of InnoDB, none in pages of its own
EPOCH_US = int(os.environ.get("CHAOS_EPOCH_US", "0"))
BLOCK_S = float(os.environ.get("CHAOS_BLOCK_S", "0"))
SCHEMA = """
create table if not exists orders
  (id bigint auto_increment primary key, ticket varchar(80) not null);
create table if not exists refunds
  (id bigint auto_increment primary key, ticket varchar(80) not null);
create table if not exists notes
  (id bigint auto_increment primary key, ticket varchar(80) not null, note varchar(7000) not null);
"""
THOUGHT_S = 0.05
"""How long a tool holds its transaction between two statements."""
MAX_TOKENS = 2_000
_token_of: dict[str, str] = {}
"""The token of the last lease that this process took of a thread; of the last `MAX_TOKENS`."""


@tool
async def place_order(tx: Transaction, ticket: str) -> str:
    """Place the order."""
    await tx.fetch_one(
        "select count(*) as orders from orders where ticket = :ticket", ticket=ticket
    )
    await asyncio.sleep(THOUGHT_S)
    await tx.execute("insert into orders (ticket) values (:ticket)", ticket=ticket)
    await _add_notes(tx, ticket)
    return f"{ticket} is ordered"


@tool(approval=True)
async def refund(tx: Transaction, ticket: str) -> str:
    """Pay the money back; a person allows it first."""
    await tx.execute("insert into refunds (ticket) values (:ticket)", ticket=ticket)
    await _add_notes(tx, ticket)
    return f"{ticket} is refunded"


@tool
async def send_letter(tx: Transaction, ticket: str) -> str:
    """Send the confirmation by mail."""
    await _add_notes(tx, ticket)
    await tx.send_mail("customer@chaos.example", ticket, f"Your case {ticket} is closed.")
    return f"{ticket} is on its way"


async def _add_notes(tx: Transaction, ticket: str) -> None:
    """Make the tables grow."""
    for _ in range(NOTES):
        statement = "insert into notes (ticket, note) values (:ticket, :note)"
        await tx.execute(statement, ticket=ticket, note=NOTE)


@tool(effect="unsafe")
async def ring(ticket: str) -> str:
    """Ring the customer up."""
    return await _count(ticket)


@tool
async def charge(key: CallKey, ticket: str) -> str:
    """Charge the customer's card."""
    return await _count(ticket, str(key))


@tool(effect="unsafe")
async def ring_blocking(ticket: str) -> str:
    """Ring the customer up, with a client that blocks the event loop."""
    return await _count(ticket, block_s=BLOCK_S)


@tool
async def charge_blocking(key: CallKey, ticket: str) -> str:
    """Charge the customer's card, with a client that blocks the event loop."""
    return await _count(ticket, str(key), block_s=BLOCK_S)


@tool(effect="unsafe")
def ring_in_thread(ticket: str) -> str:
    """Ring the customer up, with a plain function, which runs in a thread."""
    return _count_in_thread(ticket)


@tool
def charge_in_thread(key: CallKey, ticket: str) -> str:
    """Charge the customer's card, with a plain function that takes long."""
    return _count_in_thread(ticket, str(key), block_s=BLOCK_S)


async def _count(ticket: str, key: str = "", block_s: float = 0.0) -> str:
    start = _start(ticket, key)
    reader, writer = await asyncio.open_unix_connection(SOCKET)
    try:
        writer.write(start)
        await reader.readline()
    finally:
        writer.close()
    if block_s:
        time.sleep(block_s)  # noqa: ASYNC251 - the fault of this scene
    return f"{ticket} is counted"


def _count_in_thread(ticket: str, key: str = "", block_s: float = 0.0) -> str:
    start = _start(ticket, key)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(SOCKET)
        client.sendall(start)
        client.recv(100)
    time.sleep(block_s)
    return f"{ticket} is counted"


def _start(ticket: str, key: str) -> bytes:
    """What the counter is sent; the call begins here."""
    start = {"ticket": ticket, "key": key, "pid": os.getpid(), "began_us": _now_us()}
    start |= {"monotonic_s": time.monotonic(), "token": _token_of.get(thread_of(ticket), "")}
    return json.dumps(start).encode() + b"\n"


def _now_us() -> int:
    return EPOCH_US + time.monotonic_ns() // 1000


def _note(**what: Any) -> None:
    """Append one line; a single write to a file opened for appending is never mixed with others."""
    descriptor = os.open(LEASES, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, json.dumps({"pid": os.getpid(), **what}).encode() + b"\n")
    finally:
        os.close(descriptor)


_claim, _release = MySQLStore.claim, MySQLStore.release


async def _noted_claim(store: MySQLStore, run: RunId, *how: Any, **more: Any) -> Claim | None:
    sent_us = _now_us()
    claimed = await _claim(store, run, *how, **more)
    if claimed is not None:
        _token_of.pop(run.thread, None)
        token = _token_of[run.thread] = claimed.lease.token
        if len(_token_of) > MAX_TOKENS:
            del _token_of[next(iter(_token_of))]
        _note(what="claimed", thread=run.thread, token=token, sent_us=sent_us, done_us=_now_us())
    return claimed


async def _noted_release(store: MySQLStore, lease: Lease, **how: Any) -> bool:
    if how.get("in_doubt"):
        _note(what="in_doubt", thread=lease.run.thread, token=lease.token, sent_us=_now_us())
    return await _release(store, lease, **how)


if LEASES:
    MySQLStore.claim = _noted_claim  # type: ignore[method-assign, assignment]
    MySQLStore.release = _noted_release  # type: ignore[method-assign, assignment]

workflow = Workflow(
    name="chaos",
    instructions="You handle cases.",
    tools=(
        *(place_order, ring, charge, refund, send_letter),
        *(ring_blocking, charge_blocking, ring_in_thread, charge_in_thread),
    ),
    schema=SCHEMA,
)
