"""Calls whose effect is outside the database: none starts without a valid lease."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.engine.leases import LEASE, LEASE_S, Clock, RenewingStore, lease_of, until
from tests.engine.perform.calls import DONE, UNKNOWN, perform
from twelvefold.core.ids import CallId
from twelvefold.core.ports import CallKey
from twelvefold.core.tools.tool import Tool, tool
from twelvefold.engine.lease import HeldLease
from twelvefold.engine.services import Services
from twelvefold.errors import (
    CancelAsked,
    LeaseLost,
    StaleRun,
    StoreUnavailable,
)


class Acting:
    """A tool that counts its starts, and waits until the test sets `go_on`."""

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
    held = lease_of(clock, RenewingStore(answer))
    clock.now += LEASE_S

    with pytest.raises(error):
        await perform(services, held, acting[1])

    assert acting[0].started == 0


async def test_no_call_starts_after_a_cancel_request(
    services: Services, clock: Clock, acting: tuple[Acting, Tool]
) -> None:
    held = lease_of(clock, store := RenewingStore())
    store.cancelled = True

    with pytest.raises(CancelAsked):
        await perform(services, held, acting[1])

    assert held.is_valid()
    assert acting[0].started == 0


async def test_a_call_waits_until_its_lease_is_valid(
    services: Services, clock: Clock, acting: tuple[Acting, Tool]
) -> None:
    held = lease_of(clock, store := RenewingStore(StoreUnavailable("away")))
    clock.now += LEASE_S
    acting[0].go_on.set()

    assert await perform(services, held, acting[1]) == DONE

    assert len(store.renewed) == 2
    assert acting[0].started == 1


async def test_the_lease_is_checked_again_right_before_the_call(
    services: Services, clock: Clock, acting: tuple[Acting, Tool], monkeypatch: pytest.MonkeyPatch
) -> None:
    held = lease_of(clock, store := RenewingStore())
    track_call = held.track_call
    pauses = [LEASE_S]

    def pause_first(tool: str, timeout_s: float) -> Any:
        clock.now += pauses.pop() if pauses else 0.0
        return track_call(tool, timeout_s)

    monkeypatch.setattr(held, "track_call", pause_first)
    acting[0].go_on.set()

    assert await perform(services, held, acting[1]) == DONE
    assert (acting[0].started, store.renewed) == (1, [LEASE])


@pytest.mark.parametrize(
    "earlier", [set(), {CallId("2.0")}], ids=["never", "by an earlier attempt"]
)
async def test_a_call_that_was_not_started_is_marked_only_by_an_earlier_attempt(
    services: Services,
    clock: Clock,
    acting: tuple[Acting, Tool],
    monkeypatch: pytest.MonkeyPatch,
    earlier: set[CallId],
) -> None:
    held = lease_of(clock, store := RenewingStore())
    held.started_calls |= earlier
    track_call = held.track_call

    def pause_first(tool: str, timeout_s: float) -> Any:
        clock.now += LEASE_S
        store.cancelled = True
        return track_call(tool, timeout_s)

    monkeypatch.setattr(held, "track_call", pause_first)

    with pytest.raises(CancelAsked):
        await perform(services, held, acting[1])
    assert (acting[0].started, held.started_calls) == (0, earlier)


async def test_a_pure_call_needs_no_lease(services: Services, clock: Clock) -> None:
    @tool(name="act", effect="pure")
    async def act() -> str:
        """Act."""
        return "done"

    held = lease_of(clock, RenewingStore(LeaseLost("theirs")))
    clock.now += LEASE_S

    assert await perform(services, held, act) == DONE


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


async def test_a_keyed_call_that_outlives_its_lease_is_run_again_under_a_valid_one(
    services: Services, clock: Clock, short: Callable[..., HeldLease]
) -> None:
    acting, held = Acting(), short()
    work = perform(services, held, acting.keyed())
    await until(lambda: acting.started)
    clock.now += 1
    await until(lambda: acting.started == 2)
    acting.go_on.set()

    assert await work == DONE


async def test_a_call_whose_lease_is_lost_is_left_to_the_process_that_has_the_run(
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


async def test_the_result_of_a_call_that_ends_as_it_is_cancelled_is_kept(
    services: Services, clock: Clock
) -> None:
    @tool(name="act", effect="unsafe")
    async def act() -> str:
        """Act."""
        # The cancellation comes after this task's end and before that of the task that waits.
        asyncio.get_running_loop().call_soon(work.cancel)
        return "done"

    work = perform(services, lease_of(clock), act)

    assert await work == DONE
