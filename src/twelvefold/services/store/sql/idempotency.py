"""Requests that their callers may repeat, in SQL: what came of each, for a day."""

from twelvefold.core.ids import RunId, ThreadId
from twelvefold.core.ports import IdempotentRequest
from twelvefold.services.store.sql.base import Database, key_of
from twelvefold.services.store.transaction import Connection


class Requests(Database):
    """The methods of `twelvefold.core.ports.Store` that are about such requests."""

    async def find_request(self, principal: str, key: str) -> tuple[RunId, str] | None:
        for row in await self._found("request", principal=principal, request_key=key):
            return RunId(ThreadId(row["thread_id"]), row["ordinal"]), row["body_hash"]
        return None

    async def _remember_request(
        self, db: Connection, run: RunId, principal: str, request: IdempotentRequest | None
    ) -> None:
        """Raises DuplicateRow if it was made before."""
        if request is None:
            return
        values = {"principal": principal, "request_key": request.key}
        await db.execute(self._sql["forget_request"], values)
        values |= {"body_hash": request.body_hash, **key_of(run)}
        await db.execute(self._sql["insert_request"], values)
