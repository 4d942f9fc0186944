"""A whole run on every database: its instructions read rows, and its first output is invalid."""

from dataclasses import dataclass
from typing import Any

from tests.builders import finished_release, user
from tests.engine.stage import FixedIds
from twelvefold.core import Limits, Principal, ReadOnly, RunFinished, Store, Workflow, output_of
from twelvefold.core.ports import NullListener
from twelvefold.engine import RunRequest, start_run
from twelvefold.engine.drive import Outcome, drive
from twelvefold.engine.services import Services
from twelvefold.services.model.scripted import ScriptedModel, in_turn, says


@dataclass
class Seat:
    id: int


async def count_seats(who: Principal, db: ReadOnly) -> str:
    row = await db.fetch_one("select count(*) as seats from seats where taken = :taken", taken=0)
    return f"{who.id} may choose from {row and row['seats']} seats."


async def fail(who: Principal, db: ReadOnly) -> str:
    await db.fetch_all("select id from nowhere")
    return ""


async def driven(store: Store, workflow: Workflow[Any]) -> tuple[Outcome, ScriptedModel]:
    await store.add_release(finished_release())
    model = ScriptedModel(in_turn(says('{"id": "none"}'), says('{"id": 7}')))
    services = Services(store, model, {workflow.name: workflow}, FixedIds(), Limits(), "1.0")
    request = RunRequest(workflow=workflow.name, principal=Principal("ann"), items=[user("one")])
    return await drive(services, await start_run(services, request), NullListener()), model


async def test_instructions_read_the_database_for_each_request(store: Store) -> None:
    async with store.write() as tx:
        await tx.execute("insert into seats (id, taken) values (1, 0)")
        await tx.execute("insert into seats (id, taken) values (2, 1)")
    workflow = Workflow("academy", count_seats, output=Seat)

    outcome, model = await driven(store, workflow)

    assert [request.instructions.splitlines()[0] for request in model.requests] == [
        "ann may choose from 1 seats.",
        "ann may choose from 1 seats.",
    ]
    assert outcome.status == "completed"
    assert output_of(outcome.thread, workflow) == Seat(7)


async def test_a_statement_that_the_database_refuses_fails_the_run(store: Store) -> None:
    outcome, model = await driven(store, Workflow("academy", fail, output=Seat))

    [last] = [entry.event for entry in outcome.thread.latest[1:]]
    assert model.requests == []
    assert isinstance(last, RunFinished)
    assert (last.status, last.reason) == ("failed", "instructions")
    assert "instructions raised StoreRefused: " in last.error
    assert "nowhere" in last.error
