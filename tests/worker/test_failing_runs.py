"""Runs that fail in a worker are tried again after growing pauses, and do not delay others."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest

from tests.engine.stage import LIMITS, RecordingListener, Stage
from tests.worker.running import POLL_S, Gate, enqueue, events_of, until_over, working
from twelvefold.backoff import Backoff
from twelvefold.core.ids import RunId, ThreadId
from twelvefold.core.ports import (
    Listener,
    ModelRequest,
    ThreadRecord,
    WaitingRun,
    WaitingWork,
)
from twelvefold.engine.services import Services
from twelvefold.errors import ModelUnavailable, StoreRefused, StoreUnavailable
from twelvefold.services.model.scripted import ScriptedModel, in_turn, says
from twelvefold.worker.backoff import RunBackoff
from twelvefold.worker.loop import Worker
from twelvefold.worker.quarantine import POISON_ATTEMPTS
from twelvefold.worker.selection import BATCH_SIZE, CHOICE, SLOW_BATCH_SIZE


def endless_backoff(capacity: int = 1_000) -> RunBackoff:
    """Return pauses that do not end."""
    return RunBackoff(lambda: 0.0, capacity=capacity)


def short_backoff(capacity: int = 1_000) -> RunBackoff:
    return RunBackoff(time.monotonic, backoff=Backoff(0.05, 300.0), capacity=capacity)


async def test_a_run_that_a_service_failed_is_tried_again_after_growing_pauses(
    stage: Stage, log: StringIO
) -> None:
    away = [ModelUnavailable("the model is away")] * 3
    services = stage.process(model=ScriptedModel(in_turn(*away, says("There you are."))))
    run = await enqueue(services)

    async with working(Worker(services, 10, POLL_S, backoff=short_backoff())):
        await until_over(stage, run)

    assert (await stage.record(run)).status == "completed"
    pauses = [one["pause_s"] for one in events_of(log) if one["event"] == "run_postponed"]
    assert len(pauses) == 3
    assert pauses[2] > pauses[0]


async def test_other_runs_are_driven_while_one_is_postponed(stage: Stage) -> None:
    def script(request: ModelRequest) -> Any:
        said = str(request.items[-1])
        return ModelUnavailable("away") if "cursed" in said else says("There you are.")

    services = stage.process(model=ScriptedModel(script))
    cursed = await enqueue(services, "a cursed lamp")
    async with working(Worker(services, 1, POLL_S, backoff=endless_backoff())):
        while not stage.requests:
            await asyncio.sleep(0.01)
        runs = [await enqueue(services) for _ in range(5)]
        await until_over(stage, *runs)

    assert (await stage.record(cursed)).status == "queued"


async def test_more_failing_runs_than_are_remembered_are_tried_slowly(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, batches, paces = asyncio.Event(), list[int](), list[bool]()
    services = stage.process(model=ScriptedModel(lambda _: ModelUnavailable("away")))
    for _ in range(60):
        await enqueue(services)
    backoff = endless_backoff(capacity=20)
    worker = Worker(services, 64, POLL_S, backoff=backoff)
    select, found = worker._search._selector.select, worker._search._poll.found

    async def record_batch(slots: int, held: Mapping[RunId, str]) -> Sequence[WaitingRun]:
        runs = await select(slots, held)
        batches.append(len(runs))
        return runs

    async def wait_for_failures(something: bool, longest_s: float | None = None) -> bool:
        paces.append(something)
        if len(batches) == 12:
            gate.set()
        while worker.in_flight:
            await asyncio.sleep(0)
        return await found(something, longest_s)

    monkeypatch.setattr(worker._search._selector, "select", record_batch)
    monkeypatch.setattr(worker._search._poll, "found", wait_for_failures)
    async with working(worker):
        await gate.wait()

    assert batches[:2] == [BATCH_SIZE] * 2
    assert set(batches[2:]) == {SLOW_BATCH_SIZE}
    assert paces[0]
    assert not any(paces[2:])
    assert len(stage.requests) <= sum(batches)


async def test_a_worker_is_fast_again_when_failed_runs_make_progress(stage: Stage) -> None:
    away = [ModelUnavailable("away")] * 12
    services = stage.process(model=ScriptedModel(in_turn(*away, *[says("There.")] * 12)))
    runs = [await enqueue(services) for _ in range(12)]

    backoff = short_backoff(capacity=4)
    async with working(Worker(services, 64, POLL_S, backoff=backoff)):
        await until_over(stage, *runs)

    assert not backoff.is_full


@pytest.mark.parametrize(
    "error", [StoreRefused("an entry of a later release"), RuntimeError("a bug")]
)
async def test_a_run_that_cannot_be_read_is_postponed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, error: Exception, log: StringIO
) -> None:
    services = stage.process(says("There you are."))
    run = await enqueue(services)
    loads = 0

    async def load(thread: ThreadId) -> ThreadRecord:
        nonlocal loads
        loads += 1
        raise error

    monkeypatch.setattr(services.store, "load", load)
    searches, search = 0, services.store.waiting_work

    async def counted(**options: Any) -> WaitingWork:
        nonlocal searches
        searches += 1
        return await search(**options)

    monkeypatch.setattr(services.store, "waiting_work", counted)
    async with working(Worker(services, 10, 0.01, backoff=endless_backoff())):
        while not loads:
            await asyncio.sleep(0.01)
        seen = searches
        while searches < seen + 5:
            await asyncio.sleep(0.01)

    record = await stage.record(run)
    assert loads == 1
    assert (record.status, record.leased) == ("queued", False)
    assert [one["level"] for one in events_of(log) if "pause_s" in one] == [
        "warning" if isinstance(error, StoreRefused) else "error"
    ]


async def test_a_worker_waits_for_a_database_that_is_unavailable(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = stage.process(says("There you are."))
    run = await enqueue(services)
    usual, looks = services.store.waiting_work, 0

    async def waiting_work(**limits: Any) -> WaitingWork:
        nonlocal looks
        looks += 1
        if looks < 4:
            raise StoreUnavailable("the database cannot be reached")
        return await usual(**limits)

    monkeypatch.setattr(services.store, "waiting_work", waiting_work)
    async with working(Worker(services, 10, 0.01)):
        await until_over(stage, run)

    assert looks >= 4


async def test_a_listener_that_raises_postpones_its_run_only(stage: Stage, log: StringIO) -> None:
    class Broken(RecordingListener):
        def recorded(self, entry: Any) -> None:
            raise RuntimeError("a bug")

    services = stage.process(says("There you are."))
    runs = [await enqueue(services) for _ in range(2)]

    def listen(run: RunId) -> Listener:
        return Broken() if run == runs[0] else RecordingListener()

    def failed() -> list[str]:
        return [one["run"] for one in events_of(log) if one["event"] == "drive_failed"]

    worker = Worker(services, 10, POLL_S, listen=listen, backoff=endless_backoff())
    async with working(worker):
        await until_over(stage, runs[1])
        while not failed():
            await asyncio.sleep(0.01)

    assert failed() == [str(runs[0])]


async def claim_and_die(services: Services, run: RunId, times: int) -> None:
    for _ in range(times):
        assert await services.store.claim(run, 0)


async def test_runs_at_their_last_attempt_are_claimed_one_at_a_time_and_do_not_delay_others(
    stage: Stage,
) -> None:
    gate = Gate()
    services = stage.process(model=gate, limits=replace(LIMITS, max_attempts=3))
    suspects = [await enqueue(services) for _ in range(3 * CHOICE)]
    for run in suspects:
        await claim_and_die(services, run, POISON_ATTEMPTS)
    others = [await enqueue(services) for _ in range(3)]

    async with working(Worker(services, 10, POLL_S, batch_size=2)):
        await gate.until_requested(len(others) + 1)
        await asyncio.sleep(3 * POLL_S)
        most_at_once = gate.most_at_once
        gate.open()
        await until_over(stage, *suspects, *others)

    assert most_at_once == len(others) + 1


async def test_a_run_that_outlived_too_many_processes_fails(stage: Stage) -> None:
    services = stage.process(says("Nobody asks."), limits=replace(LIMITS, max_attempts=3))
    run = await enqueue(services)
    await claim_and_die(services, run, 3)

    async with working(Worker(services, 10, POLL_S)):
        await until_over(stage, run)

    record = await stage.record(run)
    assert (record.status, record.error) == (
        "failed",
        "3 attempts at this step ended without a result",
    )
