"""Rules of the code under test, broken one at a time: the simulation has to find each."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from tests.simulation.store import DirectStore, SimulatedStore
from twelvefold.core.ports import Append, Claim, OutboxMessage, WaitCondition
from twelvefold.core.ports.run_records import NO_CONDITION
from twelvefold.engine import commit, waiting
from twelvefold.engine.delta_writer import DeltaWriter
from twelvefold.engine.held_run import HeldRun
from twelvefold.engine.lease import HeldLease, LeaseGuard
from twelvefold.engine.perform import call as perform
from twelvefold.services.store.connection import Connection
from twelvefold.services.store.sql.store import SQLStore
from twelvefold.services.store.transaction import SQLTransaction

Patch = pytest.MonkeyPatch


def a_lapsed_lease_is_good_enough(patch: Patch) -> None:
    async def confirm(_: HeldLease) -> None:
        """Confirms nothing."""

    def check(_: LeaseGuard) -> None:
        """Cancels nothing."""

    patch.setattr(HeldLease, "is_valid", lambda _: True)
    patch.setattr(HeldLease, "ensure_valid", confirm)
    patch.setattr(HeldLease, "ensure_valid_for_effect", confirm)
    patch.setattr(LeaseGuard, "check", check)


def the_fence_is_ignored(patch: Patch) -> None:
    def fence(self: SQLStore, db: Connection, change: Append) -> None:
        values = {"thread": change.lease.run.thread, "new": change.head + change.adds}
        db.defer("UPDATE threads SET head = :new WHERE id = :thread", values)

    patch.setattr(SimulatedStore, "_fence", fence)


def a_database_error_is_charged_to_the_tool(patch: Patch) -> None:
    patch.setattr(perform, "_raise_if_not_of_the_tool", lambda db, error: None)


def a_letter_is_sent_without_a_claim(patch: Patch) -> None:
    async def claim(self: SQLStore, letter: OutboxMessage, for_s: float) -> bool:
        return True

    patch.setattr(SQLStore, "claim_message", claim)


def a_tool_s_rows_commit_by_themselves(patch: Patch) -> None:
    async def execute(self: SQLTransaction, statement: str, **values: Any) -> int:
        connection: Any = self._connection
        async with DirectStore(connection._link.server).write() as tx:
            return await original(tx, statement, **values)  # type: ignore[arg-type]

    original = SQLTransaction.execute
    patch.setattr(SQLTransaction, "execute", execute)


def a_crash_leaves_no_call_in_doubt(patch: Patch) -> None:
    async def claim(self: SQLStore, *args: Any) -> Claim | None:
        claimed = await original(self, *args)
        return claimed._replace(interrupted=False) if claimed else None

    original = SQLStore.claim
    patch.setattr(SQLStore, "claim", claim)


def a_given_up_reply_is_not_called_off(patch: Patch) -> None:
    patch.setattr(DeltaWriter, "_needs_restart", lambda self, *, last: False)


def a_wake_up_is_not_counted(patch: Patch) -> None:
    async def write_without_counter(
        *args: Any, wait: WaitCondition = NO_CONDITION, **more: Any
    ) -> HeldRun:
        return await original(*args, wait=wait._replace(wakes=None), **more)

    original = commit.write
    patch.setattr(waiting, "write", write_without_counter)


SABOTAGES: Mapping[str, Callable[[Patch], None]] = {
    broken.__name__: broken
    for broken in (
        a_lapsed_lease_is_good_enough,
        the_fence_is_ignored,
        a_database_error_is_charged_to_the_tool,
        a_letter_is_sent_without_a_claim,
        a_tool_s_rows_commit_by_themselves,
        a_crash_leaves_no_call_in_doubt,
        a_given_up_reply_is_not_called_off,
        a_wake_up_is_not_counted,
    )
}


@contextmanager
def sabotaged(name: str) -> Iterator[None]:
    """Break a rule while the body runs."""
    with Patch.context() as patch:
        SABOTAGES[name](patch)
        yield
