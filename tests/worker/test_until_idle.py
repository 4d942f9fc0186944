"""A worker that ends when nothing is left to do, for cron and serverless jobs."""

import asyncio
from typing import Any

from tests.builders import user
from tests.engine.stage import ANN, Stage
from tests.waiting import HANG_S
from tests.worker.running import POLL_S, Gate, enqueue
from twelvefold import Transaction, Workflow, tool
from twelvefold.core import OutboxMessage, WaitingWork
from twelvefold.engine.commands import RunRequest, enqueue_run
from twelvefold.services.mail.memory import MemoryMailer
from twelvefold.services.model.scripted import calls, says
from twelvefold.worker.loop import Worker


async def work(worker: Worker) -> None:
    async with asyncio.timeout(HANG_S):
        await worker.run(asyncio.Event())


async def test_it_ends_at_once_without_work(stage: Stage) -> None:
    await work(Worker(stage.process(), 4, POLL_S, until_idle=True))


async def test_it_drives_all_runs_that_wait_before_it_ends(stage: Stage) -> None:
    services = stage.process(*[says("There you are.")] * 6)
    runs = [await enqueue(services) for _ in range(6)]

    await work(Worker(services, 2, POLL_S, until_idle=True))

    assert [(await stage.record(run)).status for run in runs] == ["completed"] * 6


async def test_it_ends_after_the_runs_that_it_drives(stage: Stage) -> None:
    gate = Gate()
    services = stage.process(model=gate)
    run = await enqueue(services)

    async with asyncio.TaskGroup() as group:
        working = group.create_task(work(Worker(services, 4, POLL_S, until_idle=True)))
        await gate.until_requested(1)
        await asyncio.sleep(4 * POLL_S)
        assert not working.done()
        gate.open()

    assert (await stage.record(run)).status == "completed"


async def test_it_sends_the_mail_that_is_due_before_it_ends(stage: Stage) -> None:
    services = stage.process()
    async with services.store.write() as tx:
        await tx.send_mail("ann@example.org", "Hi", "There")
    mailer = MemoryMailer()

    await work(Worker(services, 4, POLL_S, mailer=mailer, until_idle=True))

    assert [mail.to for mail in mailer.sent] == ["ann@example.org"]


async def test_a_run_that_waits_for_a_person_does_not_keep_it(stage: Stage) -> None:
    services = stage.process(calls(("refund", {"item": "a lamp"})))
    run, _ = await enqueue_run(
        services, RunRequest(workflow="shop", principal=ANN, items=[user("refund it")])
    )

    await work(Worker(services, 4, POLL_S, until_idle=True))

    assert (await stage.record(run)).status == "waiting"


async def test_it_finds_the_mail_of_a_run_that_ended_during_the_search(stage: Stage) -> None:
    gate = asyncio.Event()

    @tool
    async def notify(tx: Transaction) -> str:
        """Send a mail."""
        await gate.wait()
        await tx.send_mail("ann@example.org", "Hi", "There")
        return "sent"

    services = stage.process(
        calls(("notify", {})), says("Done."), workflow=Workflow("shop", "Help.", (notify,))
    )
    await enqueue(services)
    mailer = MemoryMailer()
    worker = Worker(services, 4, POLL_S, mailer=mailer, until_idle=True)
    search = services.store.waiting_work

    async def answer_late(**query: Any) -> WaitingWork:
        found = await search(**query)
        if worker.in_flight:
            gate.set()
            while worker.in_flight:
                await asyncio.sleep(0.001)
        return found

    due_messages = services.store.due_messages

    async def find_late(limit: int) -> list[OutboxMessage]:
        found = await due_messages(limit)
        await asyncio.sleep(POLL_S)
        return found

    services.store.due_messages = find_late  # type: ignore[method-assign]
    services.store.waiting_work = answer_late  # type: ignore[method-assign]
    await work(worker)

    assert [mail.to for mail in mailer.sent] == ["ann@example.org"]
