"""A transactional tool that works for longer than the lease before its first statement."""

import asyncio
from dataclasses import replace

import pytest

from tests.engine.stage import Stage, drive_new
from tests.waiting import HANG_S
from twelvefold.core.ids import RunId, ThreadId
from twelvefold.core.ports import Store, Transaction
from twelvefold.core.tools.tool import tool
from twelvefold.core.workflow import Workflow
from twelvefold.engine.lease import RenewalThread
from twelvefold.services.model.scripted import calls, says
from twelvefold.services.store.sqlite.store import SQLiteStore


@pytest.mark.usefixtures("frequent_renewals")
async def test_the_lease_is_renewed_until_the_tool_sends_its_first_statement(stage: Stage) -> None:
    run = RunId(ThreadId(f"{1:044x}"), 1)
    renewed: list[bool] = []

    @tool
    async def think(tx: Transaction) -> str:
        """Think, then buy."""
        await stage.let_leases_run_out()
        async with asyncio.timeout(HANG_S):
            while not (await stage.record(run)).leased:
                await asyncio.sleep(0.001)
        renewed.append(True)
        await tx.execute("insert into bought (item, who) values ('lamp', 'ann')")
        return "bought"

    async def open_store() -> Store:
        return SQLiteStore(str(stage.path))

    workflow = Workflow("shop", "Sell.", (think,))
    services = stage.process(calls(("think", {})), says("Done."), workflow=workflow)
    renewer = RenewalThread(open_store, services.monotonic)
    try:
        outcome = await drive_new(replace(services, renewer=renewer))
    finally:
        await renewer.close()

    assert (outcome.run, renewed) == (run, [True])
    assert await stage.bought() == ["lamp"]
