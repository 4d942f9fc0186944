"""The types of `twelvefold.testing`: mypy and pyright must accept this file."""

from typing import assert_type

from twelvefold import Transaction, Workflow, tool
from twelvefold.core import Mail
from twelvefold.testing import (
    CrashReport,
    FrozenClock,
    SyncTestApp,
    TestApp,
    assert_called,
    call,
    crash_matrix,
)


@tool
async def add_item(tx: Transaction, item: str) -> str:
    """Put one thing on the list."""
    await tx.execute("insert into list (item) values (:item)", item=item)
    return item


shopping = Workflow("shopping", "You keep a list.", (add_item,))


def check_sync(twelvefold_app: SyncTestApp) -> None:
    twelvefold_app.model.replies([call("add_item", item="milk"), "One moment."], "Done.")
    run = twelvefold_app.run(shopping, "Milk, please", principal="ann")
    assert_called(run, "add_item", times=1, item="milk")
    assert_type(run.text, str)
    assert_type(twelvefold_app.deliver_mails(), list[Mail])
    assert_type(twelvefold_app.clock, FrozenClock)


async def check_async() -> None:
    async with TestApp([shopping], seed=True) as app:
        assert_type((await app.run(shopping, "Milk, please")).text, str)


def check_crash() -> None:
    report = crash_matrix(shopping, "Milk", replies=[call("add_item", item="milk"), "Done."])
    assert_type(report, CrashReport)
    SyncTestApp([shopping], sead=True)  # type: ignore[call-arg]
