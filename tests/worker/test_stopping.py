"""A worker that stops: what becomes of its runs, also when the database does not answer."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.engine.stage import Stage
from tests.loop_clock import LoopClock
from tests.worker.running import POLL_S, Gate, enqueue, working
from twelvefold.core.ids import RunId
from twelvefold.core.ports import (
    Append,
    Listener,
    ModelReply,
    ModelRequest,
    StepTransaction,
)
from twelvefold.engine.services import Services
from twelvefold.engine.uninterrupted import ExitLimit
from twelvefold.services.mail.memory import MemoryMailer
from twelvefold.services.model.scripted import ScriptedModel, calls, in_turn, says
from twelvefold.worker.loop import Worker

RELEASE_S = 30.0


async def test_the_running_step_is_finished_and_the_run_given_back(stage: Stage) -> None:
    gate = Gate()
    buying = ScriptedModel(in_turn(calls(("buy", {"item": "a lamp"})), says("never asked")))

    class Buying(Gate):
        async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
            await super().reply(request, listener)
            return await buying.reply(request, listener)

    services = stage.process(model=(gate := Buying()))
    run = await enqueue(services)

    async with working(Worker(services, 10, POLL_S)) as stop:
        await gate.until_requested(1)
        stop.set()
        await asyncio.sleep(0.05)
        gate.open()

    record = await stage.record(run)
    assert (record.status, record.leased) == ("queued", False)
    assert await stage.bought() == ["a lamp"]
    assert len(buying.requests) == 1


async def test_a_run_at_its_last_step_ends(stage: Stage) -> None:
    services = stage.process(model=(gate := Gate()))
    run = await enqueue(services)

    async with working(Worker(services, 10, POLL_S)) as stop:
        await gate.until_requested(1)
        stop.set()
        await asyncio.sleep(0.05)
        gate.open()

    assert (await stage.record(run)).status == "completed"


async def test_a_step_that_outlasts_the_grace_is_abandoned(stage: Stage) -> None:
    services = stage.process(model=(gate := Gate()))
    runs = [await enqueue(services) for _ in range(20)]

    async with working(Worker(services, 256, POLL_S, grace_s=0.1)):
        await gate.until_requested(20)

    records = [await stage.record(run) for run in runs]
    assert {(one.status, one.leased) for one in records} == {("queued", False)}


async def test_runs_claimed_during_the_stop_are_given_back(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = stage.process(says("There you are."))
    runs = [await enqueue(services) for _ in range(10)]
    usual, claiming = services.store.claim, asyncio.Event()

    async def claim(run: RunId, *how: Any) -> Any:
        claiming.set()
        await asyncio.sleep(0.1)
        return await usual(run, *how)

    monkeypatch.setattr(services.store, "claim", claim)
    async with working(Worker(services, 256, POLL_S, grace_s=0)):
        await claiming.wait()

    records = [await stage.record(run) for run in runs]
    assert {one.leased for one in records} == {False}


async def test_a_worker_without_runs_ends_at_once(stage: Stage) -> None:
    async with working(Worker(stage.process(), 10, 3_600.0)):
        await asyncio.sleep(0.3)


async def test_a_cancelled_worker_gives_its_runs_back(stage: Stage) -> None:
    services = stage.process(model=(gate := Gate()))
    run = await enqueue(services)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(Worker(services, 10, POLL_S).run(asyncio.Event()))
        await gate.until_requested(1)
        task.cancel()

    record = await stage.record(run)
    assert (record.status, record.leased) == ("queued", False)


class SilentDatabase:
    """Makes methods of a store wait forever, like a database that no longer answers."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.cancelled = 0
        self.calls: list[str] = []

    async def hang(self) -> None:
        self.reached.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    def instead_of(self, name: str) -> Callable[..., Any]:
        async def hangs(*_: Any, **__: Any) -> Any:
            self.calls.append(name)
            await self.hang()

        return hangs


@pytest.fixture
def silence() -> SilentDatabase:
    return SilentDatabase()


def stopping(services: Services, release_s: float = 0.05) -> Services:
    """Let the process abandon unfinished work so soon when it stops."""
    return replace(services, exit_limit=ExitLimit(release_s))


def silent_at_commit(
    services: Services, silence: SilentDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let the database receive a step's COMMIT and answer neither it nor any later statement."""
    append_here = services.store.append

    @asynccontextmanager
    async def silent(change: Append) -> AsyncIterator[StepTransaction]:
        async with append_here(change) as tx:
            yield tx
            for name in ("load", "release", "run", "ask_cancel", "claim", "renew"):
                monkeypatch.setattr(services.store, name, silence.instead_of(name))
            await silence.hang()

    monkeypatch.setattr(services.store, "append", silent)


async def test_a_commit_that_is_not_answered_is_abandoned_and_nothing_is_written_after_it(
    stage: Stage, silence: SilentDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = stopping(stage.process(calls(("buy", {"item": "a lamp"})), says("There.")))
    run = await enqueue(services)
    silent_at_commit(services, silence, monkeypatch)

    async with working(Worker(services, 1, POLL_S, grace_s=0)):
        await silence.reached.wait()

    assert silence.cancelled == 1
    assert silence.calls == []
    assert (await stage.record(run)).status == "running"


@pytest.mark.parametrize("hangs", ["claim", "load", "waiting_work"])
async def test_a_claim_that_is_not_answered_is_cancelled(
    stage: Stage, silence: SilentDatabase, monkeypatch: pytest.MonkeyPatch, hangs: str
) -> None:
    services = stopping(stage.process())
    await enqueue(services)
    monkeypatch.setattr(services.store, hangs, silence.instead_of(hangs))

    async with working(Worker(services, 10, POLL_S, grace_s=0)):
        await silence.reached.wait()

    assert silence.cancelled == 1


async def test_the_answered_one_of_two_claims_is_given_back(
    stage: Stage,
    silence: SilentDatabase,
    loop_clock: LoopClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = asyncio.Event()

    class Waits:
        async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
            gate.set()
            await asyncio.Event().wait()
            raise AssertionError

        async def close(self) -> None:
            """Nothing is open."""

    services = stopping(stage.process(model=Waits()), RELEASE_S)
    runs = [await enqueue(services) for _ in range(2)]
    claim, claims = services.store.claim, iter(range(2))

    async def first_hangs(*how: Any) -> Any:
        if not next(claims):
            await silence.hang()
        return await claim(*how)

    monkeypatch.setattr(services.store, "claim", first_hangs)
    async with working(Worker(services, 10, POLL_S, grace_s=0)) as stop:
        await gate.wait()
        await silence.reached.wait()
        stop.set()
        while {(await stage.record(run)).status for run in runs} != {"queued"}:
            await asyncio.sleep(0.01)
        loop_clock.let_pass(RELEASE_S)

    assert silence.cancelled == 1


async def test_a_release_that_is_not_answered_is_abandoned(
    stage: Stage, silence: SilentDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = stopping(stage.process(says("never")))
    monkeypatch.setattr(services.store, "release", silence.instead_of("release"))
    monkeypatch.setattr(services.model, "reply", silence.instead_of("reply"))
    await enqueue(services)

    async with working(Worker(services, 10, POLL_S, grace_s=0)):
        await silence.reached.wait()

    assert silence.calls == ["reply", "release"]
    assert silence.cancelled == 2


async def test_a_mail_whose_outcome_cannot_be_written_does_not_keep_the_process(
    stage: Stage, silence: SilentDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = stopping(stage.process())
    async with services.store.write() as tx:
        await tx.send_mail("ann@example.org", "Hi", "There")
    monkeypatch.setattr(services.store, "message_sent", silence.instead_of("message_sent"))

    async with working(Worker(services, 10, POLL_S, grace_s=0, mailer=MemoryMailer())):
        await silence.reached.wait()

    assert silence.cancelled == 1
