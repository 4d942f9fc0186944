"""Shares of API keys and principals in SQL."""

import random
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from twelvefold.core import Row, RunId, TokenGrant
from twelvefold.errors import DuplicateRow
from twelvefold.services.store.connection import Connection
from twelvefold.services.store.sql.base import SECOND_US, Database

CLAIM_S = 10
"""How long a slot stays taken for a run that is about to be claimed."""
TRIES = 4
"""How often tokens are taken from a bucket that other processes empty at the same time."""


class Shares(Database):
    """Implements `twelvefold.core.ports.ShareStore`."""

    async def take_tokens(
        self, owner: str, count: int, *, capacity_us: int, interval_us: int
    ) -> TokenGrant:
        for _ in range(TRIES):
            async with self._transaction() as db:
                grant = await self._take_tokens(db, owner, count, capacity_us, interval_us)
            if grant is None:
                with suppress(DuplicateRow):  # another process was faster
                    await self._execute("insert_bucket", owner=owner)
                continue
            if grant.granted or grant.full_in_us > capacity_us - interval_us:
                return grant
            count = max(1, (capacity_us - grant.full_in_us) // interval_us)
        return TokenGrant(0, capacity_us)

    async def _take_tokens(
        self, db: Connection, owner: str, count: int, capacity_us: int, interval_us: int
    ) -> TokenGrant | None:
        """Take `count` tokens or none. Returns None if the owner has no bucket yet."""
        values = {"owner": owner, "cost_us": count * interval_us, "capacity_us": capacity_us}
        taken = await db.execute(self._sql["take_tokens"], values)
        rows = await db.fetch(self._sql["rate_bucket"], {"owner": owner})
        if not rows:
            return None
        return TokenGrant(count if taken else 0, max(0, int(rows[0]["full_in_us"])))

    async def return_tokens(self, owner: str, count: int, *, interval_us: int) -> None:
        await self._execute("return_tokens", owner=owner, cost_us=count * interval_us)

    async def take_slot(self, owner: str, limit: int, token: str, run: RunId | None) -> bool:
        rows = {int(row["number"]): row for row in await self._fetch("run_slots", owner=owner)}
        taken = [row for row in rows.values() if row["taken"]]
        if len(taken) >= limit or any(_is_of(row, run) for row in taken):
            return False
        free = [n for n in range(limit) if n not in rows or not rows[n]["taken"]]
        random.shuffle(free)
        # The slot that the run had before it waited: with another one it would have two.
        free.sort(key=lambda number: number not in rows or not _is_of(rows[number], run))
        values = {
            "owner": owner,
            "token": token,
            "claim_us": CLAIM_S * SECOND_US,
            **_run_values(run),
        }
        for number in free[: limit - len(taken)]:
            if await self._take_slot(rows.get(number), number, values):
                return True
        return False

    async def _take_slot(self, row: Row | None, number: int, values: Mapping[str, Any]) -> bool:
        """Take a free slot; return False if another process was faster."""
        if row is not None:
            old = {"old_token": row["token"]}
            return bool(await self._execute("retake_slot", number=number, **values, **old))
        try:
            return bool(await self._execute("insert_slot", number=number, **values))
        except DuplicateRow:
            return False

    async def fill_slot(self, owner: str, token: str, run: RunId) -> None:
        await self._execute("fill_slot", owner=owner, token=token, **_run_values(run))

    async def free_slot(self, owner: str, token: str) -> None:
        await self._execute("free_slot", owner=owner, token=token)


def _run_values(run: RunId | None) -> dict[str, Any]:
    return {"thread": run.thread if run else "", "ordinal": run.ordinal if run else 0}


def _is_of(row: Row, run: RunId | None) -> bool:
    return run is not None and (row["thread_id"], row["ordinal"]) == (run.thread, run.ordinal)
