"""One step of a run: what it requests, what it decides, and what is one commit."""

import asyncio
from collections.abc import Sequence

import pytest

from tests.builders import HASH, SPENT, assistant, function_call, output, own_tool, user
from tests.engine.stage import (
    SHOP,
    RecordingListener,
    Stage,
    Trouble,
    cut_off,
    start,
    world,
)
from tests.engine.step.stories import LAMP, kinds, start_and_step, story
from twelvefold.core.budget import Limits
from twelvefold.core.events import (
    ApprovalAsked,
    ModelReplied,
    OutcomeUnknown,
    ReplyEnd,
    RequestOptions,
    RunFinished,
    ToolFailed,
    ToolSucceeded,
)
from twelvefold.core.ids import CallId
from twelvefold.core.ports import ModelReply, NullListener, RunStatus
from twelvefold.core.tools.tool import tool
from twelvefold.core.workflow import Workflow
from twelvefold.engine.commands import take
from twelvefold.engine.held_run import HeldRun
from twelvefold.engine.step import step
from twelvefold.errors import RequestError
from twelvefold.services.model.scripted import calls, says


def cut_short(ended: ReplyEnd) -> ModelReply:
    items = (assistant("I will"), function_call("buy", "c1", '{"item": "a l'))
    return ModelReply(items, SPENT, "m-1", HASH, ended)


async def test_a_request_has_the_conversation_and_the_open_tools(stage: Stage) -> None:
    services = stage.process(says("Which one?"))
    listener = RecordingListener()

    held = await step(services, await start(services, "a lamp"), SHOP, listener)

    reply, _ = await story(stage, held)
    assert isinstance(reply, ModelReplied)
    assert reply.items == tuple(says("Which one?"))
    assert listener.texts == ["Which one?"]
    assert [entry.event for entry in listener.entries] == [reply, RunFinished("completed")]


async def test_a_last_reply_and_the_end_of_the_run_are_one_commit(stage: Stage) -> None:
    held = await start_and_step(stage.process(says("Good bye.")))

    assert kinds(await story(stage, held)) == ["ModelReplied", "RunFinished"]
    assert held.status == (await stage.record(held.run)).status == "completed"


@pytest.mark.parametrize("name", ["buy", "look", "weigh", "fly"])
async def test_a_reply_and_its_only_call_are_one_commit(stage: Stage, name: str) -> None:
    held = await start_and_step(stage.process(calls((name, LAMP))))

    reply, answer = await story(stage, held)
    assert isinstance(reply, ModelReplied)
    assert isinstance(answer, ToolSucceeded | ToolFailed)
    assert (answer.call, answer.tool) == (CallId("2.0"), name)


@pytest.mark.parametrize("names", [("ship",), ("notify",), ("look", "look"), ("buy", "look")])
async def test_every_other_reply_is_committed_before_its_calls_run(
    stage: Stage, names: Sequence[str]
) -> None:
    held = await start_and_step(stage.process(calls(*((name, LAMP) for name in names))))

    assert kinds(await story(stage, held)) == ["ModelReplied"]
    assert (await stage.bought(), world.shipped, world.notified) == ([], [], [])


@pytest.mark.parametrize("ended", ["max_output_tokens", "content_filter"])
async def test_no_call_of_an_incomplete_reply_runs(stage: Stage, ended: ReplyEnd) -> None:
    held = await start_and_step(stage.process(cut_short(ended)))

    reply, end = await story(stage, held)
    assert isinstance(reply, ModelReplied)
    assert end == RunFinished("incomplete", ended)
    assert await stage.bought() == []


async def test_a_call_id_that_is_twice_in_a_reply_runs_once(stage: Stage) -> None:
    twice = [function_call("buy", "c1", '{"item":"a lamp"}')] * 2

    held = await start_and_step(stage.process(twice), times=3)

    _, first, second = await story(stage, held)
    assert isinstance(first, ToolSucceeded)
    assert isinstance(second, ToolFailed)
    assert (second.call, second.failure) == (CallId("2.1"), "repeated")
    assert await stage.bought() == ["a lamp"]


async def test_the_same_call_id_in_a_later_reply_is_another_call(stage: Stage) -> None:
    again = [function_call("buy", "c1", '{"item":"a lamp"}')]

    held = await start_and_step(stage.process(again, again), times=2)

    assert kinds(await story(stage, held)) == ["ModelReplied", "ToolSucceeded"] * 2
    assert await stage.bought() == ["a lamp", "a lamp"]


async def test_a_run_waits_for_the_approval_of_a_call(stage: Stage) -> None:
    held = await start_and_step(stage.process(calls(("refund", LAMP))))

    assert (await story(stage, held))[-1] == ApprovalAsked(CallId("2.0"), "refund")
    record = await stage.record(held.run)
    assert (held.status, record.status, record.leased) == ("waiting", "waiting", False)


async def test_a_request_for_approval_has_the_defaults(stage: Stage) -> None:
    @tool(effect="pure", approval=True)
    async def rebate(item: str, cents: int = 1500) -> str:
        """Pay back a part of the price."""
        return f"{cents} for {item}"

    services = stage.process(calls(("rebate", LAMP)))
    held = await start(services)
    held = await step(services, held, Workflow("shop", "Sell.", (rebate,)), NullListener())

    shown = '{"item": "a lamp", "cents": 1500}'
    requested = ApprovalAsked(CallId("2.0"), "rebate", arguments=shown)
    assert (await story(stage, held))[-1] == requested


async def test_a_waiting_run_continues_to_wait(stage: Stage) -> None:
    services = stage.process(calls(("refund", LAMP)))
    before = await start_and_step(services)
    claimed = await services.store.claim(before.run, 20.0)
    assert claimed is not None

    held = services.hold(claimed[0], services.monotonic())
    after = await step(services, HeldRun(before.run, before.thread, held), SHOP, NullListener())

    record = await stage.record(before.run)
    assert (after.status, record.status, record.leased) == ("waiting", "waiting", False)
    assert after.thread == before.thread


async def test_a_waiting_run_is_released_when_the_database_is_back(stage: Stage) -> None:
    trouble = Trouble(cut_off, places=["before a release", "after a release"], times=3)
    services = stage.process(calls(("refund", LAMP)), trouble=trouble)
    before = await start_and_step(services)
    claimed = await services.store.claim(before.run, 20.0)
    assert claimed is not None

    held = services.hold(claimed[0], services.monotonic())
    after = await step(services, HeldRun(before.run, before.thread, held), SHOP, NullListener())

    assert after.status == (await stage.record(before.run)).status == "waiting"


async def test_a_run_waits_after_an_unsafe_call_that_takes_too_long(stage: Stage) -> None:
    @tool(effect="unsafe", timeout_s=0.01)
    async def ship(item: str) -> None:
        """Ship it, slowly."""
        world.shipped.append(item)
        await asyncio.Event().wait()

    workflow = Workflow("shop", "Sell.", (ship,))
    services = stage.process(calls(("ship", LAMP)), workflow=workflow)
    held = await step(services, await start(services), workflow, NullListener())

    held = await step(services, held, workflow, NullListener())

    assert (await story(stage, held))[-1] == OutcomeUnknown(CallId("2.0"), "ship")
    assert held.status == (await stage.record(held.run)).status == "waiting"


@pytest.mark.parametrize(
    ("limits", "status", "reason"),
    [
        (Limits(max_steps=0), "incomplete", "max_steps"),
        (Limits(run_tokens=0), "incomplete", "token_budget"),
    ],
)
async def test_a_run_that_reaches_a_limit_ends(
    stage: Stage, limits: Limits, status: RunStatus, reason: str
) -> None:
    held = await start_and_step(stage.process(limits=limits))

    assert (held.status, held.thread.reason) == (status, reason)


async def test_a_conversation_over_the_window_is_compacted_and_logged(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    @tool(effect="pure")
    async def read() -> str:
        """Read a long text."""
        return "so it is written " * 100

    workflow = Workflow("shop", "Sell.", (read,))
    services = stage.process(
        calls(("read", {})),
        calls(("read", {})),
        says("Done."),
        workflow=workflow,
        limits=Limits(context_tokens=2000),
    )
    held = await start(services, "a lamp" * 400)

    while held.status == "running":
        held = await step(services, held, workflow, NullListener())

    (line,) = [line for line in caplog.records if line.message == "context_compacted"]
    left_out = {"results_left_out": 1, "turns_left_out": 0}
    assert vars(line)["fields"] == left_out
    assert held.status == "completed"


async def test_a_turn_over_the_window_is_refused(stage: Stage) -> None:
    services = stage.process(says("Hello."), limits=Limits(context_tokens=1000))
    held = await start(services, "x" * 5000)

    with pytest.raises(RequestError, match="shorten the input, or set OPENAI_CONTEXT_TOKENS"):
        await step(services, held, SHOP, NullListener())

    assert await story(stage, held) == []


async def test_the_request_of_a_later_turn_has_the_earlier_turns(stage: Stage) -> None:
    services = stage.process(calls(("look", LAMP)), says("There are two."), says("Good bye."))
    held = await start(services, "lamps?")
    while held.status == "running":
        held = await step(services, held, SHOP, NullListener())

    later = await start(services, "thanks", thread=held.run.thread)
    await step(services, later, SHOP, NullListener())

    (request,) = stage.requests[-1:]
    call = request.items[1]
    assert request.items == (
        user("lamps?"),
        call,
        output(call["call_id"], '{"item":"a lamp","sold":0}'),
        *says("There are two."),
        user("thanks"),
    )
    assert request.instructions == "Sell."
    assert [spec.name for spec in request.tools] == [one.name for one in SHOP.tools]


WEATHER = own_tool("get_weather")


async def test_a_call_of_a_tool_of_the_caller_ends_the_run(
    stage: Stage,
) -> None:
    services = stage.process(calls(("get_weather", {})), says("Sunny."))
    held = await start(services, options=RequestOptions(tools=(WEATHER,)))

    over = await step(services, held, SHOP, NullListener())

    assert kinds(await story(stage, over)) == ["ModelReplied", "RunFinished"]
    assert over.status == "completed"
    assert stage.requests[0].tools[-1].name == "get_weather"


async def test_calls_of_the_workflow_run_before_the_caller_gets_its_own(
    stage: Stage,
) -> None:
    services = stage.process(calls(("get_weather", {}), ("buy", LAMP)))
    held = await start(services, options=RequestOptions(tools=(WEATHER,)))

    for _ in range(3):
        held = await step(services, held, SHOP, NullListener())

    assert kinds(await story(stage, held)) == ["ModelReplied", "ToolSucceeded", "RunFinished"]
    assert await stage.bought() == ["a lamp"]


async def test_a_streamed_reply_and_its_only_call_are_one_commit_too(stage: Stage) -> None:
    services = stage.process(says("I buy it.") + calls(("buy", LAMP)))

    held = await start(services, options=RequestOptions(stream=True))
    held = await step(services, held, SHOP, NullListener())

    reply, answer = await story(stage, held)
    assert isinstance(reply, ModelReplied)
    assert isinstance(answer, ToolSucceeded)
    assert (reply.first_delta, reply.cuts) == (1, (len("I buy it."),))
    journal = await services.store.follow(held.run.thread, after=0, deltas_after=(0, 0))
    assert journal.deltas == ()


async def test_a_claimed_run_is_marked_until_its_first_commit(stage: Stage) -> None:
    services = stage.process(calls(("buy", LAMP)), says("There."))
    run = (await start(services)).run
    await stage.let_leases_run_out()

    taken = await take(services, run)
    after = await step(services, taken, SHOP, NullListener())

    assert (taken.claimed, after.claimed) == (True, False)
