"""Budgets in SQL: one row for each period, which one statement of a transaction changes."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from twelvefold.core import Row, RunId, ThreadId
from twelvefold.core.ports.budgets import Amount, Budget, BudgetScope, Reservation, Used
from twelvefold.core.spending import fits
from twelvefold.errors import DuplicateRow, NotFound
from twelvefold.services.store.connection import own_statement
from twelvefold.services.store.sql.base import MAX_LIST, Database, expand_list, in_batches, run_key

MAX_WOKEN = 5_000
"""Waiting runs that one statement finds: it reads all waiting runs of the index."""


class _Full(Exception):
    """A period has no row yet, or no room: the transaction is rolled back."""


class Budgets(Database):
    """Implements `twelvefold.core.ports.BudgetStore`."""

    async def budgets(self) -> tuple[int, Sequence[Budget]]:
        rows = await self._fetch("budgets")
        return int(rows[0]["now_us"]), [_budget(row) for row in rows if row["time_window"]]

    async def set_budget(self, budget: Budget) -> None:
        values = {"id": budget.id, "tokens": budget.tokens, "micro_usd": budget.micro_usd}
        values |= {"policy": budget.policy}
        scope = budget.scope
        new = {"principal": scope.principal, "key_id": scope.key, "workflow": scope.workflow}
        while not await self._execute("change_budget", **values):
            try:
                await self._execute("insert_budget", window=budget.window, **new, **values)
                break
            except DuplicateRow:
                pass  # another process has just added it
        await self._wake_waiting(budget)

    async def remove_budget(self, id: str) -> None:
        _, budgets = await self.budgets()
        found = next((one for one in budgets if one.id == id), None)
        if found is None:
            raise NotFound(f"no budget {id!r}")
        # First, so that a removal that fails before the runs look again can be repeated.
        await self.set_budget(replace(found, tokens=None, micro_usd=None))
        await self._execute("delete_budget", id=id)

    async def _wake_waiting(self, budget: Budget) -> None:
        """Let the runs that wait until a budget renews look again.

        Another run that waits until this time looks, too, and then waits again.
        """
        now_us, _ = await self.budgets()
        wake_at = budget.period(now_us).renews_us
        while rows := await self._fetch("waiting_until", wake_at=wake_at, limit=MAX_WOKEN):
            # In one order, so that two that wake the same runs do not deadlock.
            keys = sorted((row["thread_id"], row["ordinal"]) for row in rows)
            for batch in in_batches(keys):
                async with self._transaction() as db:
                    for thread, ordinal in batch:
                        values = {"thread": thread, "ordinal": ordinal, "wake_at": wake_at}
                        db.defer(self._sql["wake_now"], values)

    async def look_again(self, run: RunId, renews_us: int) -> None:
        await self._execute("wake_now", wake_at=renews_us, **run_key(run))

    # --- spending ---------------------------------------------------------------------------------

    async def used(self, periods: Collection[tuple[str, int]]) -> Mapping[tuple[str, int], Used]:
        found: dict[tuple[str, int], Used] = {}
        for batch in in_batches(periods):
            statement, values = expand_list(
                self._sql["budget_used"], "budgets", sorted({id for id, _ in batch})
            )
            statement, began = expand_list(statement, "began", sorted({at for _, at in batch}))
            async with self._read_connection() as db:
                rows = await db.fetch(statement, values | began)
            found |= {key: _used(row) for row in rows if (key := _period_of(row)) in batch}
        return found

    async def reserve(self, budget: Budget, reservation: Reservation) -> Used | None:
        key = (reservation.budget, reservation.period_us)
        while True:
            try:
                await self._reserve(budget, reservation)
                return None
            except _Full:
                used = (await self.used([key])).get(key)
            if used is None:
                await self._add_period(key)
            elif not fits(budget, used.total, reservation.amount):
                return used
            # Otherwise another process has just added the row, or settled a call.

    async def _reserve(self, budget: Budget, reservation: Reservation) -> None:
        """Reserve, unless that was done before. Raises _Full."""
        values = _values(reservation)
        async with self._transaction() as db:
            try:
                with own_statement():
                    await db.execute(self._sql["insert_reservation"], values)
            except DuplicateRow:
                return
            limits = {"limit_tokens": budget.tokens, "limit_micro_usd": budget.micro_usd}
            if not await db.execute(self._sql["reserve_of_period"], values | limits):
                raise _Full

    async def _add_period(self, key: tuple[str, int]) -> None:
        with suppress(DuplicateRow):  # another process has just added it
            await self._execute("insert_period", budget=key[0], began=key[1])

    async def settle(self, reservation: Reservation, cost: Amount) -> bool:
        values = _values(reservation)
        spent = {"spent_tokens": cost.tokens, "spent_micro_usd": cost.micro_usd}
        async with self._transaction() as db:
            if not await db.execute(self._sql["delete_reservation"], values):
                return False
            await db.execute(self._sql["settle_of_period"], values | spent, commit=True)
            return True

    async def reservations(self, run: RunId) -> Sequence[Reservation]:
        rows = await self._fetch("reservations", **run_key(run))
        return [_reservation(row) for row in rows]

    async def charge_lost(self) -> int:
        lost = [_reservation(row) for row in await self._fetch("lost_reservations", limit=MAX_LIST)]
        return sum([await self.settle(one, one.amount) for one in lost])


def _reservation(row: Row) -> Reservation:
    return Reservation(
        RunId(ThreadId(row["thread_id"]), row["ordinal"]),
        row["position"],
        row["attempt"],
        row["budget_id"],
        row["began_at"],
        Amount(row["tokens"], row["micro_usd"]),
    )


def _values(reservation: Reservation) -> dict[str, Any]:
    return {
        **run_key(reservation.run),
        "position": reservation.position,
        "attempt": reservation.attempt,
        "budget": reservation.budget,
        "began": reservation.period_us,
        "tokens": reservation.amount.tokens,
        "micro_usd": reservation.amount.micro_usd,
    }


def _budget(row: Row) -> Budget:
    return Budget(
        BudgetScope(row["principal"], row["key_id"], row["workflow"]),
        row["time_window"],
        row["limit_tokens"],
        row["limit_micro_usd"],
        row["policy"],
    )


def _period_of(row: Row) -> tuple[str, int]:
    return row["budget_id"], row["began_at"]


def _used(row: Row) -> Used:
    return Used(
        Amount(row["spent_tokens"], row["spent_micro_usd"]),
        Amount(row["reserved_tokens"], row["reserved_micro_usd"]),
    )
