"""The outbox in SQL: what a step has left to be sent, taken by one sender at a time."""

from typing import Any, Literal

import msgspec

from twelvefold.core.ports import OutboxMessage, Row
from twelvefold.errors import Conflict, NotFound
from twelvefold.services.store.sql.base import SECOND_US, Database

FEW = 100
"""Letters that are changed in one transaction."""
_BODY = msgspec.json.Decoder(dict[str, Any])
_UNREADABLE: dict[str, Any] = {}
"""What stands for a body that cannot be read: no mail, and nothing that keeps others waiting."""


class Outbox(Database):
    """The methods of `twelvefold.core.ports.Store` that are about letters."""

    async def due_letters(self, limit: int) -> list[OutboxMessage]:
        return [_letter(row) for row in await self._found("due_letters", limit=limit)]

    async def claim_letter(self, letter: OutboxMessage, for_s: float) -> bool:
        held_us = int(for_s * SECOND_US)
        claimed = await self._written(
            "claim_letter", id=letter.id, attempts=letter.attempts, held_us=held_us
        )
        return bool(claimed)

    async def renew_letter(self, letter: OutboxMessage, for_s: float) -> bool:
        held_us = int(for_s * SECOND_US)
        async with self._renewing() as db:
            values = {"id": letter.id, "attempts": letter.attempts, "held_us": held_us}
            return bool(await db.execute(self._sql["renew_letter"], values))

    async def letter_sent(self, letter: OutboxMessage) -> None:
        await self._written("letter_sent", id=letter.id)

    async def letter_failed(self, letter: OutboxMessage, error: str, retry_s: float | None) -> None:
        await self._written(
            "letter_failed",
            id=letter.id,
            attempts=letter.attempts,
            error=error,
            dead=retry_s is None,
            pause_us=int((retry_s or 0) * SECOND_US),
        )

    async def letters(
        self, *, limit: int, state: Literal["waiting", "sent", "dead"] | None = None
    ) -> list[OutboxMessage]:
        rows = await self._found("letters", state=state or "", limit=limit)
        return [_letter(row) for row in rows]

    async def retry_letter(self, id: str) -> None:
        async with self._transaction() as db:
            if await db.execute(self._sql["retry_letter"], {"id": id}):
                return
            found = await db.fetch(self._sql["letter"], {"id": id})
        if not found:
            raise NotFound(f"no letter {id!r}")
        why = "is just being sent" if found[0]["sent_at"] is None else "was sent already"
        raise Conflict(f"letter {id} {why}")

    async def retry_dead(self) -> int:
        # Those that are dead now: one that dies again meanwhile is not tried for ever.
        dead = [{"id": row["id"]} for row in await self._found("dead_letters")]
        retried = 0
        for begin in range(0, len(dead), FEW):
            async with self._transaction() as db:
                for one in dead[begin : begin + FEW]:
                    retried += await db.execute(self._sql["retry_letter"], one)
        return retried


def _body(text: str) -> dict[str, Any]:
    try:
        return _BODY.decode(text)
    except msgspec.DecodeError:
        return _UNREADABLE


def _letter(row: Row) -> OutboxMessage:
    return OutboxMessage(
        id=row["id"],
        thread=row["thread_id"],
        kind=row["kind"],
        body=_body(row["body"]),
        attempts=row["attempts"],
        due_at_us=row["due_at"],
        sent_at_us=row["sent_at"],
        dead_at_us=row["dead_at"],
        error=row["error"] or "",
    )
