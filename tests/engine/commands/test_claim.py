"""Claim a run, and give a claim back."""

from typing import Any

import pytest

from tests.builders import said
from tests.engine.commands.stories import MISSING, waiting_for_approval
from tests.engine.stage import (
    Stage,
    Trouble,
    cut_off,
    drive_new,
    start,
)
from twelvefold.core.ids import RunId, ThreadId
from twelvefold.core.ports import NullListener, ThreadRecord
from twelvefold.engine.commands import (
    answer,
    settle,
    take,
)
from twelvefold.engine.commit import write
from twelvefold.engine.services import Services
from twelvefold.errors import (
    Conflict,
    NotFound,
    StoreRefused,
    TooLate,
)
from twelvefold.services.model.scripted import says


async def test_a_claimed_run_is_what_its_journal_says(stage: Stage) -> None:
    services = stage.process()
    started = await start(services)
    started.unrecorded.usage = said().usage
    before = await write(services, started, NullListener(), [said()])
    await services.store.release(before.lease)

    taken = await take(stage.process(), before.run)

    assert taken.thread == before.thread
    assert not taken.thread.interrupted


async def test_a_claimed_run_whose_process_died_is_interrupted(stage: Stage) -> None:
    before = await start(stage.process())
    await stage.let_leases_run_out()

    assert (await take(stage.process(), before.run)).thread.interrupted


async def test_a_held_run_is_not_claimed(stage: Stage) -> None:
    held = await start(stage.process())

    with pytest.raises(Conflict, match=f"run {held.run} is held by another process"):
        await take(stage.process(), held.run)


async def test_a_run_that_is_over_is_not_claimed(stage: Stage) -> None:
    services = stage.process(says("Hello."))
    over = await drive_new(services)

    with pytest.raises(TooLate, match=f"run {over.run} is over: completed"):
        await take(services, over.run)


async def test_an_unknown_run_is_not_found(stage: Stage) -> None:
    with pytest.raises(NotFound, match=f"no run {MISSING}"):
        await take(stage.process(), MISSING)


async def test_a_claim_is_retried_while_the_database_is_unavailable(stage: Stage) -> None:
    left = await start(stage.process())
    await stage.let_leases_run_out()
    trouble = Trouble(cut_off, places=["before a claim", "before a load"], times=4)

    assert (await take(stage.process(trouble=trouble), left.run)).run == left.run


async def test_a_claim_whose_answer_was_lost_is_recognized(stage: Stage) -> None:
    left = await start(stage.process())
    await stage.let_leases_run_out()
    trouble = Trouble(cut_off, places=["after a claim"], times=2)

    taken = await take(stage.process(trouble=trouble), left.run)

    assert (taken.run, taken.thread.interrupted) == (left.run, True)


async def test_a_run_that_cannot_be_read_is_given_back_as_it_was(stage: Stage) -> None:
    left = await start(stage.process())
    await stage.let_leases_run_out()

    def unreadable() -> None:
        raise StoreRefused("the journal holds RunPaused version 1")

    older = stage.process(trouble=Trouble(unreadable, places=["before a load"]))
    with pytest.raises(StoreRefused, match="RunPaused"):
        await take(older, left.run)

    assert (await take(stage.process(), left.run)).thread.interrupted


def cancel_after_claim(stage: Stage, services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let another process request a run's cancel after its claim, and die."""
    claim, other = services.store.claim, stage.process().store

    async def claimed(run: RunId, *how: Any) -> Any:
        monkeypatch.setattr(services.store, "claim", claim)
        found = await claim(run, *how)
        await other.ask_cancel(run)
        return found

    monkeypatch.setattr(services.store, "claim", claimed)


async def test_a_cancel_request_during_an_answer_cancels_the_run(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await waiting_for_approval(stage)
    services = stage.process()
    cancel_after_claim(stage, services, monkeypatch)

    with pytest.raises(Conflict, match=f"run {run} has a cancel request"):
        await answer(services, run, approved=True, by="bob")

    assert (await stage.record(run)).status == "cancelled"


async def test_a_cancel_request_during_a_refused_answer_cancels_the_run(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await waiting_for_approval(stage)
    services = stage.process()
    cancel_after_claim(stage, services, monkeypatch)

    with pytest.raises(TooLate):
        await settle(services, run, settled="done", by="bob")

    assert (await stage.record(run)).status == "cancelled"


async def test_a_cancel_request_during_a_claim_that_fails_cancels_the_run(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await waiting_for_approval(stage)
    services = stage.process()
    cancel_after_claim(stage, services, monkeypatch)
    claim, load = services.store.claim, services.store.load

    async def unreadable(_: ThreadId) -> ThreadRecord:
        monkeypatch.setattr(services.store, "load", load)
        raise StoreRefused("an entry of a later release")

    async def claimed(*how: Any) -> Any:
        found = await claim(*how)
        monkeypatch.setattr(services.store, "load", unreadable)
        return found

    monkeypatch.setattr(services.store, "claim", claimed)
    with pytest.raises(StoreRefused):
        await take(services, run)

    assert (await stage.record(run)).status == "cancelled"
