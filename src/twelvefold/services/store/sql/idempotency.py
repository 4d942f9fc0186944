"""Idempotent requests in SQL: the run that each of them started, for a day."""

from twelvefold.core import IdempotentRequest, RunId, ThreadId
from twelvefold.services.store.connection import Connection
from twelvefold.services.store.sql.base import Database, run_key


class IdempotentRequests(Database):
    """Implements `find_request` of `twelvefold.core.ports.RunStore`."""

    async def find_request(self, principal: str, key: str) -> tuple[RunId, str] | None:
        for row in await self._fetch("request", principal=principal, request_key=key):
            return RunId(ThreadId(row["thread_id"]), row["ordinal"]), row["body_hash"]
        return None

    async def _remember_request(
        self, db: Connection, run: RunId, principal: str, request: IdempotentRequest | None
    ) -> None:
        """Record a request. Raises DuplicateRow if it is a repetition."""
        if request is None:
            return
        values = {"principal": principal, "request_key": request.key}
        await db.execute(self._sql["forget_request"], values)
        values |= {"body_hash": request.body_hash, **run_key(run)}
        await db.execute(self._sql["insert_request"], values)
