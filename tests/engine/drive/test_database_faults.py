"""A run whose entries the database refuses."""

from dataclasses import replace
from typing import Any

import pytest

from tests.engine.drive.refusing import BRIEF, FULL, LAMP, TOO_LARGE, Refusing, story
from tests.engine.drive.stories import SOON, in_the_background, let_retries_time_out
from tests.engine.stage import (
    Stage,
    drive_new,
    start,
)
from tests.loop_clock import LoopClock
from twelvefold.core.events import (
    RunFinished,
)
from twelvefold.core.ports import (
    Append,
    NullListener,
)
from twelvefold.engine.drive import drive
from twelvefold.engine.lease import RenewedLease
from twelvefold.errors import (
    StoreFailed,
    StoreUnavailable,
    TooLarge,
)
from twelvefold.services.model.scripted import calls, says


async def test_a_run_fails_with_the_error_that_lasted(stage: Stage) -> None:
    services = stage.process(calls(("buy", LAMP)), limits=BRIEF)
    Refusing(services, StoreFailed(FULL), lambda change: change.status == "running")

    outcome = await drive_new(services)

    assert (outcome.status, outcome.error) == ("failed", FULL)
    assert (await stage.record(outcome.run)).error == FULL
    assert await story(stage, outcome.run) == [RunFinished("failed", "database", FULL)]
    assert await stage.bought() == []


async def test_a_run_fails_with_the_error_that_was_retried_until_its_deadline(
    stage: Stage, loop_clock: LoopClock
) -> None:
    services = stage.process(calls(("buy", LAMP)), limits=SOON)
    refusing = Refusing(
        services, StoreUnavailable("deadlock"), lambda change: change.status == "running"
    )
    task = in_the_background(services, await start(services))

    await let_retries_time_out(loop_clock, lambda: refusing.refused, SOON.deadline_s)
    outcome = await task

    assert (outcome.status, outcome.error) == ("failed", "deadlock")


async def test_a_run_whose_end_cannot_be_written_is_queued_with_the_error(
    stage: Stage, loop_clock: LoopClock
) -> None:
    services = stage.process(says("Hello."), limits=SOON)
    refusing = Refusing(services, StoreFailed(FULL), lambda change: True)
    task = in_the_background(services, await start(services))

    for timeout_s in (SOON.deadline_s, stage.timings.release_s):
        await let_retries_time_out(loop_clock, lambda: refusing.refused, timeout_s)
    outcome = await task

    assert outcome.status == "queued"
    assert outcome.error == f"the end of the run is not written: {FULL}"


async def test_an_entry_that_is_too_large_fails_the_run_at_once(stage: Stage) -> None:
    services = stage.process(calls(("buy", LAMP)))
    refusing = Refusing(services, TooLarge(TOO_LARGE), lambda change: change.status == "running")

    outcome = await drive_new(services)

    assert (outcome.status, outcome.error) == ("failed", TOO_LARGE)
    assert len(stage.requests) == refusing.refused == 1


async def test_a_run_whose_end_is_too_large_is_given_back(stage: Stage) -> None:
    services = stage.process(says("Hello."))
    Refusing(services, TooLarge(TOO_LARGE), lambda change: True)

    with pytest.raises(TooLarge):
        await drive(services, run := await start(services), NullListener())

    assert (await stage.record(run.run)).status == "queued"


class RecordingRenewer:
    """A renewer that only records the leases."""

    def __init__(self) -> None:
        self.leases: set[RenewedLease] = set()

    def add(self, lease: RenewedLease) -> None:
        self.leases.add(lease)

    async def discard(self, lease: RenewedLease) -> None:
        self.leases.discard(lease)

    async def close(self) -> None:
        """Nothing is open."""


async def test_the_lease_is_renewed_while_the_run_is_ended_and_given_back(
    stage: Stage, loop_clock: LoopClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise another process would request the same reply."""
    renewer = RecordingRenewer()
    services = replace(stage.process(says("Hello."), limits=SOON), renewer=renewer)
    renewed: list[bool] = []
    release = services.store.release

    def refused(_: Append) -> bool:
        renewed.append(bool(renewer.leases))
        return True

    async def released(*which: Any, **how: Any) -> bool:
        renewed.append(bool(renewer.leases))
        return await release(*which, **how)

    refusing = Refusing(services, StoreFailed(FULL), refused)
    monkeypatch.setattr(services.store, "release", released)
    task = in_the_background(services, await start(services))

    for timeout_s in (SOON.deadline_s, stage.timings.release_s):
        await let_retries_time_out(loop_clock, lambda: refusing.refused, timeout_s)
    outcome = await task

    assert outcome.status == "queued"
    assert all(renewed)
    assert not renewer.leases
