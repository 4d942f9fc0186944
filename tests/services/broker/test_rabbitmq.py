"""Wake-ups over a real RabbitMQ: no search of the table would find a run here.

A worker's pauses without a wake-up are an hour, unless a test is about them.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import StringIO

import aio_pika
import pytest

from tests.engine.stage import Stage
from tests.services.broker.brokers import TestBroker, until
from tests.worker.running import Gate, enqueue, events_of, until_over, working
from twelvefold.errors import BrokerUnavailable
from twelvefold.services.broker import open_wake_ups
from twelvefold.services.broker.queues import DELIVERY_LIMIT
from twelvefold.services.mail.memory import MemoryMailer
from twelvefold.services.model.scripted import says
from twelvefold.worker.loop import Worker

pytestmark = pytest.mark.slow
HOUR_S = 3_600.0


@asynccontextmanager
async def idle(broker: TestBroker, worker: Worker, *, others: int = 0) -> AsyncIterator[None]:
    """Run a worker that has found nothing, so that only a wake-up starts its next search."""
    async with working(worker):
        await broker.until_counts(broker.queue, 0, 1 + others)
        yield


async def test_a_run_starts_by_its_wake_up_alone(stage: Stage, broker: TestBroker) -> None:
    web = broker.attach(stage.process())
    services = broker.attach(stage.process(says("One."), says("Two.")))
    async with idle(broker, Worker(services, 8, HOUR_S, sweep_s=HOUR_S)):
        for _ in range(2):
            await until_over(stage, await enqueue(web))

        await broker.until_counts(broker.queue, 0, 1)


async def test_mail_is_sent_by_its_wake_up_alone(stage: Stage, broker: TestBroker) -> None:
    web, services = broker.attach(stage.process()), broker.attach(stage.process())
    mailer = MemoryMailer()
    async with idle(broker, Worker(services, 8, HOUR_S, sweep_s=HOUR_S, mailer=mailer)):
        async with web.store.write() as tx:
            await tx.send_mail("ann@example.org", "Hello", "Hello")
        web.wake_ups.mail_queued()
        await until(lambda: mailer.sent)


async def test_a_doubled_wake_up_finds_nothing(stage: Stage, broker: TestBroker) -> None:
    web, services = broker.attach(stage.process()), broker.attach(stage.process(says("One.")))
    async with idle(broker, Worker(services, 8, HOUR_S, sweep_s=HOUR_S)):
        run = await enqueue(web)
        web.wake_ups.run_queued("shop")
        await until_over(stage, run)
        web.wake_ups.run_queued("shop")
        await broker.until_counts(broker.queue, 0, 1)

    # Acknowledged, not returned.
    assert await broker.counts(broker.queue) == (0, 0)
    assert len(stage.requests) == 1


async def test_a_lost_wake_up_is_found_by_the_sweep(
    stage: Stage, broker: TestBroker, log: StringIO
) -> None:
    web, services = broker.attach(stage.process()), broker.attach(stage.process(says("One.")))
    stolen: list[object] = []

    async def steal(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        stolen.append(message)

    async with (
        idle(broker, Worker(services, 8, HOUR_S, sweep_s=0.3)),
        broker.channel() as channel,
    ):
        queue = await channel.get_queue(broker.queue, ensure=False)
        await queue.consume(steal, no_ack=True, arguments={"x-priority": 10})
        await asyncio.sleep(1)  # until the pauses are those of sweeps
        await until_over(stage, await enqueue(web))
        await until(lambda: stolen)

    assert "wake_up_missed" in [one["event"] for one in events_of(log)]


async def test_a_purged_queue_delays_no_run_beyond_the_next_search(
    stage: Stage, broker: TestBroker
) -> None:
    gate = Gate()
    web, services = broker.attach(stage.process()), broker.attach(stage.process(model=gate))
    async with idle(broker, Worker(services, 1, HOUR_S, sweep_s=HOUR_S)):
        runs = [await enqueue(web)]
        await gate.until_requested(1)
        runs.append(await enqueue(web))
        await broker.until_counts(broker.queue, 1, 0)  # a full worker consumes nothing
        await broker.purge(broker.queue)
        gate.open()
        await until_over(stage, *runs)


async def test_what_a_full_worker_does_not_take_goes_to_another(
    stage: Stage, broker: TestBroker
) -> None:
    gate = Gate()
    web = broker.attach(stage.process())
    full, free = broker.attach(stage.process(model=gate)), broker.attach(stage.process(says("B.")))
    async with idle(broker, Worker(full, 1, HOUR_S, sweep_s=HOUR_S)):
        first = await enqueue(web)
        await gate.until_requested(1)
        await broker.until_counts(broker.queue, 0, 0)
        async with idle(broker, Worker(free, 8, HOUR_S, sweep_s=HOUR_S)):
            await until_over(stage, await enqueue(web))
        gate.open()
        await until_over(stage, first)


async def test_the_wake_up_of_a_killed_worker_goes_to_another(
    stage: Stage, broker: TestBroker
) -> None:
    command = [sys.executable, "-m", "tests.services.broker.holder"]
    holder = await asyncio.create_subprocess_exec(
        *command, broker.server.url, broker.database, stdout=asyncio.subprocess.PIPE
    )
    assert holder.stdout
    try:
        await broker.until_counts(broker.queue, 0, 1)
        broker.wake_ups().run_queued("shop")
        while await holder.stdout.readline() != b"1\n":
            pass
        services = broker.attach(stage.process(says("One.")))
        async with idle(broker, Worker(services, 8, HOUR_S, sweep_s=HOUR_S), others=1):
            run = await enqueue(stage.process())  # no message announces it
            holder.kill()
            await until_over(stage, run)
    finally:
        if holder.returncode is None:
            holder.kill()
        await holder.wait()


async def test_a_stopping_worker_returns_what_it_has_not_acted_on(
    stage: Stage, broker: TestBroker
) -> None:
    wake_ups, woken = broker.wake_ups(), asyncio.Event()
    async with wake_ups.subscribe(["shop"], mail=False, wake=woken.set) as subscription:
        subscription.settle(0, used=0, room=8)
        await broker.until_counts(broker.queue, 0, 1)
        wake_ups.run_queued("shop")
        await until(lambda: subscription.received)
        subscription.settle(subscription.received, used=0, room=0)

        await broker.until_counts(broker.queue, 1, 0)


async def test_a_deleted_queue_is_declared_again_by_its_worker(
    stage: Stage, broker: TestBroker
) -> None:
    web, services = broker.attach(stage.process()), broker.attach(stage.process(says("One.")))
    async with idle(broker, Worker(services, 8, HOUR_S, sweep_s=HOUR_S)):
        await broker.delete(broker.queue)
        await broker.until_counts(broker.queue, 0, 1)
        await until_over(stage, await enqueue(web))


async def test_a_deleted_queue_is_declared_again_by_a_publisher(broker: TestBroker) -> None:
    wake_ups = broker.wake_ups()
    wake_ups.run_queued("shop")
    await broker.until_counts(broker.queue, 1, 0)
    await broker.delete(broker.queue)

    wake_ups.run_queued("shop")

    await broker.until_counts(broker.queue, 1, 0)


async def test_wake_ups_of_a_process_that_ends_are_sent_first(broker: TestBroker) -> None:
    wake_ups = broker.wake_ups()
    for _ in range(100):
        wake_ups.run_queued("shop")
    await wake_ups.close()

    await broker.until_counts(broker.queue, 100, 0)


async def test_a_killed_broker_is_replaced_by_polls_until_it_is_back(
    stage: Stage, broker: TestBroker, log: StringIO
) -> None:
    web = broker.attach(stage.process())
    services = broker.attach(stage.process(*[says("There you are.")] * 4))
    worker = Worker(services, 8, 0.1, sweep_s=HOUR_S)
    stop = asyncio.Event()
    async with asyncio.timeout(100), asyncio.TaskGroup() as group:
        group.create_task(worker.run(stop))
        await broker.until_counts(broker.queue, 0, 1)
        await until_over(stage, await enqueue(web))
        # RabbitMQ 3.10.8 does not serve a quorum queue again that was made a moment before.
        await asyncio.sleep(2)
        broker.server.kill()
        await until_over(stage, await enqueue(web), await enqueue(web))
        await asyncio.to_thread(broker.server.start)
        await until(lambda: connections(log) == 2)
        await asyncio.sleep(1)  # so that the searches that find nothing are over
        await until_over(stage, await enqueue(web))
        await broker.until_counts(broker.queue, 0, 1)
        stop.set()


def connections(log: StringIO) -> int:
    return sum(one["event"] == "broker_connected" for one in events_of(log))


async def test_a_wake_up_that_is_returned_too_often_becomes_a_dead_letter(
    broker: TestBroker,
) -> None:
    wake_ups = broker.wake_ups()
    wake_ups.run_queued("shop")
    await broker.until_counts(broker.queue, 1, 0)
    async with broker.channel() as channel:
        queue = await channel.get_queue(broker.queue, ensure=False)
        returned = 0
        while message := await queue.get(fail=False):
            await message.nack(requeue=True)
            returned += 1

    assert returned == DELIVERY_LIMIT + 1
    assert await broker.counts(broker.dead_letters) == (1, 0)


async def test_the_check_declares_the_queues_and_names_what_is_wrong(broker: TestBroker) -> None:
    assert await broker.wake_ups().check(["shop"]) == "127.0.0.1"
    assert await broker.counts(broker.queue) == (0, 0)

    await broker.delete(broker.queue)
    async with broker.channel() as channel:
        await channel.declare_queue(broker.queue, durable=True)
    with pytest.raises(BrokerUnavailable, match=r"BROKER_URL: 127\.0\.0\.1: .*inequivalent arg"):
        await broker.wake_ups().check(["shop"])
    wrong = broker.server.url.replace("guest:guest", "guest:wrong")
    with pytest.raises(
        BrokerUnavailable, match=r"BROKER_URL: 127\.0\.0\.1: .*ACCESS_REFUSED"
    ) as error:
        await open_wake_ups(broker_url=wrong, database=broker.database).check(["shop"])
    assert "wrong" not in str(error.value)
