"""Sends an event to the runs that wait for it, inside a transaction."""

from collections.abc import Mapping
from typing import Any

from twelvefold.core import SignalKey
from twelvefold.services.store.connection import Connection


async def send_signal(
    db: Connection, sql: Mapping[str, str], to: SignalKey, payload: str, sender: str
) -> bool:
    """Send an event in a transaction; return False if it was sent before.

    The event's row is then locked until the commit, before which `wake_receivers` is called.
    """
    await db.execute(sql["reserve_signal"], reserve_values(db, to))
    values = {"signal": to.id, "payload": payload, "sender": sender}
    return bool(await db.execute(sql["send_signal"], values))


async def wake_receivers(db: Connection, sql: Mapping[str, str], signal: str) -> None:
    """Wake the runs that wait for an event of this transaction; their rows are locked from then on.

    With the event's row locked: a run that begins to wait is found, or finds the event.
    """
    for row in await db.fetch(sql["signal_waits"], {"signal": signal}):
        run = {"thread": row["thread_id"], "ordinal": row["ordinal"]}
        await db.execute(sql["wake"], run)


def reserve_values(db: Connection, to: SignalKey) -> dict[str, Any]:
    """Return the parameters of `reserve_signal`."""
    return {
        "write_fence": db.write_fence,
        "signal": to.id,
        "workflow": to.workflow,
        "principal": to.principal,
        "event_key": to.key,
    }
