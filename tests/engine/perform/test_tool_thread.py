"""Tools that are plain functions run in threads."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.engine.leases import LEASE, LEASE_S, Clock, RenewingStore, lease_of, until
from tests.engine.perform.calls import DONE, UNKNOWN, perform
from tests.engine.stage import fault
from tests.loop_clock import LoopClock
from twelvefold.core.events import OutcomeUnknown, ToolError, ToolFailed, ToolSucceeded
from twelvefold.core.ids import CallId
from twelvefold.core.ports import CallKey, Principal
from twelvefold.core.tools.signature import Effect
from twelvefold.core.tools.tool import Tool, tool
from twelvefold.engine.held_run import CallOutcome
from twelvefold.engine.lease import HeldLease
from twelvefold.engine.services import Services
from twelvefold.errors import (
    ToolRefused,
)


@pytest.fixture
def go_on() -> Any:
    """An event that threads wait for; it is set at the end of the test."""
    event = threading.Event()
    yield event
    event.set()


def waiting_tool(
    effect: Effect, go_on: threading.Event, timeout_s: float = 60.0
) -> tuple[Tool, Any]:
    """Return a plain function that waits in its thread, and the names of its threads."""
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
    act, threads = waiting_tool(effect, go_on)
    work = perform(services, lease_of(clock), act)
    await until(lambda: threads)

    (thread,) = (one for one in threading.enumerate() if one.name == "tool act")
    assert thread.daemon
    go_on.set()
    assert await work == DONE


async def test_a_plain_function_gets_the_key_and_the_principal(
    services: Services, clock: Clock
) -> None:
    @tool(name="act")
    def act(key: CallKey, who: Principal) -> str:
        """Act."""
        return f"{key} {who.id}"

    outcome = await perform(services, lease_of(clock), act)

    assert outcome == ToolSucceeded(CallId("2.0"), "act", f"{LEASE.run.thread}:2.0 ann")


def raising(error: BaseException) -> Tool:
    @tool(name="act", effect="unsafe")
    def act() -> None:
        """Act."""
        raise error

    return act


async def test_a_plain_function_may_refuse(services: Services, clock: Clock) -> None:
    outcome = await perform(services, lease_of(clock), raising(ToolRefused("no")))

    assert outcome == ToolFailed(CallId("2.0"), "act", "refused", "Error: no")


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (ValueError("a secret"), ToolError("ValueError", "a secret")),
        (SystemExit(2), ToolError("SystemExit", "2")),
        (StopIteration(), ToolError("RuntimeError", "coroutine raised StopIteration")),
    ],
)
async def test_other_exceptions_of_a_plain_function_are_faults(
    services: Services, clock: Clock, error: BaseException, raised: ToolError
) -> None:
    outcome = await perform(services, lease_of(clock), raising(error))

    assert fault(outcome) == ("2.0", "act", raised)
    assert isinstance(outcome, ToolFailed)
    assert outcome.error is not None
    assert outcome.error.file in (__file__, "")


async def test_a_plain_function_that_returns_a_coroutine_has_a_fault(
    services: Services, clock: Clock
) -> None:
    @tool(name="act", effect="pure")
    def act() -> Any:
        """Act."""
        return asyncio.sleep(0)

    outcome = await perform(services, lease_of(clock), act)

    message = "act is no async function, but has returned a coroutine"
    assert fault(outcome) == ("2.0", "act", ToolError("TypeError", message))


@pytest.mark.parametrize(
    ("effect", "kind"),
    [("pure", ToolFailed), ("unsafe", OutcomeUnknown), ("idempotent", OutcomeUnknown)],
)
async def test_the_result_of_a_thread_that_takes_too_long_is_discarded(
    services: Services,
    clock: Clock,
    effect: Effect,
    kind: type[CallOutcome],
    go_on: threading.Event,
    caplog: pytest.LogCaptureFixture,
    loop_clock: LoopClock,
) -> None:
    act, threads = waiting_tool(effect, go_on, timeout_s=60.0)
    work = perform(services, lease_of(clock), act)
    await until(lambda: threads)

    loop_clock.let_pass(60.0)
    assert type(await work) is kind
    go_on.set()
    await until(lambda: caplog.records[-1].message == "late_result_discarded")

    assert len(threads) == 1


async def test_an_unsafe_thread_that_outlives_the_lease_has_an_unknown_outcome(
    services: Services,
    clock: Clock,
    short: Callable[..., HeldLease],
    go_on: threading.Event,
) -> None:
    act, threads = waiting_tool("unsafe", go_on)
    work = perform(services, short(), act)
    await until(lambda: threads)
    clock.now += 1

    assert await work == UNKNOWN


async def test_a_thread_whose_lease_has_lapsed_does_not_call_the_function(
    services: Services, clock: Clock, go_on: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    act, threads = waiting_tool("unsafe", go_on)
    go_on.set()
    held = lease_of(clock, store := RenewingStore())
    late = [True]

    class Thread(threading.Thread):
        def start(self) -> None:
            if late and late.pop():
                clock.now += LEASE_S
            super().start()

    monkeypatch.setattr("twelvefold.engine.perform.tool_thread.Thread", Thread)

    assert await perform(services, held, act) == DONE
    assert (len(threads), store.renewed) == (1, [LEASE])


async def test_a_thread_that_starts_after_its_call_was_cancelled_does_not_call_the_function(
    services: Services, clock: Clock, go_on: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    act, threads = waiting_tool("unsafe", go_on)
    threads_made: list[threading.Thread] = []

    class Thread(threading.Thread):
        def start(self) -> None:
            threads_made.append(self)

    monkeypatch.setattr("twelvefold.engine.perform.tool_thread.Thread", Thread)
    held = lease_of(clock)
    work = perform(services, held, act)
    await until(lambda: threads_made)
    work.cancel()
    await asyncio.wait([work])
    threads_made[0].run()

    assert work.cancelled()
    assert (threads, held.started_calls) == ([], set())


async def test_a_call_whose_lease_lapses_before_its_thread_starts_is_made_after_a_renewal(
    services: Services,
    clock: Clock,
    short: Callable[..., HeldLease],
    go_on: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    act, threads = waiting_tool("unsafe", go_on)
    go_on.set()
    late: list[threading.Thread] = []

    class Thread(threading.Thread):
        def start(self) -> None:
            if late:
                super().start()
            else:
                late.append(self)

    monkeypatch.setattr("twelvefold.engine.perform.tool_thread.Thread", Thread)
    work = perform(services, short(), act)
    await until(lambda: late)
    clock.now += 1

    assert await work == DONE
    late[0].run()
    assert len(threads) == 1
