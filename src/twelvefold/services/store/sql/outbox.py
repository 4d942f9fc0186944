"""The outbox in SQL: messages that steps have committed, each claimed by one sender at a time."""

from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from twelvefold.core import OutboxMessage, Row
from twelvefold.errors import Conflict, NotFound, TooLate
from twelvefold.services.store.sql.base import SECOND_US, Database, ascii_id, in_batches

BATCH_SIZE = 100
"""Dead messages that one transaction makes due."""
NOT_SHOWN = "not shown: the conversation was deleted"
"""Replaces the error of a message of a deleted conversation."""
_BODY = msgspec.json.Decoder(dict[str, Any])
_UNREADABLE: dict[str, Any] = {}
"""Replaces a body that cannot be decoded: the sender rejects it and sends the other messages."""


class Outbox(Database):
    """Implements `twelvefold.core.ports.OutboxStore`."""

    async def due_messages(self, limit: int) -> list[OutboxMessage]:
        return [message_of(row) for row in await self._fetch("due_messages", limit=limit)]

    async def claim_message(self, message: OutboxMessage, for_s: float) -> bool:
        return bool(await self._execute("claim_message", **_claim_values(message, for_s)))

    async def renew_message(self, message: OutboxMessage, for_s: float) -> bool:
        async with self._renewal_connection() as db:
            values = _claim_values(message, for_s)
            return bool(await db.execute(self._sql["renew_message"], values))

    async def message_sent(self, message: OutboxMessage) -> None:
        await self._execute("message_sent", id=message.id)

    async def message_failed(
        self, message: OutboxMessage, error: str, retry_s: float | None
    ) -> None:
        await self._execute(
            "message_failed",
            id=message.id,
            attempts=message.attempts,
            error=error,
            dead=retry_s is None,
            pause_us=int((retry_s or 0) * SECOND_US),
        )

    async def messages(
        self, *, limit: int, state: Literal["waiting", "sent", "dead"] | None = None
    ) -> list[OutboxMessage]:
        rows = await self._fetch("messages", state=state or "", limit=limit)
        return [listed_message(row) for row in rows]

    async def retry_message(self, id: str) -> None:
        values = {"id": ascii_id(id)}
        async with self._transaction() as db:
            if await db.execute(self._sql["retry_message"], values):
                return
            found = await db.fetch(self._sql["message"], values)
        if not found:
            raise NotFound(f"no message {id!r}")
        if found[0]["sent_at"] is not None:
            raise TooLate(f"message {id} was sent already")
        raise Conflict(f"message {id} is being sent")

    async def retry_dead(self) -> int:
        # Read once, so that a message that dies again meanwhile is not retried without end.
        dead = [{"id": row["id"]} for row in await self._fetch("dead_messages")]
        retried = 0
        for batch in in_batches(dead, BATCH_SIZE):
            async with self._transaction() as db:
                for values in batch:
                    retried += await db.execute(self._sql["retry_message"], values)
        return retried


def _claim_values(message: OutboxMessage, for_s: float) -> dict[str, Any]:
    claimed_us = int(for_s * SECOND_US)
    return {"id": message.id, "attempts": message.attempts, "claimed_us": claimed_us}


def _decode_body(text: str) -> dict[str, Any]:
    try:
        return _BODY.decode(text)
    except msgspec.DecodeError:
        return _UNREADABLE


def message_of(row: Row) -> OutboxMessage:
    """Return the message of a row."""
    return OutboxMessage(
        id=row["id"],
        thread=row["thread_id"],
        kind=row["kind"],
        body=_decode_body(row["body"]),
        attempts=row["attempts"],
        due_at_us=row["due_at"],
        sent_at_us=row["sent_at"],
        dead_at_us=row["dead_at"],
        error=row["error"] or "",
    )


def listed_message(row: Row) -> OutboxMessage:
    """Return the message of a row for a list: without the text of a deleted conversation."""
    message = message_of(row)
    if row["thread_deleted_at"] is None:
        return message
    return replace(message, body={}, error=NOT_SHOWN if message.error else "")
