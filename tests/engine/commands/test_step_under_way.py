"""The error of a command that waited too long for a run."""

import pytest

from tests.engine.stage import Stage, drive_new, start
from twelvefold.core.events import ModelReplied, Usage
from twelvefold.core.ids import RunId, ThreadId
from twelvefold.core.ports import NullListener, RunRecord, Store
from twelvefold.engine.commands import cancel, delete_thread
from twelvefold.engine.commit import write
from twelvefold.errors import StepUnderWay, StoreFailed, StoreUnavailable
from twelvefold.services.model.scripted import calls, says

LAMP = {"item": "a lamp"}
pytestmark = pytest.mark.usefixtures("short_retries")


def lock_run(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the lock of the run's row not be granted in time."""

    async def waits(_: object) -> bool:
        raise StoreUnavailable("the database asks to try again: lock wait timeout exceeded")

    monkeypatch.setattr(store, "ask_cancel", waits)
    monkeypatch.setattr(store, "delete_thread", waits)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (("buy", LAMP), r"is in the transaction of a step \(tool 'buy'\), which ends first"),
        (("ship", LAMP), "is in the transaction of a step, which ends first"),
        (("unknown", LAMP), "is in the transaction of a step, which ends first"),
    ],
)
async def test_the_error_names_the_tool_if_the_journal_has_its_call(
    stage: Stage,
    monkeypatch: pytest.MonkeyPatch,
    call: tuple[str, dict[str, str]],
    message: str,
) -> None:
    services = stage.process()
    run = await start(services)
    replied = ModelReplied(tuple(calls(call)), Usage(), "mock", "", "completed")
    await write(services, run, NullListener(), (replied,))
    lock_run(services.store, monkeypatch)

    with pytest.raises(StepUnderWay, match=message):
        await cancel(services, run.run)
    with pytest.raises(StepUnderWay, match=message):
        await delete_thread(services, run.run.thread)


async def test_a_run_that_no_process_drives_is_in_no_step(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = stage.process(calls(("refund", LAMP)), says("Bye."))
    outcome = await drive_new(services)
    lock_run(services.store, monkeypatch)

    with pytest.raises(StoreUnavailable, match="asks to try again") as raised:
        await cancel(services, outcome.run)

    assert type(raised.value) is StoreUnavailable


async def test_a_database_that_does_not_answer_is_no_step(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = stage.process()
    run = await start(services)
    lock_run(services.store, monkeypatch)

    async def away(_: RunId | ThreadId) -> RunRecord:
        raise StoreUnavailable("the database cannot be reached")

    monkeypatch.setattr(services.store, "run", away)
    for command in (cancel(services, run.run), delete_thread(services, run.run.thread)):
        with pytest.raises(StoreUnavailable, match="asks to try again"):
            await command
    monkeypatch.setattr(services.store, "load", away)
    with pytest.raises(StoreUnavailable, match="asks to try again"):
        await delete_thread(services, run.run.thread)


async def test_an_error_that_may_last_is_raised_as_it_is(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = stage.process()
    run = await start(services)

    async def denied(_: RunId) -> bool:
        raise StoreFailed("the database reports: UPDATE command denied")

    monkeypatch.setattr(services.store, "ask_cancel", denied)

    with pytest.raises(StoreFailed, match="UPDATE command denied"):
        await cancel(services, run.run)


async def test_a_conversation_without_entries_is_in_no_step(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = stage.process()
    thread = services.ids.thread()
    await services.store.new_thread(thread, "ann", "", {})
    lock_run(services.store, monkeypatch)

    with pytest.raises(StoreUnavailable, match="asks to try again"):
        await delete_thread(services, thread)
