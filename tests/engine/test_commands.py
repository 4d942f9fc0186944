import asyncio
from typing import Any

import pytest

from tests.builders import said, user
from tests.engine.stage import (
    ANN,
    SHOP,
    Crash,
    FixedIds,
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
from twelvefold.core.events import (
    ApprovalAnswered,
    ApprovalAsked,
    Event,
    ItemsAdded,
    ModelReplied,
    OutcomeSettled,
    OutcomeUnknown,
    RequestOptions,
    RunFinished,
    RunStarted,
    Settlement,
    ToolFailed,
    ToolSucceeded,
)
from twelvefold.core.ids import CallId, RunId, ThreadId
from twelvefold.core.ports import NullListener, Principal, ThreadRecord
from twelvefold.core.workflow import Workflow
from twelvefold.engine.commands import (
    INPUT_BYTES,
    answer,
    cancel,
    enqueue_run,
    fork_at,
    give_up,
    settle,
    start_run,
    take,
)
from twelvefold.engine.commit import HeldRun, write
from twelvefold.engine.drive import drive
from twelvefold.engine.services import Services
from twelvefold.engine.step import step
from twelvefold.errors import (
    Conflict,
    NotFound,
    RequestError,
    StoreRefused,
    StoreUnavailable,
    TooLate,
)
from twelvefold.services.model.scripted import calls, says

LAMP = {"item": "a lamp"}
NOBODY = RunId(ThreadId("f" * 44), 1)


async def answers(stage: Stage, run: RunId) -> list[Event]:
    """The journal of a run without its starts and its replies."""
    events = after_start(await stage.journal(run))
    return [event for event in events if not isinstance(event, ModelReplied)]


# --- start_run and take


async def test_a_run_that_was_started_is_held_and_stands_in_the_journal(stage: Stage) -> None:
    services = stage.process()

    started = await start(services, "a lamp")

    assert await stage.journal(started.run) == [RunStarted((user("a lamp"),), "ann", "shop", "1.0")]
    assert started.thread.entries == await stage.entries(started.run)
    record = await stage.record(started.run)
    assert (record.status, record.leased, record.release) == ("running", True, "1.0")


async def test_a_run_is_started_once_however_often_the_database_is_away(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = stage.process()
    start_here, tries = services.store.start, iter(range(3))

    async def start_there(*args: Any) -> Any:
        written = await start_here(*args)
        if next(tries, None) is not None:
            cut_off()
        return written

    monkeypatch.setattr(services.store, "start", start_there)

    started = await start(services)

    assert len(await stage.journal(started.run)) == 1
    await write(services, started, NullListener(), [said()])


async def test_a_later_run_goes_on_with_its_thread(stage: Stage) -> None:
    services = stage.process(says("Hello."), says("Good bye."))
    first = await driven(services)

    second = await start(services, "thanks", thread=first.run.thread)

    assert second.run == RunId(first.run.thread, 2)
    assert second.thread.history.entries == first.thread.entries


async def test_a_run_that_is_to_follow_an_entry_is_not_begun_behind_another(stage: Stage) -> None:
    services = stage.process(says("Hello."))
    first = await driven(services)
    follow: dict[str, Any] = {"workflow": "shop", "principal": ANN, "thread": first.run.thread}

    with pytest.raises(Conflict, match="is at 3, not at 2 any more"):
        await start_run(services, items=[user("and?")], behind=2, **follow)
    second = await start_run(services, items=[user("and?")], behind=3, **follow)

    assert second.thread.head == 4


async def test_a_thread_that_was_forked_amid_a_run_can_be_gone_on_with(stage: Stage) -> None:
    services = stage.process(calls(("refund", LAMP)))
    waiting = await driven(services)
    fork = FixedIds().thread().replace("0", "1")
    await services.store.fork(waiting.run.thread, 2, ThreadId(fork))

    started = await start(services, "never mind", thread=ThreadId(fork))

    assert started.run == RunId(ThreadId(fork), 2)
    assert started.thread.history.entries == waiting.thread.entries[:2]
    with pytest.raises(Conflict, match=f"run {started.run} of this thread is not over"):
        await start(services, thread=ThreadId(fork))


async def test_what_a_caller_asks_for_beside_the_input_is_kept(stage: Stage) -> None:
    asked = RequestOptions(instructions="Be brief.", stream=True)

    started = await start(stage.process(), options=asked)

    (event,) = await stage.journal(started.run)
    assert isinstance(event, RunStarted)
    assert event.options == started.thread.options == asked
    assert not started.claimed


async def test_a_conversation_that_has_no_run_yet_can_be_gone_on_with(stage: Stage) -> None:
    services = stage.process(says("Hello."))
    empty, begun = services.ids.thread(), services.ids.thread()
    await services.store.new_thread(empty, "ann", "shop", {})
    await services.store.new_thread(begun, "ann", "", {})
    await services.store.add_items(begun, 0, 0, ItemsAdded((user("I am Ann."),)))

    first = await start(services, thread=empty)
    second = await start(services, thread=begun)
    await drive(services, second, NullListener())

    assert first.run == RunId(empty, 1)
    assert second.run == RunId(begun, 1)
    assert stage.requests[0].items == (user("I am Ann."), user("a lamp, please"))


# --- enqueue_run


async def test_a_run_that_was_queued_is_there_for_any_process(stage: Stage) -> None:
    run, _ = await enqueue_run(
        stage.process(), workflow="shop", principal=ANN, items=[user("a lamp")]
    )

    record = await stage.record(run)
    assert (record.status, record.leased, record.background) == ("queued", False, True)
    outcome = await resumed(stage.process(says("Hello.")), run)
    assert outcome.status == "completed"


async def test_a_run_is_queued_behind_the_last_one_of_its_thread(stage: Stage) -> None:
    services = stage.process(says("Hello."))
    first = await driven(services)
    behind: dict[str, Any] = {"workflow": "shop", "principal": ANN, "thread": first.run.thread}

    run, _ = await enqueue_run(services, items=[user("and?")], **behind)

    assert run == RunId(first.run.thread, 2)
    with pytest.raises(Conflict, match="is not over"):
        await enqueue_run(services, items=[user("so?")], **behind)


async def test_a_run_that_cannot_be_is_not_queued(stage: Stage) -> None:
    with pytest.raises(RequestError, match="no workflow 'bank'; there are shop"):
        await enqueue_run(stage.process(), workflow="bank", principal=ANN, items=[])


# --- fork_at


async def test_a_fork_goes_on_from_an_entry(stage: Stage) -> None:
    services = stage.process(says("Hello."), says("Well?"))
    first = await driven(services)

    by_run = await fork_at(services, first.run, 2)
    by_thread = await fork_at(services, first.run.thread, 3, principal=ANN)

    forked = await start(services, "hm", thread=by_run)
    assert forked.run == RunId(by_run, 2)
    assert forked.thread.history.entries == first.thread.entries[:2]
    assert (await services.store.thread(by_thread)).forked_at == 3


async def test_an_entry_of_a_fork_may_be_that_of_the_thread_it_came_from(stage: Stage) -> None:
    services = stage.process(says("Hello."))
    first = await driven(services)
    second = await fork_at(services, await fork_at(services, first.run, 3), 3)

    third = await fork_at(services, second, 2)

    head = await services.store.thread(third)
    assert (head.forked_from, head.forked_at) == (first.run.thread, 2)


async def test_a_fork_is_made_once_however_often_the_database_is_away(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = stage.process(says("Hello."))
    first = await driven(services)
    fork_here, tries = services.store.fork, iter(range(1))

    async def fork_there(*args: Any) -> None:
        await fork_here(*args)
        if next(tries, None) is not None:
            cut_off()

    monkeypatch.setattr(services.store, "fork", fork_there)

    fork = await fork_at(services, first.run, 2)

    assert (await services.store.thread(fork)).forked_at == 2


async def test_what_is_not_there_or_not_ones_own_cannot_be_forked(stage: Stage) -> None:
    services = stage.process(says("Hello."))
    first = await driven(services)

    with pytest.raises(NotFound):
        await fork_at(services, NOBODY, 1)
    with pytest.raises(NotFound):
        await fork_at(services, first.run, 9)
    with pytest.raises(NotFound, match=f"no thread conv_{first.run.thread}"):
        await fork_at(services, first.run, 1, principal=Principal("bob"))


async def test_a_run_may_be_begun_on_a_fork_that_is_made_with_it(stage: Stage) -> None:
    services = stage.process(says("Hello."), says("Well?"))
    first = await driven(services)

    forked = await start_run(
        services,
        workflow="shop",
        principal=ANN,
        items=[user("hm")],
        thread=first.run.thread,
        behind=2,
        fork=True,
    )

    head = await services.store.thread(forked.run.thread)
    assert (head.forked_from, head.forked_at, head.head) == (first.run.thread, 2, 3)
    assert forked.run.ordinal == 2
    assert forked.thread.history.entries == first.thread.entries[:2]
    assert (await drive(services, forked, NullListener())).status == "completed"


# --- what is refused


async def test_a_workflow_that_is_not_there_is_refused_with_those_that_are(stage: Stage) -> None:
    with pytest.raises(RequestError, match="no workflow 'bank'; there are shop"):
        await start_run(stage.process(), workflow="bank", principal=ANN, items=[])


async def test_a_thread_of_somebody_else_is_not_there(stage: Stage) -> None:
    services = stage.process(says("Hello."))
    mine = await driven(services)

    with pytest.raises(NotFound, match=f"no thread conv_{mine.run.thread}"):
        await start_run(
            services,
            workflow="shop",
            principal=Principal("bob"),
            items=[user("show me")],
            thread=mine.run.thread,
        )


async def test_a_thread_that_nobody_has_is_not_there_either(stage: Stage) -> None:
    with pytest.raises(NotFound, match=f"no thread conv_{NOBODY.thread}"):
        await start(stage.process(), thread=NOBODY.thread)


async def test_a_thread_stays_with_its_workflow(stage: Stage) -> None:
    ours = await driven(stage.process(says("Hello.")))
    bank = stage.process(workflow=Workflow("bank", "Lend.", ()))

    with pytest.raises(RequestError, match="is of workflow 'shop', not 'bank'"):
        await start_run(
            bank, workflow="bank", principal=ANN, items=[user("hi")], thread=ours.run.thread
        )


async def test_a_thread_whose_last_run_is_not_over_takes_no_other(stage: Stage) -> None:
    services = stage.process()
    busy = await start(services)

    with pytest.raises(Conflict, match=f"run {busy.run} of this thread is not over"):
        await start(services, thread=busy.run.thread)


async def test_of_two_who_go_on_with_a_thread_at_once_one_does(stage: Stage) -> None:
    first = await driven(stage.process(says("Hello.")))

    one, other = await asyncio.gather(
        *(start(stage.process(), text, thread=first.run.thread) for text in ("one", "other")),
        return_exceptions=True,
    )

    lost, won = (one, other) if isinstance(one, BaseException) else (other, one)
    assert isinstance(lost, Conflict)
    assert isinstance(won, HeldRun)
    assert won.thread.entries == await stage.entries(won.run)


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        (user("x" * 5_000_000), rf"the input is 5000\d+ bytes long; {INPUT_BYTES} is the most"),
        (user("\ud83d"), "the input cannot be kept as text: .* surrogates not allowed"),
        (user("hi") | {"made": object()}, "the input cannot be kept as text: .* unsupported"),
        ("hi", r"the input is no list of items: Expected `object`, got `str` - at `\$.items\[0\]`"),
    ],
    ids=["long", "surrogate", "object", "text"],
)
async def test_an_input_that_cannot_be_kept_is_refused_with_what_is_wrong(
    stage: Stage, item: Any, problem: str
) -> None:
    with pytest.raises(RequestError, match=problem):
        await start_run(stage.process(), workflow="shop", principal=ANN, items=[item])


async def test_an_input_that_is_nested_without_end_is_refused(stage: Stage) -> None:
    item = user("hi")
    item["metadata"] = item

    with pytest.raises(RequestError, match="the input cannot be kept as text: maximum recursion"):
        await start_run(stage.process(), workflow="shop", principal=ANN, items=[item])


async def test_an_input_is_what_the_journal_will_say_it_was(stage: Stage) -> None:
    services = stage.process()
    item = user("a\x00b \U0001f600") | {"weight": float("nan"), "tags": ("a", "b")}

    started = await start_run(services, workflow="shop", principal=ANN, items=[item])

    assert started.thread.entries == await stage.entries(started.run)


async def test_a_run_that_nobody_holds_is_taken_as_its_journal_says(stage: Stage) -> None:
    services = stage.process()
    started = await start(services)
    started.unrecorded.usage = said().usage
    before = await write(services, started, NullListener(), [said()])
    await services.store.release(before.lease)

    taken = await take(stage.process(), before.run)

    assert taken.thread == before.thread
    assert not taken.thread.interrupted


async def test_a_run_whose_process_died_is_taken_as_interrupted(stage: Stage) -> None:
    before = await start(stage.process())
    await stage.let_leases_run_out()

    assert (await take(stage.process(), before.run)).thread.interrupted


async def test_a_run_that_is_held_is_not_taken(stage: Stage) -> None:
    held = await start(stage.process())

    with pytest.raises(Conflict, match=f"run {held.run} is held by another process"):
        await take(stage.process(), held.run)


async def test_a_run_that_is_over_is_not_taken(stage: Stage) -> None:
    services = stage.process(says("Hello."))
    over = await driven(services)

    with pytest.raises(TooLate, match=f"run {over.run} is over: completed"):
        await take(services, over.run)


async def test_a_run_that_is_not_there_is_not_taken(stage: Stage) -> None:
    with pytest.raises(NotFound, match=f"no run {NOBODY}"):
        await take(stage.process(), NOBODY)


async def test_a_database_that_is_away_for_a_moment_is_waited_for(stage: Stage) -> None:
    left = await start(stage.process())
    await stage.let_leases_run_out()
    trouble = Trouble(cut_off, places=["before a claim", "before a load"], times=4)

    assert (await take(stage.process(trouble=trouble), left.run)).run == left.run


async def test_a_claim_whose_answer_was_lost_is_found_to_be_ones_own(stage: Stage) -> None:
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


# --- approvals


async def waiting_for_approval(stage: Stage) -> RunId:
    services = stage.process(calls(("buy", LAMP)), calls(("refund", LAMP)))
    outcome = await driven(services)
    assert outcome.status == "waiting"
    return outcome.run


async def gone_on(stage: Stage, run: RunId) -> None:
    """Another process drives the run to its end."""
    script = calls(("buy", LAMP)), calls(("refund", LAMP)), says("Good bye.")
    assert (await resumed(stage.process(*script), run)).status == "completed"


async def test_a_call_that_was_allowed_is_run_by_whoever_goes_on(stage: Stage) -> None:
    run = await waiting_for_approval(stage)

    await answer(stage.process(), run, approved=True, by="bob")
    assert (await stage.record(run)).status == "queued"
    await gone_on(stage, run)

    assert (await answers(stage, run))[1:] == [
        ApprovalAsked(CallId("4.0"), "refund"),
        ApprovalAnswered(CallId("4.0"), approved=True, by="bob"),
        ToolSucceeded(CallId("4.0"), "refund", "refunded a lamp"),
        RunFinished("completed"),
    ]
    assert await stage.bought() == []


@pytest.mark.parametrize(
    ("reason", "message"),
    [("", "Error: not allowed by bob"), ("too late", "Error: not allowed by bob: too late")],
)
async def test_a_call_that_was_denied_is_not_run_and_the_model_reads_why(
    stage: Stage, reason: str, message: str
) -> None:
    run = await waiting_for_approval(stage)

    await answer(stage.process(), run, approved=False, by="bob", reason=reason)
    await gone_on(stage, run)

    assert (await answers(stage, run))[1:] == [
        ApprovalAsked(CallId("4.0"), "refund"),
        ApprovalAnswered(CallId("4.0"), approved=False, by="bob", reason=reason),
        ToolFailed(CallId("4.0"), "refund", "denied", message),
        RunFinished("completed"),
    ]
    assert await stage.bought() == ["a lamp"]


async def test_an_answer_to_a_call_that_does_not_wait_is_refused_and_changes_nothing(
    stage: Stage,
) -> None:
    run = await waiting_for_approval(stage)
    services, before = stage.process(), await stage.journal(run)

    with pytest.raises(
        Conflict, match=f"run {run} has no call 4.1 that waits for approval; 4.0 does"
    ):
        await answer(services, run, approved=True, by="bob", call=CallId("4.1"))
    with pytest.raises(Conflict, match=f"run {run} has no call that waits for settling"):
        await settle(services, run, settled="done", by="bob")

    assert await stage.journal(run) == before
    record = await stage.record(run)
    assert (record.status, record.leased) == ("waiting", False)


async def test_an_answer_comes_once(stage: Stage) -> None:
    run = await waiting_for_approval(stage)
    services = stage.process()

    await answer(services, run, approved=True, by="bob", call=CallId("4.0"))

    with pytest.raises(Conflict, match="no call that waits for approval"):
        await answer(services, run, approved=False, by="eve")
    assert (await stage.record(run)).status == "queued"


async def test_what_a_person_says_must_be_text_too(stage: Stage) -> None:
    run = await waiting_for_approval(stage)

    with pytest.raises(RequestError, match="cannot be kept as text"):
        await answer(stage.process(), run, approved=False, by="bob", reason="\udcff")

    assert (await stage.record(run)).status == "waiting"


def cancelled_behind_a_claim(
    stage: Stage, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lets somebody ask for a run's cancelling between its claim and the first append, and die."""
    claim, other = services.store.claim, stage.process().store

    async def claimed(run: RunId, *how: Any) -> Any:
        monkeypatch.setattr(services.store, "claim", claim)
        found = await claim(run, *how)
        await other.ask_cancel(run)
        return found

    monkeypatch.setattr(services.store, "claim", claimed)


async def test_a_run_that_is_to_be_cancelled_while_an_answer_claims_it_is_ended(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await waiting_for_approval(stage)
    services = stage.process()
    cancelled_behind_a_claim(stage, services, monkeypatch)

    with pytest.raises(Conflict, match=f"run {run} is to be cancelled"):
        await answer(services, run, approved=True, by="bob")

    assert (await stage.record(run)).status == "cancelled"


async def test_a_run_that_is_to_be_cancelled_while_nobody_has_that_call_is_ended(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await waiting_for_approval(stage)
    services = stage.process()
    cancelled_behind_a_claim(stage, services, monkeypatch)

    with pytest.raises(TooLate):
        await settle(services, run, settled="done", by="bob")

    assert (await stage.record(run)).status == "cancelled"


async def test_a_claim_of_a_run_that_is_not_read_and_is_to_be_cancelled_is_ended(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await waiting_for_approval(stage)
    services = stage.process()
    cancelled_behind_a_claim(stage, services, monkeypatch)
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


async def test_an_answer_to_a_run_that_is_to_be_cancelled_comes_too_late(stage: Stage) -> None:
    run = await waiting_for_approval(stage)
    services = stage.process()
    await services.store.ask_cancel(run)

    with pytest.raises(Conflict, match=f"run {run} is to be cancelled"):
        await answer(services, run, approved=True, by="bob")

    record = await stage.record(run)
    assert (record.status, record.leased) == ("queued", False)


@pytest.mark.usefixtures("little_patience")
async def test_an_answer_waits_a_little_for_a_database_that_is_away_and_no_longer(
    stage: Stage,
) -> None:
    run = await waiting_for_approval(stage)
    trouble = Trouble(cut_off, places=["before a step's transaction"], times=10**6)

    with pytest.raises(StoreUnavailable):
        await answer(stage.process(trouble=trouble), run, approved=True, by="bob")

    record = await stage.record(run)
    assert (record.status, record.leased) == ("waiting", False)


# --- outcomes that nobody knows


SHIPPING = calls(("ship", LAMP)), says("Good bye.")


async def left_amid(stage: Stage, place: str) -> RunId:
    """A run whose process was killed in an unsafe call."""
    world.trouble = trouble = Trouble(kill, places=[place])
    services = stage.process(*SHIPPING, trouble=trouble)
    run = (await start(services)).run
    await stage.let_leases_run_out()
    task = asyncio.ensure_future(resumed(services, run))
    await asyncio.wait([task])
    assert isinstance(task.exception(), Crash)
    await stage.let_leases_run_out()
    world.trouble = Trouble()
    return run


async def of_unknown_outcome(stage: Stage) -> RunId:
    run = await left_amid(stage, "an unsafe tool, after it acted")
    assert (await resumed(stage.process(*SHIPPING), run)).status == "waiting"
    return run


UNKNOWN = OutcomeUnknown(CallId("2.0"), "ship")
NEVER_KNOWN = OutcomeUnknown(CallId("2.0"), "ship", final=True)


@pytest.mark.parametrize(
    ("settled", "result", "told", "shipped"),
    [
        ("done", "it is there", ToolSucceeded(CallId("2.0"), "ship", "it is there"), 1),
        ("retry", "", ToolSucceeded(CallId("2.0"), "ship", "shipped a lamp"), 2),
        (
            "failed",
            "",
            ToolFailed(CallId("2.0"), "ship", "settled", "Error: the call failed"),
            1,
        ),
        (
            "failed",
            "lost at sea",
            ToolFailed(CallId("2.0"), "ship", "settled", "Error: the call failed: lost at sea"),
            1,
        ),
    ],
)
async def test_a_person_settles_what_became_of_a_call(
    stage: Stage, settled: Settlement, result: str, told: Event, shipped: int
) -> None:
    run = await of_unknown_outcome(stage)

    await settle(stage.process(), run, settled=settled, by="bob", result=result)
    assert (await stage.record(run)).status == "queued"
    assert (await resumed(stage.process(*SHIPPING), run)).status == "completed"

    assert await answers(stage, run) == [
        UNKNOWN,
        OutcomeSettled(CallId("2.0"), settled, "bob", result),
        told,
        RunFinished("completed"),
    ]
    assert world.shipped == ["a lamp"] * shipped


async def test_whoever_asks_in_vain_leaves_the_doubt_as_it_was(stage: Stage) -> None:
    run = await left_amid(stage, "an unsafe tool, after it acted")

    with pytest.raises(Conflict, match="no call that waits for approval"):
        await answer(stage.process(), run, approved=True, by="bob")
    assert (await stage.record(run)).status == "queued"

    assert (await resumed(stage.process(*SHIPPING), run)).status == "waiting"
    assert await answers(stage, run) == [UNKNOWN]
    assert world.shipped == ["a lamp"]


# --- cancel


async def test_a_run_that_nobody_holds_is_cancelled_at_once(stage: Stage) -> None:
    run = await waiting_for_approval(stage)
    services = stage.process()

    assert await cancel(services, run) == "cancelled"

    assert (await answers(stage, run))[2:] == [RunFinished("cancelled", "cancelled")]
    record = await stage.record(run)
    assert (record.status, record.leased) == ("cancelled", False)


async def test_a_run_that_is_held_commits_nothing_more_but_its_end(stage: Stage) -> None:
    services = stage.process(calls(("buy", LAMP)))
    held = await start(services)

    assert await cancel(stage.process(), held.run) == "cancelled"
    outcome = await drive(services, held, NullListener())

    assert outcome.status == "cancelled"
    assert after_start(await stage.journal(held.run)) == [RunFinished("cancelled", "cancelled")]
    assert await stage.bought() == []


async def test_a_run_that_is_over_stays_as_it_is(stage: Stage) -> None:
    services = stage.process(says("Hello."))
    over = await driven(services)

    assert await cancel(services, over.run) == "completed"


async def test_a_run_that_is_not_there_cannot_be_cancelled(stage: Stage) -> None:
    with pytest.raises(NotFound, match=f"no run {NOBODY}"):
        await cancel(stage.process(), NOBODY)


async def test_a_cancelled_run_keeps_that_a_call_may_have_happened(stage: Stage) -> None:
    run = await left_amid(stage, "an unsafe tool, after it acted")

    assert await cancel(stage.process(), run) == "cancelled"

    assert await answers(stage, run) == [NEVER_KNOWN, RunFinished("cancelled", "cancelled")]


async def test_a_run_of_a_workflow_that_is_gone_can_still_be_cancelled(stage: Stage) -> None:
    run = await left_amid(stage, "an unsafe tool, after it acted")

    elsewhere = stage.process(workflow=Workflow("bank", "Lend.", ()))
    assert await cancel(elsewhere, run) == "cancelled"

    assert await answers(stage, run) == [RunFinished("cancelled", "cancelled")]


async def test_a_run_whose_driver_let_go_is_cancelled_without_a_doubt(stage: Stage) -> None:
    services = stage.process(*SHIPPING)
    held = await step(services, await start(services), SHOP, NullListener())
    await services.store.release(held.lease)

    assert await cancel(services, held.run) == "cancelled"

    assert [call.tool for call in held.thread.pending] == ["ship"]
    assert await answers(stage, held.run) == [RunFinished("cancelled", "cancelled")]


# --- given up, for whoever waits for it


async def test_a_run_that_a_service_has_stopped_fails_with_a_sentence(stage: Stage) -> None:
    services = stage.process()
    held = await start(services)
    await services.store.release(held.lease)

    await give_up(services, held.run, "no reply from the model")

    record = await stage.record(held.run)
    assert (record.status, record.error) == ("failed", "no reply from the model")
    assert await answers(stage, held.run) == [RunFinished("failed", "unavailable", record.error)]


async def test_a_call_that_may_have_happened_is_not_given_up(stage: Stage) -> None:
    run = await left_amid(stage, "an unsafe tool, after it acted")

    await give_up(stage.process(), run, "no reply from the model")

    assert (await stage.record(run)).status == "waiting"
    assert await answers(stage, run) == [UNKNOWN]


async def test_a_run_that_waits_for_a_person_is_not_given_up(stage: Stage) -> None:
    run = await waiting_for_approval(stage)

    with pytest.raises(Conflict, match="waits for a person"):
        await give_up(stage.process(), run, "no reply from the model")

    assert (await stage.record(run)).status == "waiting"
