import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from tests.builders import (
    allowed,
    approval_asked,
    called,
    denied,
    failed,
    finished,
    outcome_unknown,
    said,
    settled,
    succeeded,
)
from tests.engine.stage import RecordingListener, Stage, Trouble, after_start, cut_off, start
from twelvefold.core.events import Event, ModelReplied
from twelvefold.core.ports import Append, NullListener, StepTransaction
from twelvefold.engine.commands import take
from twelvefold.engine.commit import append, catch_up, write
from twelvefold.engine.held_run import HeldRun
from twelvefold.engine.services import Services
from twelvefold.errors import CancelAsked, LeaseLost, StaleRun, StoreUnavailable

LOST = "after a step's commit"
"""Where an answer is lost although the commit was done."""
LOAD = "before a load"


async def wrote(services: Services, held: HeldRun, *events: Event) -> HeldRun:
    receive(held, *events)
    return await write(services, held, NullListener(), events)


def receive(held: HeldRun, *events: Event) -> None:
    """Count the replies among these events as received, as a step does."""
    for event in events:
        if isinstance(event, ModelReplied):
            held.unrecorded.usage += event.usage


async def taken_over(stage: Stage, held: HeldRun) -> HeldRun:
    """The run in the hands of another process, which found it left alone."""
    await stage.let_leases_run_out()
    return await take(stage.process(), held.run)


async def test_what_is_written_stands_in_the_journal_and_is_told(stage: Stage) -> None:
    services, heard = stage.process(), RecordingListener()
    held = await start(services)

    after = await write(services, held, heard, [said("One."), finished()], "completed")

    assert after_start(await stage.journal(held.run)) == [said("One."), finished()]
    assert after.thread.entries == await stage.entries(held.run)
    assert heard.entries == list(after.thread.latest[1:])
    assert after.status == after.thread.status == "completed"


async def test_a_run_is_stored_with_what_it_cost_and_why_it_failed(stage: Stage) -> None:
    services = stage.process()
    held = await wrote(services, await start(services), said())

    events: list[Event] = [said(), finished("failed")]
    receive(held, *events)
    last = await write(services, held, NullListener(), events, "failed", error="no such model")

    record = await stage.record(held.run)
    assert (record.status, record.error, record.leased) == ("failed", "no such model", False)
    assert record.usage == last.thread.usage
    assert record.usage.input_tokens == 200


async def test_what_a_run_has_cost_is_stored_with_each_reply(stage: Stage) -> None:
    services = stage.process()

    held = await wrote(services, await start(services), called("look"))
    await wrote(services, held, succeeded("2.0", "look"))

    record = await stage.record(held.run)
    assert (record.status, record.usage) == ("running", held.thread.usage)


@pytest.mark.parametrize(
    "places",
    [
        ["before a step's transaction"],
        ["behind the fence"],
        ["before a step's commit"],
        [LOST],
        [LOST, LOAD],
    ],
)
async def test_a_step_is_done_once_however_often_the_database_is_away(
    stage: Stage, places: Sequence[str]
) -> None:
    services = stage.process(trouble=Trouble(cut_off, places=places, times=3))
    held, heard = await start(services), RecordingListener()

    first = await write(services, held, heard, [said("One.")])
    last = await write(services, first, heard, [said("Two."), finished()], "completed")

    story = [said("One."), said("Two."), finished()]
    assert after_start(await stage.journal(held.run)) == story
    assert [entry.event for entry in heard.entries] == story
    assert last.thread.entries == await stage.entries(held.run)


async def test_a_step_that_comes_out_otherwise_at_each_try_is_told_as_it_was_committed(
    stage: Stage,
) -> None:
    tries = iter(["one", "two", "three"])

    async def body(tx: StepTransaction) -> Sequence[Event]:
        return [succeeded("1.0", "roll", next(tries))]

    services = stage.process(trouble=Trouble(cut_off, places=["behind the fence", LOST], times=2))
    held = await start(services)

    after = await append(services, held, NullListener(), 1, body)

    assert after.thread.entries[-1].event == succeeded("1.0", "roll", "one")
    assert after.thread.entries == await stage.entries(held.run)


async def test_a_commit_that_comes_late_is_known_for_an_earlier_try(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a cluster: the second try ran on another node, before the first one arrived there."""
    tries = iter(["one", "two", "three"])

    async def body(tx: StepTransaction) -> Sequence[Event]:
        return [succeeded("1.0", "roll", next(tries))]

    services = stage.process()
    held = await start(services)
    append_here, attempts = services.store.append, iter([1, 2, 3])

    @asynccontextmanager
    async def late(change: Append) -> AsyncIterator[StepTransaction]:
        attempt = next(attempts)
        if attempt == 3:
            async with append_here(change) as arrived:
                await arrived.record([succeeded("1.0", "roll", "one")])
        async with append_here(change) as tx:
            yield tx
            cut_off()

    monkeypatch.setattr(services.store, "append", late)

    after = await append(services, held, NullListener(), 1, body)

    assert after.thread.entries[-1].event == succeeded("1.0", "roll", "one")


async def test_what_others_have_gone_on_from_was_done(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    services, heard = stage.process(), RecordingListener()
    held = await start(services)
    append_here = services.store.append

    @asynccontextmanager
    async def overtaken(change: Append) -> AsyncIterator[StepTransaction]:
        async with append_here(change) as tx:
            yield tx
        other = stage.process()
        await wrote(other, await take(other, held.run), said("Theirs."))
        cut_off()

    monkeypatch.setattr(services.store, "append", overtaken)

    await write(services, held, heard, [said("Mine.")], "queued")

    assert [entry.event for entry in heard.entries] == [said("Mine.")]
    assert after_start(await stage.journal(held.run)) == [said("Mine."), said("Theirs.")]


async def test_a_lost_answer_is_no_claim_to_what_another_process_wrote(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = stage.process()
    held = await start(services)
    append_here, tries = services.store.append, iter([1, 2])

    @asynccontextmanager
    async def overtaken(change: Append) -> AsyncIterator[StepTransaction]:
        attempt = next(tries)
        if attempt == 2:
            other = stage.process()
            await wrote(other, await taken_over(stage, held), said("Theirs."))
        async with append_here(change) as tx:
            yield tx
            if attempt == 1:
                cut_off()

    monkeypatch.setattr(services.store, "append", overtaken)

    with pytest.raises(LeaseLost, match="another process has taken it over"):
        await wrote(services, held, said("Mine."))
    assert after_start(await stage.journal(held.run)) == [said("Theirs.")]


async def test_a_database_that_stays_away_is_given_up_when_patience_ends(stage: Stage) -> None:
    trouble = Trouble(cut_off, places=["before a step's transaction"], times=1000)
    services = stage.process(trouble=trouble)
    held = await start(services)

    with pytest.raises(StoreUnavailable, match="the database cannot be reached"):
        await write(services, held, NullListener(), [said()], timeout_s=0.01)


async def test_of_two_drivers_one_writes_and_the_other_has_written_nothing(stage: Stage) -> None:
    services = stage.process()
    held = await start(services)

    one, other = await asyncio.gather(
        wrote(services, held, said("One.")),
        wrote(stage.process(), held, said("Other.")),
        return_exceptions=True,
    )

    lost, won = (one, other) if isinstance(one, BaseException) else (other, one)
    assert isinstance(lost, StaleRun)
    assert str(lost) == f"run {held.run}: expected entry 1, found 2"
    assert isinstance(won, HeldRun)
    assert won.thread.entries == await stage.entries(held.run)


async def test_a_process_that_lost_its_lease_writes_nothing(stage: Stage) -> None:
    services = stage.process()
    held = await start(services)
    await taken_over(stage, held)

    with pytest.raises(LeaseLost):
        await wrote(services, held, said())

    assert after_start(await stage.journal(held.run)) == []


async def test_a_run_that_is_to_be_cancelled_takes_nothing_but_its_end(stage: Stage) -> None:
    services = stage.process()
    held = await start(services)
    await services.store.ask_cancel(held.run)

    with pytest.raises(CancelAsked):
        await wrote(services, held, said())
    await write(services, held, NullListener(), [finished("cancelled")], "cancelled")

    assert after_start(await stage.journal(held.run)) == [finished("cancelled")]


async def test_what_a_body_raises_undoes_what_it_wrote(stage: Stage) -> None:
    services = stage.process()
    held = await start(services)

    async def body(tx: StepTransaction) -> Sequence[Event]:
        await tx.execute("insert into bought (item, who) values ('lamp', 'ann')")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await append(services, held, NullListener(), 1, body)

    assert await stage.bought() == []
    assert after_start(await stage.journal(held.run)) == []


async def test_a_run_catches_up_with_what_was_committed_behind_its_back(stage: Stage) -> None:
    services, heard = stage.process(), RecordingListener()
    held = await start(services)
    ahead = await wrote(services, held, called("look"), succeeded("2.0", "look"))
    receive(held, called("look"))  # the commit's answer was lost

    assert (await catch_up(services, held, heard)).thread == ahead.thread
    assert heard.entries == list(ahead.thread.latest[1:])


async def test_a_run_does_not_catch_up_with_the_next_one(stage: Stage) -> None:
    services = stage.process()
    held = await start(services)
    await write(services, held, NullListener(), [said(), finished()], "completed")
    await start(services, thread=held.run.thread)

    caught = await catch_up(services, held, NullListener())

    assert [entry.event for entry in caught.thread.latest[1:]] == [said(), finished()]


async def test_every_entry_is_a_line_in_the_log_that_says_nothing_of_what_was_said(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    services = stage.process()
    held = await start(services, "my secret")
    story: list[Event] = [
        called("pay", item="my secret"),
        approval_asked("2.0", "pay"),
        allowed("2.0"),
        outcome_unknown("2.0", "pay"),
        settled("2.0"),
        denied("2.0"),
        succeeded("2.0", "pay", "my secret"),
        failed("2.1", "pay", "refused", "my secret"),
        finished("failed", "tool_faults"),
    ]

    await wrote(services, held, *story)

    lines = [(line.message, vars(line)["fields"]) for line in caplog.records]
    run = {"run": str(held.run)}
    model = {"model": "m-1", "input_tokens": 100, "output_tokens": 10}
    assert lines == [
        ("run_started", {**run, "position": 1, "workflow": "shop"}),
        ("model_replied", {**run, "position": 2, **model}),
        ("approval_asked", {**run, "position": 3, "tool": "pay"}),
        ("approval_answered", {**run, "position": 4}),
        ("outcome_unknown", {**run, "position": 5, "tool": "pay"}),
        ("outcome_settled", {**run, "position": 6}),
        ("approval_answered", {**run, "position": 7}),
        ("tool_succeeded", {**run, "position": 8, "tool": "pay"}),
        ("tool_failed", {**run, "position": 9, "tool": "pay", "failure": "refused"}),
        ("run_finished", {**run, "position": 10, "status": "failed", "reason": "tool_faults"}),
    ]
    assert "my secret" not in caplog.text
