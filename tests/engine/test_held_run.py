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
"""Places where an answer is lost after the commit."""
LOAD = "before a load"


async def write_events(services: Services, held: HeldRun, *events: Event) -> HeldRun:
    receive(held, *events)
    return await write(services, held, NullListener(), events)


def receive(held: HeldRun, *events: Event) -> None:
    """Count the replies among these events as received, as a step does."""
    for event in events:
        if isinstance(event, ModelReplied):
            held.unrecorded.usage += event.usage


async def take_over(stage: Stage, held: HeldRun) -> HeldRun:
    """Claim the run in another process after its lease has expired."""
    await stage.let_leases_run_out()
    return await take(stage.process(), held.run)


async def test_written_entries_are_in_the_journal_and_the_listener_is_notified(
    stage: Stage,
) -> None:
    services, listener = stage.process(), RecordingListener()
    held = await start(services)

    after = await write(services, held, listener, [said("One."), finished()], "completed")

    assert after_start(await stage.journal(held.run)) == [said("One."), finished()]
    assert after.thread.entries == await stage.entries(held.run)
    assert listener.entries == list(after.thread.latest[1:])
    assert after.status == after.thread.status == "completed"


async def test_a_run_is_stored_with_its_usage_and_its_error(stage: Stage) -> None:
    services = stage.process()
    held = await write_events(services, await start(services), said())

    events: list[Event] = [said(), finished("failed")]
    receive(held, *events)
    last = await write(services, held, NullListener(), events, "failed", error="no such model")

    record = await stage.record(held.run)
    assert (record.status, record.error, record.leased) == ("failed", "no such model", False)
    assert record.usage == last.thread.usage
    assert record.usage.input_tokens == 200


async def test_the_usage_of_a_run_is_stored_with_each_reply(stage: Stage) -> None:
    services = stage.process()

    held = await write_events(services, await start(services), called("look"))
    await write_events(services, held, succeeded("2.0", "look"))

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
async def test_a_step_is_committed_once_however_often_the_answer_is_lost(
    stage: Stage, places: Sequence[str]
) -> None:
    services = stage.process(trouble=Trouble(cut_off, places=places, times=3))
    held, listener = await start(services), RecordingListener()

    first = await write(services, held, listener, [said("One.")])
    last = await write(services, first, listener, [said("Two."), finished()], "completed")

    story = [said("One."), said("Two."), finished()]
    assert after_start(await stage.journal(held.run)) == story
    assert [entry.event for entry in listener.entries] == story
    assert last.thread.entries == await stage.entries(held.run)


async def test_a_step_with_another_result_at_each_try_has_that_of_the_commit(
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


async def test_a_commit_of_an_earlier_try_is_recognized(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a cluster: the second try ran on another node before the first one arrived there."""
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
            if attempt < 3:
                cut_off()

    monkeypatch.setattr(services.store, "append", late)

    after = await append(services, held, NullListener(), 1, body)

    assert after.thread.entries[-1].event == succeeded("1.0", "roll", "one")


async def test_a_try_was_committed_if_another_process_continued_from_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    services, listener = stage.process(), RecordingListener()
    held = await start(services)
    append_here = services.store.append

    @asynccontextmanager
    async def overtaken(change: Append) -> AsyncIterator[StepTransaction]:
        async with append_here(change) as tx:
            yield tx
        other = stage.process()
        await write_events(other, await take(other, held.run), said("Theirs."))
        cut_off()

    monkeypatch.setattr(services.store, "append", overtaken)

    await write(services, held, listener, [said("Mine.")], "queued")

    assert [entry.event for entry in listener.entries] == [said("Mine.")]
    assert after_start(await stage.journal(held.run)) == [said("Mine."), said("Theirs.")]


async def test_entries_of_another_process_are_not_those_of_a_lost_answer(
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
            await write_events(other, await take_over(stage, held), said("Theirs."))
        async with append_here(change) as tx:
            yield tx
            if attempt == 1:
                cut_off()

    monkeypatch.setattr(services.store, "append", overtaken)

    with pytest.raises(LeaseLost, match="another process has taken it over"):
        await write_events(services, held, said("Mine."))
    assert after_start(await stage.journal(held.run)) == [said("Theirs.")]


async def test_a_write_raises_after_its_timeout(stage: Stage) -> None:
    trouble = Trouble(cut_off, places=["before a step's transaction"], times=1000)
    services = stage.process(trouble=trouble)
    held = await start(services)

    with pytest.raises(StoreUnavailable, match="the database cannot be reached"):
        await write(services, held, NullListener(), [said()], timeout_s=0.01)


async def test_one_of_two_concurrent_writers_writes_nothing(stage: Stage) -> None:
    services = stage.process()
    held = await start(services)

    one, other = await asyncio.gather(
        write_events(services, held, said("One.")),
        write_events(stage.process(), held, said("Other.")),
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
    await take_over(stage, held)

    with pytest.raises(LeaseLost):
        await write_events(services, held, said())

    assert after_start(await stage.journal(held.run)) == []


async def test_a_run_with_a_cancel_request_accepts_only_its_end(stage: Stage) -> None:
    services = stage.process()
    held = await start(services)
    await services.store.ask_cancel(held.run)

    with pytest.raises(CancelAsked):
        await write_events(services, held, said())
    await write(services, held, NullListener(), [finished("cancelled")], "cancelled")

    assert after_start(await stage.journal(held.run)) == [finished("cancelled")]


async def test_an_exception_of_the_body_rolls_back_its_rows(stage: Stage) -> None:
    services = stage.process()
    held = await start(services)

    async def body(tx: StepTransaction) -> Sequence[Event]:
        await tx.execute("insert into bought (item, who) values ('lamp', 'ann')")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await append(services, held, NullListener(), 1, body)

    assert await stage.bought() == []
    assert after_start(await stage.journal(held.run)) == []


async def test_a_run_catches_up_with_a_commit_whose_answer_was_lost(stage: Stage) -> None:
    services, listener = stage.process(), RecordingListener()
    held = await start(services)
    ahead = await write_events(services, held, called("look"), succeeded("2.0", "look"))
    receive(held, called("look"))  # the commit's answer was lost

    assert (await catch_up(services, held, listener)).thread == ahead.thread
    assert listener.entries == list(ahead.thread.latest[1:])


async def test_a_run_does_not_catch_up_with_the_next_one(stage: Stage) -> None:
    services = stage.process()
    held = await start(services)
    await write(services, held, NullListener(), [said(), finished()], "completed")
    await start(services, thread=held.run.thread)

    current = await catch_up(services, held, NullListener())

    assert [entry.event for entry in current.thread.latest[1:]] == [said(), finished()]


async def test_every_entry_is_a_log_line_without_its_content(
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
        failed("2.2", "my secret", "unknown_tool", "my secret"),
        finished("failed", "tool_faults"),
    ]

    await write_events(services, held, *story)

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
        ("tool_failed", {**run, "position": 10, "failure": "unknown_tool"}),
        ("run_finished", {**run, "position": 11, "status": "failed", "reason": "tool_faults"}),
    ]
    assert "my secret" not in caplog.text
