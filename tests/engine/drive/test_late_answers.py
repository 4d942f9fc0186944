"""Calls with outside effects in runs whose commits or renewals are answered late."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.engine.leases import Clock, until
from tests.engine.stage import LIMITS, SHOP, Stage, after_start, start, world
from twelvefold.core.ports import Append, CallKey, Lease, NullListener, StepTransaction
from twelvefold.core.tools.signature import Effect
from twelvefold.core.tools.tool import tool
from twelvefold.core.workflow import Workflow
from twelvefold.engine.commands import take
from twelvefold.engine.drive import drive
from twelvefold.engine.services import Services
from twelvefold.services.model.scripted import calls, says


@pytest.fixture
def clock() -> Clock:
    return Clock()


LAMP = {"item": "a lamp"}


class LateStore:
    """Answers commits only when the test allows it; renewals wait too, and with `hangs` forever."""

    def __init__(self, services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
        self.committed, self.answered = asyncio.Event(), asyncio.Event()
        self.hangs, self.renewing = asyncio.Event(), asyncio.Event()
        self._append = services.store.append
        self._renew = services.store.renew
        monkeypatch.setattr(services.store, "append", self.append)
        monkeypatch.setattr(services.store, "renew", self.renew)

    @asynccontextmanager
    async def append(self, change: Append) -> AsyncIterator[StepTransaction]:
        async with self._append(change) as tx:
            yield tx
        self.committed.set()
        await self.answered.wait()

    async def renew(self, lease: Lease, lease_s: float) -> bool:
        await self.answered.wait()
        if self.hangs.is_set():
            self.renewing.set()
            await asyncio.Event().wait()
        return await self._renew(lease, lease_s)


@pytest.mark.parametrize("name", ["ship", "notify"])
async def test_no_call_starts_after_a_late_answer_if_the_run_is_over(
    stage: Stage, clock: Clock, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    slow = stage.process(calls((name, LAMP)), says("Bye."), monotonic=clock)
    late = LateStore(slow, monkeypatch)
    run = await start(slow)
    work = asyncio.ensure_future(drive(slow, run, NullListener()))
    await late.committed.wait()
    await stage.let_leases_run_out()
    # The other process leaves the unsafe call to a person, and runs the call with a key.
    other = stage.process(calls((name, LAMP)), says("Bye."))
    theirs = await drive(other, await take(other, run.run), NullListener())
    shipped, notified = len(world.shipped), len(world.notified)

    clock.now += LIMITS.lease_s + 9.0
    late.answered.set()
    outcome = await work

    assert outcome.status == theirs.status
    assert (len(world.shipped), len(world.notified)) == (shipped, notified)
    assert len(after_start(await stage.journal(run.run))) == len(outcome.thread.entries) - 1


async def test_a_run_continues_after_a_late_answer_if_no_other_process_has_it(
    stage: Stage, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = stage.process(calls(("ship", LAMP)), says("Bye."), monotonic=clock)
    late = LateStore(slow, monkeypatch)
    run = await start(slow)
    work = asyncio.ensure_future(drive(slow, run, NullListener()))
    await late.committed.wait()

    clock.now += LIMITS.lease_s + 9.0
    late.answered.set()

    assert (await work).status == "completed"
    assert world.shipped == ["a lamp"]


@pytest.mark.parametrize("name", ["ship", "notify"])
async def test_a_call_that_was_never_started_is_not_left_to_a_person(
    stage: Stage, clock: Clock, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The process stops while it waits for a renewal."""
    slow = stage.process(calls((name, LAMP)), says("Bye."), monotonic=clock)
    late = LateStore(slow, monkeypatch)
    run = await start(slow)
    work = asyncio.ensure_future(drive(slow, run, NullListener()))
    await late.committed.wait()
    clock.now += LIMITS.lease_s + 9.0
    late.answered.set()
    late.hangs.set()
    await late.renewing.wait()
    work.cancel()
    await asyncio.wait([work])

    other = stage.process(calls((name, LAMP)), says("Bye."))
    outcome = await drive(other, await take(other, run.run), NullListener())

    assert outcome.status == "completed"
    assert len(world.shipped) + len(world.notified) == 1


@pytest.mark.parametrize(
    ("effect", "status", "reason", "starts"),
    [("pure", "failed", "attempts", 11), ("idempotent", "waiting", "", 11)],
)
async def test_processes_that_lose_their_leases_in_a_tool_do_not_alternate_forever(
    stage: Stage, effect: Effect, status: str, reason: str, starts: int
) -> None:
    """The lease of each process expires in the middle of the call."""
    started: list[asyncio.Event] = []

    async def work() -> None:
        started.append(asyncio.Event())
        await asyncio.Event().wait()

    @tool(name="act", effect="pure")
    async def act() -> None:
        """Act."""
        await work()

    @tool(name="act")
    async def act_keyed(key: CallKey) -> None:
        """Act."""
        await work()

    workflow = Workflow("shop", SHOP.instructions, (act if effect == "pure" else act_keyed,))
    services = stage.process(calls(("act", {})), workflow=workflow)
    held, drives = await start(services), []
    for _ in range(LIMITS.max_attempts + 1):
        before = len(started)
        drives.append(asyncio.ensure_future(drive(services, held, NullListener())))
        await until(lambda before=before: len(started) > before)  # type: ignore[misc]
        await stage.let_leases_run_out()
        held = await take(services, held.run)

    outcome = await drive(services, held, NullListener())

    assert (outcome.status, outcome.thread.reason) == (status, reason)
    assert len(started) == starts
    for task in drives:
        task.cancel()
    await asyncio.wait(drives)
