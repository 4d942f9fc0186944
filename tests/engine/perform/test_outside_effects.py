"""Calls whose effect is outside the database: none starts without a live lease."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.builders import open_call
from tests.engine.leases import LEASE, LEASE_S, Clock, Renewing, lease_of, until
from tests.engine.stage import LIMITS, SHOP, Stage, after_start, fault, start, world
from twelvefold.core.events import OutcomeUnknown, ToolError, ToolFailed, ToolSucceeded
from twelvefold.core.gates import ValidCall
from twelvefold.core.ids import CallId
from twelvefold.core.ports import Append, CallKey, Lease, NullListener, Principal, StepTransaction
from twelvefold.core.tools.signature import Effect
from twelvefold.core.workflow import Tool, Workflow, tool
from twelvefold.engine.commands import take
from twelvefold.engine.drive import drive
from twelvefold.engine.held_run import CallOutcome
from twelvefold.engine.lease import HeldLease
from twelvefold.engine.perform import run_call
from twelvefold.engine.services import Services
from twelvefold.errors import (
    CancelAsked,
    LeaseLost,
    StaleRun,
    StoreUnavailable,
    ToolRefused,
)
from twelvefold.services.model.scripted import calls, says

LAMP = {"item": "a lamp"}
UNKNOWN = OutcomeUnknown(CallId("2.0"), "act")
DONE = ToolSucceeded(CallId("2.0"), "act", "done")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def services(stage: Stage) -> Services:
    return stage.process()


def perform(services: Services, held: HeldLease, one: Tool) -> "asyncio.Task[CallOutcome]":
    call = ValidCall(open_call("act", id="2.0"), one, {})
    return asyncio.ensure_future(run_call(services, held, "ann", call))


class Acting:
    """A tool that counts its starts, and then waits until the test lets it go on."""

    def __init__(self) -> None:
        self.started = 0
        self.go_on = asyncio.Event()

    def keyed(self) -> Tool:
        @tool(name="act")
        async def act(key: CallKey) -> str:
            """Act."""
            return await self.act()

        return act

    def unsafe(self) -> Tool:
        @tool(name="act", effect="unsafe")
        async def act() -> str:
            """Act."""
            return await self.act()

        return act

    async def act(self) -> str:
        self.started += 1
        await self.go_on.wait()
        return "done"


@pytest.fixture(params=["unsafe", "keyed"])
def acting(request: pytest.FixtureRequest) -> tuple[Acting, Tool]:
    acting = Acting()
    return acting, getattr(acting, request.param)()


# --- before it starts -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "error"), [(LeaseLost("theirs"), LeaseLost), (True, CancelAsked)]
)
async def test_no_call_starts_without_a_lease(
    services: Services,
    clock: Clock,
    acting: tuple[Acting, Tool],
    answer: Exception | bool,
    error: type[Exception],
) -> None:
    held = lease_of(clock, Renewing(answer))
    clock.now += LEASE_S

    with pytest.raises(error):
        await perform(services, held, acting[1])

    assert acting[0].started == 0


async def test_no_call_starts_once_its_run_is_to_be_cancelled(
    services: Services, clock: Clock, acting: tuple[Acting, Tool]
) -> None:
    held = lease_of(clock, store := Renewing())
    store.cancelled = True

    with pytest.raises(CancelAsked):
        await perform(services, held, acting[1])

    assert held.is_valid()
    assert acting[0].started == 0


async def test_a_call_waits_until_its_lease_is_confirmed(
    services: Services, clock: Clock, acting: tuple[Acting, Tool]
) -> None:
    held = lease_of(clock, store := Renewing(StoreUnavailable("away")))
    clock.now += LEASE_S
    acting[0].go_on.set()

    assert await perform(services, held, acting[1]) == DONE

    assert len(store.asked) == 2
    assert acting[0].started == 1


async def test_a_process_that_is_paused_right_before_a_call_checks_its_lease_again(
    services: Services, clock: Clock, acting: tuple[Acting, Tool], monkeypatch: pytest.MonkeyPatch
) -> None:
    held = lease_of(clock, store := Renewing())
    calling = held.track_call
    pauses = [LEASE_S]

    def paused(tool: str, timeout_s: float) -> Any:
        clock.now += pauses.pop() if pauses else 0.0
        return calling(tool, timeout_s)

    monkeypatch.setattr(held, "track_call", paused)
    acting[0].go_on.set()

    assert await perform(services, held, acting[1]) == DONE
    assert (acting[0].started, store.asked) == (1, [LEASE])


@pytest.mark.parametrize("earlier", [set(), {CallId("2.0")}], ids=["never", "by an earlier try"])
async def test_a_call_that_was_not_started_has_begun_only_by_an_earlier_try(
    services: Services,
    clock: Clock,
    acting: tuple[Acting, Tool],
    monkeypatch: pytest.MonkeyPatch,
    earlier: set[CallId],
) -> None:
    held = lease_of(clock, store := Renewing())
    held.started_calls |= earlier
    calling = held.track_call

    def paused(tool: str, timeout_s: float) -> Any:
        clock.now += LEASE_S
        store.cancelled = True
        return calling(tool, timeout_s)

    monkeypatch.setattr(held, "track_call", paused)

    with pytest.raises(CancelAsked):
        await perform(services, held, acting[1])
    assert (acting[0].started, held.started_calls) == (0, earlier)


async def test_a_pure_call_needs_no_lease(services: Services, clock: Clock) -> None:
    @tool(name="act", effect="pure")
    async def act() -> str:
        """Act."""
        return "done"

    held = lease_of(clock, Renewing(LeaseLost("theirs")))
    clock.now += LEASE_S

    assert await perform(services, held, act) == DONE


# --- while it runs ----------------------------------------------------------------------------


@pytest.fixture
def short(clock: Clock) -> Callable[..., HeldLease]:
    """A lease that lapses a moment after the test's clock has gone past it."""

    def made(*answers: Any) -> HeldLease:
        held = lease_of(clock, Renewing(*answers))
        held.lease_s = 0.02
        held.valid_until = clock.now + 0.02
        return held

    return made


async def test_an_unsafe_call_that_outlives_its_lease_has_an_unknown_outcome(
    services: Services,
    clock: Clock,
    short: Callable[..., HeldLease],
    caplog: pytest.LogCaptureFixture,
) -> None:
    acting, held = Acting(), short()
    work = perform(services, held, acting.unsafe())
    await until(lambda: acting.started)
    clock.now += 1

    assert await work == UNKNOWN

    assert acting.started == 1
    assert [line.message for line in caplog.records] == ["lease_lapsed", "tool_raised"]


async def test_a_keyed_call_that_outlives_its_lease_is_run_again_once_it_is_confirmed(
    services: Services, clock: Clock, short: Callable[..., HeldLease]
) -> None:
    acting, held = Acting(), short()
    work = perform(services, held, acting.keyed())
    await until(lambda: acting.started)
    clock.now += 1
    await until(lambda: acting.started == 2)
    acting.go_on.set()

    assert await work == DONE


async def test_a_call_whose_lease_is_lost_meanwhile_is_left_to_whoever_has_the_run(
    services: Services,
    clock: Clock,
    acting: tuple[Acting, Tool],
    short: Callable[..., HeldLease],
) -> None:
    work = perform(services, short(LeaseLost("theirs")), acting[1])
    await until(lambda: acting[0].started)
    clock.now += 1

    with pytest.raises(StaleRun, match="theirs"):
        await work

    assert acting[0].started == 1


# --- plain functions, in threads --------------------------------------------------------------


@pytest.fixture
def go_on() -> Any:
    """Lets threads that wait for it end, at the latest with the test."""
    event = threading.Event()
    yield event
    event.set()


def waiting(effect: Effect, go_on: threading.Event, timeout_s: float = 60.0) -> tuple[Tool, Any]:
    """A plain function that waits in its thread, and the names of the threads it ran in."""
    threads: list[str] = []

    def work() -> str:
        threads.append(threading.current_thread().name)
        go_on.wait()
        return "done"

    def act() -> str:
        """Act."""
        return work()

    def act_keyed(key: CallKey) -> str:
        """Act."""
        return work()

    if effect == "idempotent":
        return tool(name="act", timeout_s=timeout_s)(act_keyed), threads
    kind: Any = effect
    return tool(name="act", effect=kind, timeout_s=timeout_s)(act), threads


@pytest.mark.parametrize("effect", ["pure", "unsafe", "idempotent"])
async def test_a_plain_function_runs_in_a_thread_that_keeps_no_process_alive(
    services: Services, clock: Clock, effect: Effect, go_on: threading.Event
) -> None:
    act, threads = waiting(effect, go_on)
    work = perform(services, lease_of(clock), act)
    await until(lambda: threads)

    (thread,) = (one for one in threading.enumerate() if one.name == "tool act")
    assert thread.daemon
    go_on.set()
    assert await work == DONE


async def test_a_plain_function_is_handed_what_it_asks_for(
    services: Services, clock: Clock
) -> None:
    @tool(name="act")
    def act(key: CallKey, who: Principal) -> str:
        """Act."""
        return f"{key} {who.id}"

    told = await perform(services, lease_of(clock), act)

    assert told == ToolSucceeded(CallId("2.0"), "act", f"{LEASE.run.thread}:2.0 ann")


def raising(error: BaseException) -> Tool:
    @tool(name="act", effect="unsafe")
    def act() -> None:
        """Act."""
        raise error

    return act


async def test_a_plain_function_may_refuse(services: Services, clock: Clock) -> None:
    told = await perform(services, lease_of(clock), raising(ToolRefused("no")))

    assert told == ToolFailed(CallId("2.0"), "act", "refused", "Error: no")


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (ValueError("a secret"), ToolError("ValueError", "a secret")),
        (SystemExit(2), ToolError("SystemExit", "2")),
        (StopIteration(), ToolError("RuntimeError", "coroutine raised StopIteration")),
    ],
)
async def test_what_else_a_plain_function_raises_is_a_fault(
    services: Services, clock: Clock, error: BaseException, raised: ToolError
) -> None:
    told = await perform(services, lease_of(clock), raising(error))

    assert fault(told) == ("2.0", "act", raised)
    assert isinstance(told, ToolFailed)
    assert told.error is not None
    assert told.error.file in (__file__, "")


async def test_a_plain_function_that_returns_a_coroutine_is_at_fault(
    services: Services, clock: Clock
) -> None:
    @tool(name="act", effect="pure")
    def act() -> Any:
        """Act."""
        return asyncio.sleep(0)

    told = await perform(services, lease_of(clock), act)

    message = "act is no async function, but has returned a coroutine"
    assert fault(told) == ("2.0", "act", ToolError("TypeError", message))


@pytest.mark.parametrize(
    ("effect", "kind"),
    [("pure", ToolFailed), ("unsafe", OutcomeUnknown), ("idempotent", OutcomeUnknown)],
)
async def test_a_thread_that_takes_too_long_is_left_and_its_result_discarded(
    services: Services,
    clock: Clock,
    effect: Effect,
    kind: type[CallOutcome],
    go_on: threading.Event,
    caplog: pytest.LogCaptureFixture,
) -> None:
    act, threads = waiting(effect, go_on, timeout_s=0.05)

    assert type(await perform(services, lease_of(clock), act)) is kind
    go_on.set()
    if threads:  # else it was too late to start
        await until(lambda: caplog.records[-1].message == "late_result_discarded")

    assert len(threads) <= 1


async def test_an_unsafe_thread_that_outlives_the_lease_has_an_unknown_outcome(
    services: Services,
    clock: Clock,
    short: Callable[..., HeldLease],
    go_on: threading.Event,
) -> None:
    act, threads = waiting("unsafe", go_on)
    work = perform(services, short(), act)
    await until(lambda: threads)
    clock.now += 1

    assert await work == UNKNOWN


async def test_a_thread_whose_lease_has_lapsed_before_it_starts_starts_nothing(
    services: Services, clock: Clock, go_on: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    act, threads = waiting("unsafe", go_on)
    go_on.set()
    held = lease_of(clock, store := Renewing())
    late = [True]

    class Thread(threading.Thread):
        def start(self) -> None:
            if late and late.pop():
                clock.now += LEASE_S
            super().start()

    monkeypatch.setattr("twelvefold.engine.perform.tool_thread.Thread", Thread)

    assert await perform(services, held, act) == DONE
    assert (len(threads), store.asked) == (1, [LEASE])


async def test_a_thread_that_starts_after_its_call_was_given_up_starts_nothing(
    services: Services, clock: Clock, go_on: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    act, threads = waiting("unsafe", go_on)
    begun: list[threading.Thread] = []

    class Thread(threading.Thread):
        def start(self) -> None:
            begun.append(self)

    monkeypatch.setattr("twelvefold.engine.perform.tool_thread.Thread", Thread)
    work = perform(services, lease_of(clock), act)
    await until(lambda: begun)
    work.cancel()
    await asyncio.wait([work])
    begun[0].run()

    assert work.cancelled()
    assert threads == []


# --- whole runs -------------------------------------------------------------------------------


class Late:
    """Answers commits only when the test says so; renewals hang meanwhile, or for good."""

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
            await asyncio.sleep(600)
        return await self._renew(lease, lease_s)


@pytest.mark.parametrize("name", ["ship", "notify"])
async def test_a_commit_that_is_answered_late_starts_no_call_of_a_run_that_is_over(
    stage: Stage, clock: Clock, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    slow = stage.process(calls((name, LAMP)), says("Bye."), monotonic=clock)
    late = Late(slow, monkeypatch)
    run = await start(slow)
    work = asyncio.ensure_future(drive(slow, run, NullListener()))
    await late.committed.wait()
    await stage.let_leases_run_out()
    # The unsafe call is left to a person, the other one is run, by the process that has the run.
    other = stage.process(calls((name, LAMP)), says("Bye."))
    theirs = await drive(other, await take(other, run.run), NullListener())
    shipped, notified = len(world.shipped), len(world.notified)

    clock.now += LIMITS.lease_s + 9.0
    late.answered.set()
    outcome = await work

    assert outcome.status == theirs.status
    assert (len(world.shipped), len(world.notified)) == (shipped, notified)
    assert len(after_start(await stage.journal(run.run))) == len(outcome.thread.entries) - 1


async def test_a_commit_that_is_answered_late_goes_on_where_no_other_has_the_run(
    stage: Stage, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = stage.process(calls(("ship", LAMP)), says("Bye."), monotonic=clock)
    late = Late(slow, monkeypatch)
    run = await start(slow)
    work = asyncio.ensure_future(drive(slow, run, NullListener()))
    await late.committed.wait()

    clock.now += LIMITS.lease_s + 9.0
    late.answered.set()

    assert (await work).status == "completed"
    assert world.shipped == ["a lamp"]


@pytest.mark.parametrize("name", ["ship", "notify"])
async def test_nobody_is_asked_about_a_call_that_its_process_never_started(
    stage: Stage, clock: Clock, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The process ends while it waits for its lease to be confirmed."""
    slow = stage.process(calls((name, LAMP)), says("Bye."), monotonic=clock)
    late = Late(slow, monkeypatch)
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
async def test_processes_that_lose_their_leases_in_a_tool_do_not_alternate_for_ever(
    stage: Stage, effect: Effect, status: str, reason: str, starts: int
) -> None:
    """Each process has the run when its lease runs out in the middle of the call."""
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
