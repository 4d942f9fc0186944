import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, Literal, cast

import pytest

from tests.engine.stage import (
    LIMITS,
    SHOP,
    Crash,
    RecordingListener,
    Stage,
    Trouble,
    after_start,
    cut_off,
    driven,
    kill,
    resumed,
    start,
    world,
)
from twelvefold.core.budget import Limits
from twelvefold.core.conversation.call_results import UNKNOWN as UNKNOWN_TO_THE_MODEL
from twelvefold.core.events import (
    Event,
    ModelReplied,
    OutcomeUnknown,
    RunFinished,
    ToolFailed,
    ToolSucceeded,
)
from twelvefold.core.ids import CallId
from twelvefold.core.ports import (
    Append,
    CallKey,
    Listener,
    ModelReply,
    ModelRequest,
    NullListener,
    ReadOnly,
    StepTransaction,
    Transaction,
)
from twelvefold.core.workflow import Workflow, tool
from twelvefold.engine.commands import cancel, settle, take
from twelvefold.engine.commit import HeldRun
from twelvefold.engine.drive import Outcome, drive
from twelvefold.engine.services import Services
from twelvefold.engine.shield import ExitLimit
from twelvefold.engine.step import step
from twelvefold.errors import (
    Conflict,
    LeaseLost,
    ModelRejected,
    ModelUnavailable,
    NotFound,
    StaleRun,
    StoreRefused,
    TooLarge,
)
from twelvefold.services.model.scripted import calls, says

LAMP = {"item": "a lamp"}
SOON = replace(LIMITS, deadline_s=0.2)
UNKNOWN = OutcomeUnknown(CallId("2.0"), "ship")
NEVER_KNOWN = OutcomeUnknown(CallId("2.0"), "ship", final=True)
CANCELLED = RunFinished("cancelled", "cancelled")


class Silent:
    """A model that is asked and never answers."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        self.asked.set()
        await asyncio.sleep(60)
        raise AssertionError("nobody waits that long")

    async def close(self) -> None:
        """Nothing is open."""


async def answers(stage: Stage, outcome: Outcome | HeldRun) -> list[Event]:
    """The journal of a run without its starts and its replies."""
    events = after_start(await stage.journal(outcome.run))
    return [event for event in events if not isinstance(event, ModelReplied)]


def in_the_background(services: Services, run: HeldRun) -> asyncio.Task[Outcome]:
    return asyncio.ensure_future(drive(services, run, NullListener()))


def stop(task: asyncio.Task[Outcome]) -> None:
    task.cancel()


async def stopped(task: asyncio.Task[Outcome]) -> None:
    """A driver whose process was told to stop, and did."""
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


# --- to its end


async def test_a_run_is_driven_to_its_end(stage: Stage) -> None:
    services, heard = stage.process(calls(("buy", LAMP)), says("It is yours.")), RecordingListener()

    outcome = await driven(services, heard)

    assert (outcome.status, outcome.error) == ("completed", "")
    assert outcome.thread.entries == await stage.entries(outcome.run)
    assert heard.entries == list(outcome.thread.latest[1:])
    assert heard.said == ["It is yours."]
    assert await answers(stage, outcome) == [
        ToolSucceeded(CallId("2.0"), "buy", "bought a lamp"),
        RunFinished("completed"),
    ]
    record = await stage.record(outcome.run)
    assert (record.status, record.leased, record.usage) == (
        "completed",
        False,
        outcome.thread.usage,
    )


async def test_a_run_that_waits_for_a_person_says_so(stage: Stage) -> None:
    outcome = await driven(stage.process(calls(("refund", LAMP))))

    assert (outcome.status, outcome.error) == ("waiting", "")


async def test_three_faults_in_a_row_end_the_run(stage: Stage) -> None:
    curse = calls(("buy", {"item": "a curse"}))

    outcome = await driven(stage.process(curse, curse, curse, says("Sorry.")))

    error = "tool `buy` raised RuntimeError three times in a row: cursed"
    assert (outcome.status, outcome.thread.reason, outcome.error) == (
        "failed",
        "tool_faults",
        error,
    )
    assert (await stage.record(outcome.run)).error == error
    assert [type(one) for one in await answers(stage, outcome)] == [*[ToolFailed] * 3, RunFinished]


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (replace(LIMITS, max_steps=2), "max_steps"),
        (replace(LIMITS, run_tokens=1), "token_budget"),
    ],
)
async def test_a_run_that_may_go_no_further_is_incomplete(
    stage: Stage, limits: Limits, reason: str
) -> None:
    look = calls(("look", LAMP))

    outcome = await driven(stage.process(look, look, look, limits=limits))

    assert (outcome.status, outcome.error) == ("incomplete", reason)


async def test_a_model_that_will_never_take_the_request_fails_the_run(stage: Stage) -> None:
    outcome = await driven(stage.process(ModelRejected("no model 'm-1'; the key may use m-2")))

    assert (outcome.status, outcome.error) == ("failed", "no model 'm-1'; the key may use m-2")
    record = await stage.record(outcome.run)
    assert (record.status, record.error) == ("failed", outcome.error)
    assert await answers(stage, outcome) == [RunFinished("failed", "rejected", outcome.error)]


async def test_a_turn_that_is_too_long_fails_the_run_with_a_sentence(stage: Stage) -> None:
    services = stage.process(says("Hello."), limits=replace(LIMITS, context_tokens=1000))
    outcome = await drive(services, await start(services, "x" * 5000), NullListener())

    assert outcome.status == "failed"
    assert "shorten the input, or set OPENAI_CONTEXT_TOKENS" in outcome.error


# --- to be gone on with


async def test_a_model_that_gives_no_reply_leaves_the_run_to_anyone(stage: Stage) -> None:
    outcome = await driven(stage.process(ModelUnavailable("no reply from the model: 503")))

    assert (outcome.status, outcome.error) == ("queued", "no reply from the model: 503")
    record = await stage.record(outcome.run)
    assert (record.status, record.leased) == ("queued", False)
    assert (await resumed(stage.process(says("Hello.")), outcome.run)).status == "completed"


async def test_a_fault_fails_a_run_that_a_caller_waits_for(stage: Stage) -> None:
    services = stage.process(ModelUnavailable("no reply from the model: 503"))
    said = "no reply from the model: 503; try again later"

    outcome = await drive(services, await start(services), NullListener(), fail_on_fault=True)

    assert (outcome.status, outcome.error) == ("failed", said)
    record = await stage.record(outcome.run)
    assert (record.status, record.error, record.leased) == ("failed", said, False)
    assert await answers(stage, outcome) == [RunFinished("failed", "unavailable", said)]


async def test_an_end_that_cannot_be_written_gives_the_run_back(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = stage.process(ModelUnavailable("no reply from the model: 503"))
    run = await start(services)

    def refuse(change: Append) -> StepTransaction:
        raise TooLarge("longer than a packet may be")

    monkeypatch.setattr(services.store, "append", refuse)
    outcome = await drive(services, run, NullListener(), fail_on_fault=True)

    assert (outcome.status, outcome.error) == ("queued", "no reply from the model: 503")
    record = await stage.record(run.run)
    assert (record.status, record.error, record.leased) == ("queued", outcome.error, False)


async def test_an_unexpected_error_fails_a_run_that_a_caller_waits_for(stage: Stage) -> None:
    services = stage.process(TimeoutError("not the run's deadline"))
    said = "an unexpected TimeoutError stopped the run; the server's log says where"

    with pytest.raises(TimeoutError, match="not the run's deadline"):
        await drive(services, run := await start(services), NullListener(), fail_on_fault=True)

    record = await stage.record(run.run)
    assert (record.status, record.error) == ("failed", said)
    assert await answers(stage, run) == [RunFinished("failed", "error", said)]


async def test_a_run_that_another_process_has_taken_over_is_not_failed(stage: Stage) -> None:
    model = Silent()
    services = stage.process(model=model, limits=replace(LIMITS, lease_s=0.3))
    run = await start(services)
    task = asyncio.ensure_future(drive(services, run, NullListener(), fail_on_fault=True))
    await model.asked.wait()
    await stage.let_leases_run_out()
    taken = await take(stage.process(), run.run)

    with pytest.raises(StaleRun):
        await task

    assert (await stage.record(run.run)).status == "running"
    assert taken.run == run.run


async def test_a_process_that_is_told_to_stop_gives_its_run_back(stage: Stage) -> None:
    model = Silent()
    services = stage.process(model=model)
    task = in_the_background(services, run := await start(services))
    await model.asked.wait()

    await stopped(task)

    record = await stage.record(run.run)
    assert (record.status, record.leased) == ("queued", False)
    assert not (await take(stage.process(), run.run)).thread.interrupted


@pytest.mark.parametrize("at", ["before a load", "before a release"])
async def test_a_run_that_is_cancelled_while_it_is_let_go_of_is_ended(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """Who asks finds it held, and leaves its end to whoever holds it."""
    services, other = stage.process(calls(("ship", LAMP))), stage.process()
    world.trouble = Trouble(lambda: stop(task), places=["an unsafe tool, after it acted"])
    method = "load" if at == "before a load" else "release"
    let_go = getattr(services.store, method)

    async def asked_before(*what: Any, **how: Any) -> Any:
        await other.store.ask_cancel(run.run)
        return await let_go(*what, **how)

    run = await start(services)
    monkeypatch.setattr(services.store, method, asked_before)
    heard = RecordingListener()
    task = asyncio.ensure_future(drive(services, run, heard))
    await asyncio.wait([task])

    assert (await stage.record(run.run)).status == "cancelled"
    assert await answers(stage, run) == [NEVER_KNOWN, CANCELLED]
    assert [entry.event for entry in heard.entries[-2:]] == [NEVER_KNOWN, CANCELLED]


async def test_a_fault_of_our_own_gives_the_run_back_and_is_raised(stage: Stage) -> None:
    services = stage.process(TimeoutError("not the run's deadline"))

    with pytest.raises(TimeoutError, match="not the run's deadline"):
        await drive(services, run := await start(services), NullListener())

    assert (await stage.record(run.run)).status == "queued"


async def test_a_run_of_a_workflow_that_is_not_there_is_given_back(stage: Stage) -> None:
    left = await start(stage.process())
    await stage.let_leases_run_out()
    elsewhere = stage.process(workflow=Workflow("bank", "Lend.", ()))

    with pytest.raises(NotFound, match="is of workflow 'shop', which WORKFLOWS does not name"):
        await resumed(elsewhere, left.run)

    assert (await stage.record(left.run)).status == "queued"
    assert (await take(stage.process(), left.run)).thread.interrupted


async def test_an_unsafe_call_that_was_under_way_leaves_a_doubt(stage: Stage) -> None:
    services = stage.process(calls(("ship", LAMP)), says("Bye."))
    task = in_the_background(services, run := await start(services))
    world.trouble = Trouble(lambda: stop(task), places=["an unsafe tool, after it acted"])

    await asyncio.wait([task])

    assert task.cancelled()
    assert (await stage.record(run.run)).status == "queued"
    assert (await resumed(stage.process(), run.run)).status == "waiting"
    assert await answers(stage, run) == [UNKNOWN]
    assert world.shipped == ["a lamp"]


async def test_an_unsafe_call_whose_result_is_being_written_leaves_none(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = stage.process(calls(("ship", LAMP)), says("Bye."))
    task = in_the_background(services, run := await start(services))
    stop_amid_commit(monkeypatch, services, lambda: world.shipped and task.cancel())

    await asyncio.wait([task])

    assert task.cancelled()
    assert not (await take(stage.process(), run.run)).thread.interrupted
    assert await answers(stage, run) == [ToolSucceeded(CallId("2.0"), "ship", "shipped a lamp")]


async def test_an_unsafe_call_that_had_not_begun_leaves_none_either(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = stage.process(calls(("ship", LAMP)), says("Bye."))
    task = in_the_background(services, run := await start(services))
    stop_amid_commit(monkeypatch, services, task.cancel)

    await asyncio.wait([task])

    assert world.shipped == []
    assert (await resumed(stage.process(calls(("ship", LAMP)), says("Bye.")), run.run)).status == (
        "completed"
    )
    assert world.shipped == ["a lamp"]


async def test_a_tool_that_was_in_its_transaction_is_finished_first(stage: Stage) -> None:
    services = stage.process(calls(("buy", LAMP)), says("Bye."))
    task = in_the_background(services, run := await start(services))
    world.trouble = Trouble(lambda: stop(task), places=["a transaction, after its rows"])

    await asyncio.wait([task])

    assert task.cancelled()
    assert await stage.bought() == ["a lamp"]
    assert await answers(stage, run) == [ToolSucceeded(CallId("2.0"), "buy", "bought a lamp")]
    assert (await stage.record(run.run)).status == "queued"


def stop_amid_commit(
    monkeypatch: pytest.MonkeyPatch, services: Services, stop: Callable[[], object]
) -> None:
    """Lets something happen while a step is about to commit, and the loop hear of it."""
    append_here = services.store.append

    @asynccontextmanager
    async def slowly(change: Append) -> AsyncIterator[StepTransaction]:
        async with append_here(change) as tx:
            yield tx
            stop()
            await asyncio.sleep(0.01)

    monkeypatch.setattr(services.store, "append", slowly)


def commit_when_stopped(
    monkeypatch: pytest.MonkeyPatch, services: Services, task: asyncio.Task[Outcome]
) -> None:
    """Keeps a step from its commit until its driver has been told to stop."""
    append_here = services.store.append

    @asynccontextmanager
    async def slowly(change: Append) -> AsyncIterator[StepTransaction]:
        async with append_here(change) as tx:
            yield tx
            while not task.cancelling():
                await asyncio.sleep(0.001)

    monkeypatch.setattr(services.store, "append", slowly)


async def test_a_process_that_had_to_abandon_a_commit_writes_nothing_more(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit, hangs = ExitLimit(release_s=0.01), asyncio.Event()
    services = replace(stage.process(says("Bye.")), exit_limit=limit)
    append_here = services.store.append

    @asynccontextmanager
    async def unanswered(change: Append) -> AsyncIterator[StepTransaction]:
        async with append_here(change) as tx:
            yield tx
            hangs.set()
            await asyncio.Event().wait()

    async def writes(*_: object, **__: object) -> bool:
        raise AssertionError("it has let go of the run")

    monkeypatch.setattr(services.store, "append", unanswered)
    monkeypatch.setattr(services.store, "release", writes)
    task = in_the_background(services, run := await start(services))
    await hangs.wait()

    limit.begin(0)
    await stopped(task)

    assert after_start(await stage.journal(run.run)) == []
    assert (await stage.record(run.run)).leased


async def test_a_run_that_is_to_be_cancelled_while_it_is_given_back_to_wait_is_ended(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = stage.process(calls(("refund", LAMP)))
    outcome = await driven(services)
    run = await take(services, outcome.run)
    release = services.store.release

    async def asked_before(*what: Any, **how: Any) -> bool:
        await stage.process().store.ask_cancel(outcome.run)
        return await release(*what, **how)

    monkeypatch.setattr(services.store, "release", asked_before)

    ended = await drive(services, run, NullListener())

    assert (outcome.status, ended.status) == ("waiting", "cancelled")
    assert (await stage.record(outcome.run)).status == "cancelled"


async def test_a_run_of_an_unknown_workflow_that_is_to_be_cancelled_is_ended(stage: Stage) -> None:
    outcome = await driven(stage.process(calls(("refund", LAMP))))
    elsewhere = stage.process(workflow=Workflow("elsewhere", "Do.", ()))
    run = await take(elsewhere, outcome.run)
    await elsewhere.store.ask_cancel(outcome.run)

    with pytest.raises(NotFound, match="which WORKFLOWS does not name"):
        await drive(elsewhere, run, NullListener())

    assert (await stage.record(outcome.run)).status == "cancelled"


# --- while the database is away


@pytest.mark.usefixtures("little_patience")
async def test_a_database_that_is_away_at_the_deadline_leaves_the_run_to_anyone(
    stage: Stage,
) -> None:
    trouble = Trouble(cut_off, places=["behind the fence", "before a release"], times=10**6)
    services = stage.process(calls(("buy", LAMP)), says("Bye."), limits=SOON, trouble=trouble)

    outcome = await driven(services)

    assert outcome.status == "queued"
    assert outcome.error == "the end of the run is not written: the database cannot be reached"
    await stage.let_leases_run_out()
    other = stage.process(calls(("buy", LAMP)), says("Bye."))
    assert (await resumed(other, outcome.run)).status == "completed"
    assert await stage.bought() == ["a lamp"]


@pytest.mark.usefixtures("little_patience")
async def test_a_database_that_stays_away_leaves_the_run_to_anyone(stage: Stage) -> None:
    places = ["before a step's transaction", "before a load", "before a release"]
    trouble = Trouble(cut_off, places=places, times=10**6)

    outcome = await driven(stage.process(says("Bye."), limits=SOON, trouble=trouble))

    assert outcome.status == "queued"
    assert after_start(await stage.journal(outcome.run)) == []


async def test_an_end_that_was_written_late_is_the_end(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("twelvefold.engine.drive.RELEASE_S", 0.5)
    services = stage.process(model=Silent(), limits=SOON)
    task = in_the_background(services, await start(services))
    commit_when_stopped(monkeypatch, services, task)

    outcome = await task

    assert (outcome.status, outcome.error) == ("incomplete", "deadline")
    assert (await stage.record(outcome.run)).status == "incomplete"


async def test_a_database_that_refuses_the_journal_is_the_operators_to_mend(stage: Stage) -> None:
    def refuse() -> None:
        raise StoreRefused("the table events is read-only")

    services = stage.process(says("Bye."), trouble=Trouble(refuse, places=["behind the fence"]))

    with pytest.raises(StoreRefused, match="the table events is read-only"):
        await drive(services, run := await start(services), NullListener())

    assert (await stage.record(run.run)).status == "queued"


# --- the deadline


async def test_a_run_ends_at_its_deadline(stage: Stage) -> None:
    outcome = await driven(stage.process(model=Silent(), limits=SOON))

    assert (outcome.status, outcome.error) == ("incomplete", "deadline")
    assert await answers(stage, outcome) == [RunFinished("incomplete", "deadline")]


async def test_an_unsafe_call_that_ended_too_many_processes_is_left_to_a_person(
    stage: Stage,
) -> None:
    services = stage.process(calls(("ship", LAMP)), limits=replace(LIMITS, max_attempts=1))
    run = await start(services)
    world.trouble = Trouble(kill, places=["an unsafe tool, after it acted"])
    with pytest.raises(Crash):
        await drive(services, run, NullListener())
    for _ in range(2):
        await stage.let_leases_run_out()
        driven = await take(services, run.run)

    outcome = await drive(services, driven, NullListener())

    assert (outcome.status, driven.attempts) == ("waiting", 2)
    assert await answers(stage, outcome) == [UNKNOWN]


async def test_a_tool_that_is_in_its_transaction_at_the_deadline_is_finished(stage: Stage) -> None:
    @tool(name="buy")
    async def buy_slowly(tx: Transaction, item: str) -> str:
        """Buy it."""
        await tx.execute("insert into bought (item, who) values (:item, 'ann')", item=item)
        while not task.cancelling():
            await asyncio.sleep(0.001)
        return "bought"

    workflow, heard = Workflow("shop", "Sell.", (buy_slowly,)), RecordingListener()
    services = stage.process(calls(("buy", LAMP)), limits=SOON, workflow=workflow)
    task = asyncio.ensure_future(driven(services, heard))

    outcome = await task

    assert await stage.bought() == ["a lamp"]
    assert (await answers(stage, outcome))[1:] == [RunFinished("incomplete", "deadline")]
    assert heard.entries == list(outcome.thread.latest[1:])


async def test_a_last_word_that_is_being_written_at_the_deadline_is_the_end(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = stage.process(says("Bye."), limits=SOON)
    task = in_the_background(services, await start(services))
    commit_when_stopped(monkeypatch, services, task)

    outcome = await task

    assert (outcome.status, outcome.error) == ("completed", "")


async def test_an_unsafe_call_that_is_under_way_at_the_deadline_is_left_to_a_person(
    stage: Stage,
) -> None:
    outcome = await driven(slow_shipper(stage, SOON))

    assert outcome.status == (await stage.record(outcome.run)).status == "waiting"
    assert await answers(stage, outcome) == [UNKNOWN]


async def test_a_call_with_a_key_keeps_it_over_the_deadline(stage: Stage) -> None:
    outcome = await driven(slow_teller(stage, SOON))

    assert outcome.status == (await stage.record(outcome.run)).status == "waiting"
    assert await answers(stage, outcome) == [OutcomeUnknown(CallId("2.0"), "notify")]
    services = stage.process(calls(("notify", LAMP)), says("Bye."))
    await settle(services, outcome.run, settled="retry", by="bob")
    assert (await resumed(services, outcome.run)).status == "completed"
    assert world.notified == [(CallKey(f"{outcome.run.thread}:2.0"), "a lamp")] * 2


async def test_a_tool_that_swallows_its_cancellation_ends_with_the_deadline(stage: Stage) -> None:
    outcome = await driven(deaf_shipper(stage, replace(LIMITS, deadline_s=1.0)))

    assert (outcome.status, outcome.error) == ("incomplete", "deadline")
    assert await answers(stage, outcome) == [SHIPPED, RunFinished("incomplete", "deadline")]


async def test_a_tool_that_swallows_its_cancellation_keeps_no_process_from_its_end(
    stage: Stage,
) -> None:
    task = in_the_background(services := deaf_shipper(stage, LIMITS), run := await start(services))
    while not world.shipped:
        await asyncio.sleep(0)

    await stopped(task)

    assert await answers(stage, run) == [SHIPPED]
    assert (await stage.record(run.run)).status == "queued"
    assert not (await take(stage.process(), run.run)).thread.interrupted


@pytest.mark.parametrize("caught", [False, True])
@pytest.mark.parametrize("effect", ["pure", "unsafe"])
async def test_a_tool_whose_task_group_fails_is_called_once(
    stage: Stage, effect: Literal["pure", "unsafe"], caught: bool
) -> None:
    """A TaskGroup of Python 3.11 leaves its task marked as cancelled."""
    services = grouping(stage, effect, caught=caught)

    outcome = await driven(services)

    came = SHIPPED if caught else None
    assert outcome.status == "completed"
    assert world.shipped == ["a lamp"]
    assert ((await answers(stage, outcome))[0] == came) is caught


async def test_a_tool_that_cancels_its_own_task_fails(stage: Stage) -> None:
    @tool(effect="pure")
    async def ship(item: str) -> str:
        """Ship it."""
        world.shipped.append(item)
        cast("asyncio.Task[object]", asyncio.current_task()).cancel()
        await asyncio.sleep(60)
        return "never"

    services = stage.process(
        calls(("ship", LAMP)), says("Bye."), workflow=Workflow("shop", "Sell.", (ship,))
    )

    outcome = await driven(services)

    assert (outcome.status, world.shipped) == ("completed", ["a lamp"])


def grouping(stage: Stage, effect: Literal["pure", "unsafe"], *, caught: bool) -> Services:
    """A process whose tool waits for two tasks of a group, of which one fails."""

    async def fails() -> None:
        await asyncio.sleep(0)
        raise OSError("no route")

    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails())
            group.create_task(asyncio.sleep(60))

    @tool(effect=effect)
    async def ship(item: str) -> str:
        """Ship it."""
        world.shipped.append(item)
        if not caught:
            await both()
        with suppress(ExceptionGroup):
            await both()
        return "shipped"

    workflow = Workflow("shop", "Sell.", (ship,))
    return stage.process(calls(("ship", LAMP)), says("Bye."), workflow=workflow)


SHIPPED = ToolSucceeded(CallId("2.0"), "ship", "shipped")


def deaf_shipper(stage: Stage, limits: Limits) -> Services:
    """A process whose tool makes a result of its cancellation."""

    @tool(effect="unsafe")
    async def ship(item: str) -> str:
        """Ship it."""
        world.shipped.append(item)
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        return "shipped"

    workflow = Workflow("shop", "Sell.", (ship,))
    replies = calls(("ship", LAMP)), says("Bye.")
    return stage.process(*replies, limits=limits, workflow=workflow)


def slow_teller(stage: Stage, limits: Limits) -> Services:
    """A process that is telling somebody for a long time."""

    @tool
    async def notify(key: CallKey, item: str) -> None:
        """Tell the owner."""
        world.notified.append((key, item))
        await asyncio.sleep(60)

    workflow = Workflow("shop", "Sell.", (notify,))
    return stage.process(calls(("notify", LAMP)), limits=limits, workflow=workflow)


def slow_shipper(stage: Stage, limits: Limits) -> Services:
    """A process that is shipping for a long time."""

    @tool(effect="unsafe")
    async def ship(item: str) -> None:
        """Ship it."""
        world.shipped.append(item)
        await asyncio.sleep(60)

    workflow = Workflow("shop", "Sell.", (ship,))
    return stage.process(calls(("ship", LAMP)), limits=limits, workflow=workflow)


# --- cancelled


@pytest.mark.usefixtures("frequent_renewals")
async def test_a_run_that_waits_for_its_model_hears_that_it_is_cancelled(stage: Stage) -> None:
    model = Silent()
    services = stage.process(model=model)
    task = in_the_background(services, run := await start(services))
    await model.asked.wait()

    assert await cancel(stage.process(), run.run) == "cancelled"

    outcome = await task
    assert (outcome.status, outcome.error) == ("cancelled", "cancelled")
    assert await answers(stage, run) == [CANCELLED]


@pytest.mark.usefixtures("frequent_renewals")
async def test_a_run_that_was_taken_away_to_be_cancelled_is_not_said_to_go_on_elsewhere(
    stage: Stage,
) -> None:
    model = Silent()
    services = stage.process(model=model)
    task = in_the_background(services, run := await start(services))
    await model.asked.wait()
    await services.store.ask_cancel(run.run)
    elsewhere = stage.process()
    theirs = await take(elsewhere, run.run)
    await asyncio.sleep(0.1)

    assert not task.done()
    await drive(elsewhere, theirs, NullListener())

    assert (await task).status == "cancelled"


async def test_a_run_is_cancelled_at_once_while_a_tool_of_it_reads(stage: Stage) -> None:
    @tool
    async def look(db: ReadOnly) -> str:
        """Look, for as long as it takes another process to cancel the run."""
        assert await cancel(stage.process(), run.run) == "cancelled"
        return "seen"

    workflow = Workflow("shop", "Sell.", (look,))
    services = stage.process(calls(("look", {})), workflow=workflow)
    run = await start(services)

    outcome = await drive(services, run, NullListener())

    assert outcome.status == "cancelled"
    assert await answers(stage, run) == [CANCELLED]


async def test_a_cancelled_run_commits_no_tool_that_was_on_its_way(
    stage: Stage,
) -> None:
    services = stage.process(calls(("buy", LAMP)))
    run = await start(services)
    await services.store.ask_cancel(run.run)

    outcome = await drive(services, run, NullListener())

    assert outcome.status == "cancelled"
    assert await stage.bought() == []
    assert after_start(await stage.journal(run.run)) == [CANCELLED]


@pytest.mark.usefixtures("frequent_renewals")
async def test_an_unsafe_call_of_a_cancelled_run_is_in_the_journal_and_nobody_is_asked(
    stage: Stage,
) -> None:
    services = slow_shipper(stage, LIMITS)
    task = in_the_background(services, run := await start(services))
    while not world.shipped:
        await asyncio.sleep(0.001)

    await cancel(stage.process(), run.run)

    assert (await task).status == (await stage.record(run.run)).status == "cancelled"
    assert await answers(stage, run) == [NEVER_KNOWN, CANCELLED]


@pytest.mark.usefixtures("frequent_renewals")
async def test_the_model_is_told_not_to_repeat_a_call_with_a_key_that_was_cancelled(
    stage: Stage,
) -> None:
    services = slow_teller(stage, LIMITS)
    task = in_the_background(services, run := await start(services))
    while not world.notified:
        await asyncio.sleep(0.001)

    await cancel(stage.process(), run.run)
    await task
    later = stage.process(calls(("notify", LAMP)), says("Did it arrive?"))
    await drive(later, await start(later, "and?", run.run.thread), NullListener())

    unknown = OutcomeUnknown(CallId("2.0"), "notify", final=True)
    assert (await answers(stage, run))[:2] == [unknown, CANCELLED]
    assert stage.requests[-1].items[2]["output"] == UNKNOWN_TO_THE_MODEL


async def test_a_call_with_a_key_of_a_process_that_stops_is_run_again_under_its_key(
    stage: Stage,
) -> None:
    services = slow_teller(stage, LIMITS)
    task = in_the_background(services, run := await start(services))
    while not world.notified:
        await asyncio.sleep(0.001)

    await stopped(task)

    assert (await take(services, run.run)).thread.interrupted
    await stage.let_leases_run_out()
    other = stage.process(calls(("notify", LAMP)), says("Bye."))
    assert (await resumed(other, run.run)).status == "completed"
    assert world.notified == [(CallKey(f"{run.run.thread}:2.0"), "a lamp")] * 2


@pytest.mark.parametrize("name", ["buy", "ship", "refund"])
async def test_whoever_takes_up_a_run_that_is_to_be_cancelled_ends_it_before_anything_else(
    stage: Stage, name: str
) -> None:
    services = stage.process(calls((name, LAMP)), says("Bye."))
    run = (await start(services)).run
    await services.store.ask_cancel(run)
    await stage.let_leases_run_out()

    outcome = await resumed(services, run)

    assert outcome.status == (await stage.record(run)).status == "cancelled"
    assert await answers(stage, outcome) == [CANCELLED]
    assert stage.requests == []


async def test_a_run_that_waits_and_is_to_be_cancelled_is_ended_by_whoever_takes_it_up(
    stage: Stage,
) -> None:
    services = stage.process(calls(("refund", LAMP)))
    run = (await driven(services)).run
    await services.store.ask_cancel(run)

    outcome = await resumed(services, run)

    record = await stage.record(run)
    assert (outcome.status, record.status, record.leased) == ("cancelled", "cancelled", False)


async def test_a_call_of_a_process_that_died_is_in_doubt_when_its_run_is_cancelled(
    stage: Stage,
) -> None:
    services = stage.process(calls(("ship", LAMP)))
    run = (await step(services, await start(services), SHOP, NullListener())).run
    await services.store.ask_cancel(run)
    await stage.let_leases_run_out()

    outcome = await resumed(services, run)

    assert outcome.status == "cancelled"
    assert await answers(stage, outcome) == [NEVER_KNOWN, CANCELLED]


async def test_a_run_that_is_cancelled_at_its_deadline_is_cancelled(stage: Stage) -> None:
    services = stage.process(model=Silent(), limits=SOON)
    run = await start(services)
    await services.store.ask_cancel(run.run)

    outcome = await drive(services, run, NullListener())

    assert outcome.status == "cancelled"
    assert await answers(stage, run) == [CANCELLED]


# --- somebody else has it


@pytest.mark.usefixtures("frequent_renewals")
async def test_a_run_that_was_taken_over_is_let_alone(stage: Stage) -> None:
    model = Silent()
    services = stage.process(model=model)
    task = in_the_background(services, run := await start(services))
    await model.asked.wait()
    theirs = None
    while theirs is None:
        await stage.let_leases_run_out()
        with suppress(Conflict):  # a renewal has come in between
            theirs = await take(stage.process(), run.run)

    with pytest.raises(LeaseLost, match="another process has taken it over"):
        await task

    assert (await stage.record(run.run)).leased
    mine = stage.process(says("Bye."))
    assert (await drive(mine, theirs, NullListener())).status == "completed"


async def test_of_two_drivers_one_goes_on_and_the_other_stops(stage: Stage) -> None:
    script = calls(("buy", LAMP)), calls(("ship", LAMP)), says("Bye.")
    one = stage.process(*script)
    run = await start(one)

    outcomes = await asyncio.gather(
        drive(one, run, NullListener()),
        drive(stage.process(*script), run, NullListener()),
        return_exceptions=True,
    )

    entries = await stage.entries(run.run)
    rested = [one for one in outcomes if isinstance(one, Outcome)]
    # The other one stops at once, or finds when it looks that all is done.
    assert rested
    assert all(isinstance(one, Outcome | StaleRun) for one in outcomes)
    assert {one.status for one in rested} == {"completed"}
    assert all(one.thread.entries == entries for one in rested)
    assert await stage.bought() == ["a lamp"]


@pytest.mark.usefixtures("frequent_renewals")
async def test_a_renewal_that_falls_behind_the_last_commit_takes_nothing_back(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = stage.process(says("Bye."))
    append = services.store.append

    @asynccontextmanager
    async def lingering(change: Append) -> AsyncIterator[StepTransaction]:
        async with append(change) as tx:
            yield tx
        await asyncio.sleep(0.1)  # the commit is through, and its answer on its way

    monkeypatch.setattr(services.store, "append", lingering)

    outcome = await drive(services, await start(services), NullListener())

    assert outcome.status == "completed"
    assert outcome.thread.entries == await stage.entries(outcome.run)
