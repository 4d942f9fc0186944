"""Start a run, here or in the queue, and the inputs that are refused."""

import asyncio
from typing import Any

import pytest

from tests.builders import said, user
from tests.engine.commands.stories import (
    LAMP,
    MISSING,
)
from tests.engine.stage import (
    ANN,
    FixedIds,
    Stage,
    cut_off,
    drive_new,
    resume,
    start,
)
from twelvefold.core.events import (
    ItemsAdded,
    RequestOptions,
    RunStarted,
)
from twelvefold.core.ids import RunId, ThreadId
from twelvefold.core.ports import NullListener, Principal
from twelvefold.core.thread import fold
from twelvefold.core.workflow import Workflow
from twelvefold.engine.commands import (
    INPUT_BYTES,
    RunRequest,
    enqueue_run,
    start_run,
)
from twelvefold.engine.commit import write
from twelvefold.engine.drive import drive
from twelvefold.engine.held_run import HeldRun
from twelvefold.errors import (
    Conflict,
    NotFound,
    RequestError,
)
from twelvefold.services.model.scripted import calls, says

WITH_KEY = RunRequest("shop", Principal("ann", "key_1"), [user("a lamp")])


async def test_a_started_run_is_held_and_is_in_the_journal(stage: Stage) -> None:
    services = stage.process()

    started = await start(services, "a lamp")

    assert await stage.journal(started.run) == [RunStarted((user("a lamp"),), "ann", "shop", "1.0")]
    assert started.thread.entries == await stage.entries(started.run)
    record = await stage.record(started.run)
    assert (record.status, record.leased, record.release) == ("running", True, "1.0")


async def test_a_run_is_started_once_however_often_the_answer_is_lost(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = stage.process()
    start_here, tries = services.store.start, iter(range(3))

    async def lose_answer(*args: Any) -> Any:
        written = await start_here(*args)
        if next(tries, None) is not None:
            cut_off()
        return written

    monkeypatch.setattr(services.store, "start", lose_answer)

    started = await start(services)

    assert len(await stage.journal(started.run)) == 1
    await write(services, started, NullListener(), [said()])


async def test_a_later_run_continues_its_thread(stage: Stage) -> None:
    services = stage.process(says("Hello."), says("Good bye."))
    first = await drive_new(services)

    second = await start(services, "thanks", thread=first.run.thread)

    assert second.run == RunId(first.run.thread, 2)
    assert second.thread.history.entries == first.thread.entries


async def test_a_run_that_names_a_position_starts_at_no_other(stage: Stage) -> None:
    services = stage.process(says("Hello."))
    first = await drive_new(services)
    follow: dict[str, Any] = {"workflow": "shop", "principal": ANN, "thread": first.run.thread}

    with pytest.raises(Conflict, match="is at 3, not at 2 any more"):
        await start_run(services, RunRequest(items=[user("and?")], position=2, **follow))
    second = await start_run(services, RunRequest(items=[user("and?")], position=3, **follow))

    assert second.thread.head == 4


async def test_a_thread_that_was_forked_in_the_middle_of_a_run_can_be_continued(
    stage: Stage,
) -> None:
    services = stage.process(calls(("refund", LAMP)))
    waiting = await drive_new(services)
    fork = FixedIds().thread().replace("0", "1")
    await services.store.fork(waiting.run.thread, 2, ThreadId(fork))

    started = await start(services, "never mind", thread=ThreadId(fork))

    assert started.run == RunId(ThreadId(fork), 2)
    assert started.thread.history.entries == waiting.thread.entries[:2]
    with pytest.raises(Conflict, match=f"run {started.run} of this thread is not over"):
        await start(services, thread=ThreadId(fork))


async def test_the_options_of_a_request_are_stored(stage: Stage) -> None:
    options = RequestOptions(instructions="Be brief.", stream=True)

    started = await start(stage.process(), options=options)

    (event,) = await stage.journal(started.run)
    assert isinstance(event, RunStarted)
    assert event.options == started.thread.options == options
    assert not started.claimed


async def test_a_conversation_without_runs_can_be_continued(stage: Stage) -> None:
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


async def test_a_queued_run_can_be_claimed_by_any_process(stage: Stage) -> None:
    run, _ = await enqueue_run(
        stage.process(), RunRequest(workflow="shop", principal=ANN, items=[user("a lamp")])
    )

    record = await stage.record(run)
    assert (record.status, record.leased, record.background) == ("queued", False, True)
    outcome = await resume(stage.process(says("Hello.")), run)
    assert outcome.status == "completed"


async def test_a_run_is_queued_after_the_last_run_of_its_thread(stage: Stage) -> None:
    services = stage.process(says("Hello."))
    first = await drive_new(services)
    behind: dict[str, Any] = {"workflow": "shop", "principal": ANN, "thread": first.run.thread}

    run, _ = await enqueue_run(services, RunRequest(items=[user("and?")], **behind))

    assert run == RunId(first.run.thread, 2)
    with pytest.raises(Conflict, match="is not over"):
        await enqueue_run(services, RunRequest(items=[user("so?")], **behind))


async def test_a_run_of_an_unknown_workflow_is_not_queued(stage: Stage) -> None:
    with pytest.raises(RequestError, match="no workflow 'bank'; there are shop"):
        await enqueue_run(stage.process(), RunRequest(workflow="bank", principal=ANN, items=[]))


async def test_an_unknown_workflow_is_refused_with_the_known_names(stage: Stage) -> None:
    with pytest.raises(RequestError, match="no workflow 'bank'; there are shop"):
        await start_run(stage.process(), RunRequest(workflow="bank", principal=ANN, items=[]))


@pytest.mark.parametrize("principal", ["", " ", "ann "])
async def test_a_run_is_for_a_principal(stage: Stage, principal: str) -> None:
    services = stage.process()
    request = RunRequest(workflow="shop", principal=Principal(principal), items=[user("hi")])

    for start_or_enqueue in (start_run, enqueue_run):
        with pytest.raises(RequestError, match=r"principal is .*; use 1 to 255 printable"):
            await start_or_enqueue(services, request)


async def test_a_workflow_that_others_call_is_not_one_that_callers_may_start(stage: Stage) -> None:
    clerk = Workflow("clerk", "You buy.", ())
    shop = Workflow("shop", "You sell.", (clerk.as_tool("Buys an item."),))
    services = stage.process(workflow=shop)
    assert services.workflows.keys() == {"shop", "clerk"}

    with pytest.raises(RequestError, match=r"no workflow 'clerk'; there are shop$"):
        await start_run(services, RunRequest(workflow="clerk", principal=ANN, items=[user("hi")]))


async def test_a_thread_of_another_principal_is_not_found(stage: Stage) -> None:
    services = stage.process(says("Hello."))
    mine = await drive_new(services)

    with pytest.raises(NotFound, match=f"no thread conv_{mine.run.thread}"):
        await start_run(
            services,
            RunRequest(
                workflow="shop",
                principal=Principal("bob"),
                items=[user("show me")],
                thread=mine.run.thread,
            ),
        )


async def test_an_unknown_thread_is_not_found(stage: Stage) -> None:
    with pytest.raises(NotFound, match=f"no thread conv_{MISSING.thread}"):
        await start(stage.process(), thread=MISSING.thread)


async def test_a_thread_stays_with_its_workflow(stage: Stage) -> None:
    ours = await drive_new(stage.process(says("Hello.")))
    bank = stage.process(workflow=Workflow("bank", "Lend.", ()))

    with pytest.raises(RequestError, match="is of workflow 'shop', not 'bank'"):
        await start_run(
            bank,
            RunRequest(workflow="bank", principal=ANN, items=[user("hi")], thread=ours.run.thread),
        )


async def test_a_thread_whose_last_run_is_not_over_takes_no_new_run(stage: Stage) -> None:
    services = stage.process()
    busy = await start(services)

    with pytest.raises(Conflict, match=f"run {busy.run} of this thread is not over"):
        await start(services, thread=busy.run.thread)


async def test_one_of_two_concurrent_runs_of_a_thread_starts(stage: Stage) -> None:
    first = await drive_new(stage.process(says("Hello.")))

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
        (user("\ud83d"), "the input cannot be stored as text: .* surrogates not allowed"),
        (user("hi") | {"made": object()}, "the input cannot be stored as text: .* unsupported"),
        ("hi", r"the input is no list of items: Expected `object`, got `str` - at `\$.items\[0\]`"),
    ],
    ids=["long", "surrogate", "object", "text"],
)
async def test_an_input_that_cannot_be_stored_is_refused_with_the_reason(
    stage: Stage, item: Any, problem: str
) -> None:
    with pytest.raises(RequestError, match=problem):
        await start_run(stage.process(), RunRequest(workflow="shop", principal=ANN, items=[item]))


async def test_an_input_that_is_nested_without_end_is_refused(stage: Stage) -> None:
    item = user("hi")
    item["metadata"] = item

    with pytest.raises(RequestError, match="the input cannot be stored as text: maximum recursion"):
        await start_run(stage.process(), RunRequest(workflow="shop", principal=ANN, items=[item]))


async def test_an_input_is_what_the_journal_will_return(stage: Stage) -> None:
    services = stage.process()
    item = user("a\x00b \U0001f600") | {"weight": float("nan"), "tags": ("a", "b")}

    started = await start_run(services, RunRequest(workflow="shop", principal=ANN, items=[item]))

    assert started.thread.entries == await stage.entries(started.run)


async def test_a_run_can_start_on_a_new_fork(stage: Stage) -> None:
    services = stage.process(says("Hello."), says("Well?"))
    first = await drive_new(services)

    forked = await start_run(
        services,
        RunRequest(
            workflow="shop",
            principal=ANN,
            items=[user("hm")],
            thread=first.run.thread,
            position=2,
            fork=True,
        ),
    )

    head = await services.store.thread(forked.run.thread)
    assert (head.forked_from, head.forked_at, head.head) == (first.run.thread, 2, 3)
    assert forked.run.ordinal == 2
    assert forked.thread.history.entries == first.thread.entries[:2]
    assert (await drive(services, forked, NullListener())).status == "completed"


async def test_a_run_has_the_key_of_its_request(stage: Stage) -> None:
    services = stage.process()

    held = await start_run(services, WITH_KEY)

    assert held.thread.key_id == "key_1"
    record = await services.store.load(held.run.thread)
    assert fold(record.entries).key_id == "key_1"


async def test_a_run_has_no_key_while_an_older_release_may_read_it(stage: Stage) -> None:
    services = stage.process()
    async with services.store.write() as tx:
        await tx.execute("update twelvefold_releases set serves = '0003'")

    held = await start_run(services, WITH_KEY)

    assert held.thread.key_id == ""
