"""A worker that is told to stop while the database does not answer: nothing holds it up."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.engine.stage import Stage
from tests.worker.test_loop import POLL_S, enqueue, working
from twelvefold.core.ports import Append, Listener, ModelReply, ModelRequest, StepTransaction
from twelvefold.engine.services import Services
from twelvefold.engine.shield import ExitLimit
from twelvefold.services.mail.memory import MemoryMailer
from twelvefold.services.model.scripted import calls, says
from twelvefold.worker.loop import Worker


class NullListener:
    """Makes a store hang from a place on, as a database does that does not answer any more."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.broken_off = 0
        self.calls: list[str] = []

    async def hang(self) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.broken_off += 1
            raise

    def instead_of(self, name: str) -> Callable[..., Any]:
        async def hangs(*_: Any, **__: Any) -> Any:
            self.calls.append(name)
            await self.hang()

        return hangs


@pytest.fixture
def silence() -> NullListener:
    return NullListener()


def stopping(services: Services) -> Services:
    """The process abandons at once what is still under way when it stops."""
    return replace(services, exit_limit=ExitLimit(release_s=0.05))


def silent_at_commit(
    services: Services, silence: NullListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database receives a step's COMMIT and never answers, this or anything after it."""
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
    stage: Stage, silence: NullListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = stopping(stage.process(calls(("buy", {"item": "a lamp"})), says("There.")))
    run = await enqueue(services)
    silent_at_commit(services, silence, monkeypatch)

    async with working(Worker(services, 1, POLL_S, grace_s=0)):
        await silence.begun.wait()

    assert silence.broken_off == 1
    assert silence.calls == []
    assert (await stage.record(run)).status == "running"


@pytest.mark.parametrize("hangs", ["claim", "load", "waiting_work"])
async def test_a_claim_that_is_not_answered_is_broken_off(
    stage: Stage, silence: NullListener, monkeypatch: pytest.MonkeyPatch, hangs: str
) -> None:
    services = stopping(stage.process())
    await enqueue(services)
    monkeypatch.setattr(services.store, hangs, silence.instead_of(hangs))

    async with working(Worker(services, 10, POLL_S, grace_s=0)):
        await silence.begun.wait()

    assert silence.broken_off == 1


async def test_of_two_claims_the_one_that_is_answered_is_given_back(
    stage: Stage, silence: NullListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = asyncio.Event()

    class Waits:
        async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
            gate.set()
            await asyncio.Event().wait()
            raise AssertionError

        async def close(self) -> None:
            """Nothing is open."""

    services = stopping(stage.process(model=Waits()))
    runs = [await enqueue(services) for _ in range(2)]
    claim, claims = services.store.claim, iter(range(2))

    async def first_hangs(*how: Any) -> Any:
        if not next(claims):
            await silence.hang()
        return await claim(*how)

    monkeypatch.setattr(services.store, "claim", first_hangs)
    async with working(Worker(services, 10, POLL_S, grace_s=0)):
        await gate.wait()
        await silence.begun.wait()

    assert {(await stage.record(run)).status for run in runs} == {"queued"}


async def test_a_release_that_is_not_answered_is_abandoned(
    stage: Stage, silence: NullListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = stopping(stage.process(says("never")))
    monkeypatch.setattr(services.store, "release", silence.instead_of("release"))
    monkeypatch.setattr(services.model, "reply", silence.instead_of("reply"))
    await enqueue(services)

    async with working(Worker(services, 10, POLL_S, grace_s=0)):
        await silence.begun.wait()

    assert silence.calls == ["reply", "release"]
    assert silence.broken_off == 2


async def test_a_mail_that_cannot_be_noted_does_not_keep_the_process(
    stage: Stage, silence: NullListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = stopping(stage.process())
    async with services.store.write() as tx:
        await tx.send_mail("ann@example.org", "Hi", "There")
    monkeypatch.setattr(services.store, "letter_sent", silence.instead_of("letter_sent"))

    async with working(Worker(services, 10, POLL_S, grace_s=0, mailer=MemoryMailer())):
        await silence.begun.wait()

    assert silence.broken_off == 1
