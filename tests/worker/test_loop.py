"""Which runs a worker claims, how many at once, and what it does beside them."""

import asyncio
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest

from tests.engine.stage import RecordingListener, Stage, Trouble, cut_off, start
from tests.worker.running import POLL_S, Gate, enqueue, events_of, until_over, working
from twelvefold.core.events import ModelReplied, RunFinished
from twelvefold.core.ids import RunId
from twelvefold.core.ports import (
    Listener,
)
from twelvefold.core.workflow import Workflow
from twelvefold.services.mail.memory import MemoryMailer
from twelvefold.services.model.scripted import ScriptedModel, calls, in_turn, says
from twelvefold.worker.loop import Worker


async def test_a_queued_run_is_driven_to_its_end(stage: Stage) -> None:
    services = stage.process(calls(("buy", {"item": "a lamp"})), says("There you are."))
    run = await enqueue(services)

    async with working(Worker(services, 10, POLL_S)):
        await until_over(stage, run)

    assert (await stage.record(run)).status == "completed"
    assert await stage.bought() == ["a lamp"]


async def test_a_run_whose_process_died_is_claimed_when_its_lease_has_expired(stage: Stage) -> None:
    run = (await start(stage.process())).run
    services = stage.process(says("There you are."))

    async with working(Worker(services, 10, POLL_S)):
        await asyncio.sleep(0.2)
        held = await stage.record(run)
        await stage.let_leases_run_out()
        await until_over(stage, run)

    assert (held.status, held.leased) == ("running", True)
    assert (await stage.record(run)).status == "completed"


async def test_no_more_runs_are_in_flight_than_allowed_and_free_slots_are_filled(
    stage: Stage,
) -> None:
    gate = Gate()
    services = stage.process(model=gate)
    runs = [await enqueue(services) for _ in range(8)]
    worker = Worker(services, 3, POLL_S, max_per_principal=3)

    async with working(worker):
        await gate.until_requested(3)
        await asyncio.sleep(0.1)
        in_flight = worker.in_flight
        gate.open()
        await until_over(stage, *runs)

    assert (in_flight, gate.most_at_once) == (3, 3)


async def test_hundreds_of_runs_wait_for_the_model_at_once(stage: Stage) -> None:
    gate = Gate()
    services = stage.process(model=gate)
    runs = [await enqueue(services) for _ in range(200)]

    async with working(Worker(services, 256, POLL_S)):
        await gate.until_requested(200)
        gate.open()
        await until_over(stage, *runs)

    assert gate.most_at_once == 200


async def test_each_run_is_driven_by_one_of_two_workers(stage: Stage) -> None:
    first, second = (
        stage.process(calls(("buy", {"item": "a lamp"})), says("There you are.")) for _ in range(2)
    )
    runs = [await enqueue(first) for _ in range(30)]

    async with working(Worker(first, 10, POLL_S), Worker(second, 10, POLL_S)):
        await until_over(stage, *runs)

    assert await stage.bought() == ["a lamp"] * 30
    for run in runs:
        assert [type(event) for event in await stage.journal(run)].count(RunFinished) == 1


async def test_runs_of_unknown_workflows_are_left_to_other_workers(stage: Stage) -> None:
    run = await enqueue(stage.process())
    elsewhere = stage.process(says("hm"), workflow=Workflow("elsewhere", "Do.", ()))

    async with working(Worker(elsewhere, 10, POLL_S)):
        await asyncio.sleep(0.2)

    assert (await stage.record(run)).status == "queued"


async def test_a_run_that_waits_for_a_person_is_not_claimed_again(stage: Stage) -> None:
    services = stage.process(calls(("refund", {"item": "a lamp"})))
    run = await enqueue(services)

    async with working(Worker(services, 10, POLL_S)):
        while (await stage.record(run)).status != "waiting":
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)

    assert len(stage.requests) == 1


async def test_a_listener_is_notified_of_its_run(stage: Stage) -> None:
    heard: dict[RunId, RecordingListener] = {}

    def listen(run: RunId) -> Listener:
        return heard.setdefault(run, RecordingListener())

    services = stage.process(says("There you are."))
    run = await enqueue(services)
    async with working(Worker(services, 10, POLL_S, listen=listen)):
        await until_over(stage, run)

    assert heard[run].texts == ["There you are."]
    assert [type(entry.event) for entry in heard[run].entries] == [ModelReplied, RunFinished]


async def test_a_worker_that_is_woken_searches_at_once(stage: Stage) -> None:
    services = stage.process(says("There you are."))
    worker = Worker(services, 10, 3_600.0)

    async with working(worker):
        await asyncio.sleep(0.5)
        run = await enqueue(services)
        worker.wake()
        await until_over(stage, run)


async def test_a_run_that_another_process_takes_over_is_not_driven_on(
    stage: Stage, log: StringIO
) -> None:
    services = stage.process(model=(gate := Gate()))
    run = await enqueue(services)

    async with working(Worker(services, 1, 3_600.0)):
        await gate.until_requested(1)
        await stage.let_leases_run_out()
        rival = stage.process(says("I was quicker."))
        async with working(Worker(rival, 10, POLL_S)):
            await until_over(stage, run)
        gate.open()

    assert [one for one in events_of(log) if one["event"] == "run_rested"]
    assert [type(event) for event in await stage.journal(run)].count(RunFinished) == 1


async def test_a_worker_sends_mail_while_it_drives_runs(stage: Stage) -> None:
    services = stage.process(says("There you are."), trouble=Trouble(cut_off))
    run = await enqueue(services)
    async with services.store.write() as tx:
        await tx.send_mail("ann@example.org", "Hi", "There")

    mailer = MemoryMailer()
    async with working(Worker(services, 10, POLL_S, mailer=mailer)):
        await until_over(stage, run)
        while not mailer.sent:
            await asyncio.sleep(0.01)

    assert [mail.to for mail in mailer.sent] == ["ann@example.org"]


async def test_without_a_mailer_messages_stay_in_the_outbox(stage: Stage) -> None:
    services = stage.process()
    async with services.store.write() as tx:
        await tx.send_mail("ann@example.org", "Hi", "There")

    async with working(Worker(services, 10, POLL_S)):
        await asyncio.sleep(0.2)

    (message,) = await services.store.messages(limit=10)
    assert (message.attempts, message.sent_at_us) == (0, None)


async def test_runs_that_were_cancelled_half_way_or_deleted_are_ended(stage: Stage) -> None:
    services = stage.process(calls(("refund", '{"item":"a lamp"}')))
    waits = await enqueue(services)
    async with working(Worker(services, 10, POLL_S)):
        while (await stage.record(waits)).status != "waiting":
            await asyncio.sleep(0.01)
    deleted = await enqueue(services)
    await services.store.ask_cancel(waits)
    await services.store.delete_thread(deleted.thread)

    async with working(Worker(stage.process(), 10, POLL_S)):
        await until_over(stage, waits)
        while not isinstance((await stage.journal(deleted))[-1], RunFinished):
            await asyncio.sleep(0.01)

    assert (await stage.record(waits)).status == "cancelled"
    assert (await stage.journal(deleted))[-1] == RunFinished("cancelled", "cancelled")


async def test_everything_is_prepared_before_the_first_claim(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    class Client(ScriptedModel):
        def prepare(self) -> None:
            order.append("prepared")

    services = stage.process(says("unused"))
    services = replace(services, model=Client(in_turn(says("There you are."))))
    run = await enqueue(services)
    claim = services.store.claim

    async def claimed(*how: Any) -> Any:
        order.append("claimed")
        return await claim(*how)

    monkeypatch.setattr(services.store, "claim", claimed)
    async with working(Worker(services, 10, POLL_S)):
        await until_over(stage, run)

    assert order == ["prepared", "claimed"]
