"""A worker with a broker: a wake-up starts a search; a rare sweep finds what a lost one announced.

The pauses without a wake-up are an hour, unless a test is about them.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from io import StringIO
from typing import Any

from tests.engine.stage import Stage
from tests.waiting import HANG_S
from tests.wake_ups import MAIL, FakeSubscription, FakeWakeUps
from tests.worker.running import Gate, enqueue, events_of, until_over, working
from twelvefold.backoff import Backoff
from twelvefold.core.ports import WaitingWork
from twelvefold.engine.services import Services
from twelvefold.errors import ModelUnavailable, StoreUnavailable
from twelvefold.services.mail.memory import MemoryMailer
from twelvefold.services.model.scripted import ScriptedModel, in_turn, says
from twelvefold.worker.backoff import RunBackoff
from twelvefold.worker.loop import Worker

HOUR_S = 3_600.0
SHORT_S = 0.05


def with_broker(stage: Stage, *replies: Any, **options: Any) -> tuple[Services, FakeWakeUps]:
    wake_ups = FakeWakeUps()
    return replace(stage.process(*replies, **options), wake_ups=wake_ups), wake_ups


@asynccontextmanager
async def idle_worker(
    services: Services,
    wake_ups: FakeWakeUps,
    *,
    max_runs: int = 8,
    poll_s: float = HOUR_S,
    sweep_s: float = HOUR_S,
    **options: Any,
) -> AsyncIterator[FakeSubscription]:
    """Run a worker whose first searches found nothing and that now waits."""
    worker = Worker(services, max_runs, poll_s, sweep_s=sweep_s, **options)
    async with working(worker):
        while not wake_ups.subscriptions or not wake_ups.subscriptions[0].room:
            await asyncio.sleep(0.01)
        yield wake_ups.subscriptions[0]


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


class Searches:
    """Counts the searches of a process; the next ones fail while `is_away`, or are `held`."""

    def __init__(self, services: Services) -> None:
        self.count = 0
        self.is_away = False
        self._read = services.store.waiting_work
        self.is_held = False
        self._is_allowed = asyncio.Event()
        self._is_allowed.set()

    async def __call__(self, **options: Any) -> WaitingWork:
        self.count += 1
        if self.is_away:
            raise StoreUnavailable("away")
        self.is_held = not self._is_allowed.is_set()
        await self._is_allowed.wait()
        return await self._read(**options)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Let no search begin during the body."""
        self._is_allowed.clear()
        yield
        self._is_allowed.set()


async def test_a_wake_up_starts_a_run_and_is_acknowledged_when_it_is_claimed(stage: Stage) -> None:
    gate = Gate()
    services, wake_ups = with_broker(stage, model=gate)
    statuses: list[int] = []
    async with idle_worker(services, wake_ups) as subscription:
        subscription.on_settle = lambda: statuses.append(len(subscription.waiting))
        run = await enqueue(services)
        await until(lambda: subscription.acknowledged)

        assert subscription.acknowledged == ["shop"]
        assert (await stage.record(run)).status == "running"
        gate.open()
        await until_over(stage, run)


async def test_a_doubled_wake_up_finds_nothing(stage: Stage) -> None:
    services, wake_ups = with_broker(stage, says("There you are."))
    async with idle_worker(services, wake_ups) as subscription:
        run = await enqueue(services)
        await until_over(stage, run)
        wake_ups.send(["shop", "shop"])
        await until(lambda: len(subscription.acknowledged) == 3)

    assert len(stage.requests) == 1
    assert not subscription.returned


async def test_a_lost_wake_up_is_found_by_the_sweep_and_logged(stage: Stage, log: StringIO) -> None:
    services, wake_ups = with_broker(stage, says("There you are."))
    async with idle_worker(services, wake_ups, sweep_s=SHORT_S):
        await asyncio.sleep(4 * SHORT_S)  # until the pauses are those of sweeps
        wake_ups.loses = True
        await until_over(stage, await enqueue(services))

    missed = [one for one in events_of(log) if one["event"] == "wake_up_missed"]
    assert [one["runs"] for one in missed] == [1]


async def test_a_worker_polls_while_the_broker_is_away(stage: Stage) -> None:
    services, wake_ups = with_broker(stage, says("One."), says("Two."))
    async with idle_worker(services, wake_ups, poll_s=SHORT_S) as subscription:
        subscription.connect(False)
        await until_over(stage, await enqueue(services))
        subscription.connect(True)
        await until_over(stage, await enqueue(services))

    assert list(wake_ups.queue) == ["shop"]


async def test_a_full_worker_leaves_wake_ups_to_others_until_it_has_room(stage: Stage) -> None:
    gate = Gate()
    services, wake_ups = with_broker(stage, model=gate)
    async with idle_worker(services, wake_ups, max_runs=2, max_per_principal=2) as subscription:
        runs = [await enqueue(services) for _ in range(2)]
        await gate.until_requested(2)
        await until(lambda: not subscription.room and not subscription.waiting)
        # A search may have found both runs before the wake-up of the second was sent. Then that one
        # returns to the broker, or stays there.
        left = len(wake_ups.queue)
        runs.append(await enqueue(services))
        assert len(wake_ups.queue) == left + 1
        gate.open()
        await until_over(stage, *runs)
        await until(lambda: subscription.room and not subscription.waiting)

    assert len(subscription.acknowledged + subscription.returned) == 2 - left


async def test_wake_ups_beyond_the_room_return_to_the_broker(stage: Stage) -> None:
    gate = Gate()
    services, wake_ups = with_broker(stage, model=gate)
    searches = Searches(services)
    services.store.waiting_work = searches  # type: ignore[method-assign]
    async with idle_worker(services, wake_ups, max_runs=1) as subscription:
        wake_ups.loses = True
        async with searches.held():
            for _ in range(3):
                subscription.deliver("shop")
            await until(lambda: searches.is_held)  # it covers these wake-ups
            runs = [await enqueue(services) for _ in range(3)]
        await gate.until_requested(1)
        await until(lambda: subscription.returned)

        assert subscription.acknowledged == ["shop"]
        assert subscription.returned == ["shop"] * 2
        gate.open()
        await until_over(stage, *runs)


async def test_a_worker_without_a_database_returns_wake_ups(stage: Stage) -> None:
    services, wake_ups = with_broker(stage, says("There you are."))
    searches = Searches(services)
    services.store.waiting_work = searches  # type: ignore[method-assign]
    async with idle_worker(services, wake_ups, poll_s=SHORT_S) as subscription:
        searches.is_away = True
        run = await enqueue(services)
        await until(lambda: subscription.returned)

        assert not subscription.room
        searches.is_away = False
        await until_over(stage, run)
        await until(lambda: subscription.room)


async def test_a_stopping_worker_returns_wake_ups_before_its_runs_end(stage: Stage) -> None:
    gate = Gate()
    services, wake_ups = with_broker(stage, model=gate)
    stop = asyncio.Event()
    worker = Worker(services, 8, HOUR_S, sweep_s=HOUR_S, grace_s=HANG_S)
    async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
        group.create_task(worker.run(stop))
        await until(lambda: wake_ups.subscriptions and wake_ups.subscriptions[0].room)
        subscription = wake_ups.subscriptions[0]
        await enqueue(services)
        await gate.until_requested(1)
        stop.set()
        await until(lambda: not subscription.room)

        assert worker.in_flight
        gate.open()


async def test_a_run_that_failed_is_tried_at_the_end_of_its_pause(stage: Stage) -> None:
    model = ScriptedModel(in_turn(ModelUnavailable("away"), says("There you are.")))
    services, wake_ups = with_broker(stage, model=model)
    backoff = RunBackoff(asyncio.get_running_loop().time, backoff=Backoff(0.1, 0.2))
    async with idle_worker(services, wake_ups, backoff=backoff):
        wake_ups.loses = True
        subscription = wake_ups.subscriptions[0]
        run = await enqueue(services)
        subscription.deliver("shop")
        await until_over(stage, run)

    assert len(stage.requests) == 2


async def test_an_idle_worker_only_sweeps(stage: Stage) -> None:
    services, wake_ups = with_broker(stage)
    searches = Searches(services)
    services.store.waiting_work = searches  # type: ignore[method-assign]
    async with idle_worker(services, wake_ups, poll_s=0.001):
        await asyncio.sleep(0.5)
        before = searches.count
        with suppress(TimeoutError):
            async with asyncio.timeout(1.5):
                await until(lambda: searches.count > before + 5)

    assert searches.count <= before + 5  # the pauses double; a poll would search a thousand times


async def test_mail_of_another_process_is_sent_after_its_wake_up(stage: Stage) -> None:
    services, wake_ups = with_broker(stage)
    mailer = MemoryMailer()
    async with idle_worker(services, wake_ups, mailer=mailer) as subscription:
        async with services.store.write() as tx:
            await tx.send_mail("ann@example.org", "Hello", "Hello")
        wake_ups.mail_queued()
        await until(lambda: mailer.sent)
        await until(lambda: subscription.acknowledged)

    assert subscription.acknowledged == [MAIL]
