"""Runs that call runs of other workflows."""

import json
from dataclasses import replace

import pytest

from tests.engine.family.stories import (
    BOSS,
    CLERK,
    children_of,
    clerk,
    firm,
    last_user_text,
    run_boss,
)
from tests.engine.stage import LIMITS, Stage, after_start
from twelvefold.core.budget import Price
from twelvefold.core.events import (
    Ancestry,
    ChildrenStarted,
    ModelReplied,
    RunFinished,
    RunStarted,
    ToolFailed,
    ToolSucceeded,
    Usage,
    WaitEnded,
)
from twelvefold.core.fan_out import FanOut, Task
from twelvefold.core.ids import CallId
from twelvefold.core.ports import ModelRequest
from twelvefold.core.tools.tool import tool
from twelvefold.core.workflow import Workflow
from twelvefold.engine.commands import INPUT_BYTES
from twelvefold.services.model.scripted import Scripted, calls, says

ASK = calls(("clerk", {"input": "a lamp"}))


async def test_the_answer_of_a_child_is_the_result_of_the_call(stage: Stage) -> None:
    services = firm(stage, ASK, says("Done."))

    outcome = await run_boss(services)

    events = after_start(await stage.journal(outcome.run))
    [child] = children_of(events)
    assert outcome.status == "completed"
    assert [type(event) for event in events] == [
        ModelReplied,
        ChildrenStarted,
        WaitEnded,
        ToolSucceeded,
        ModelReplied,
        RunFinished,
    ]
    assert events[3] == ToolSucceeded(CallId("2.0"), "clerk", "I bought a lamp.")
    assert await stage.bought() == ["a lamp"]
    started = (await stage.journal(child))[0]
    assert isinstance(started, RunStarted)
    assert (started.principal, started.parent, started.parent_call) == (
        "ann",
        str(outcome.run),
        "2.0",
    )
    assert started.ancestry is not None
    assert started.ancestry.root == str(outcome.run)
    assert (started.ancestry.depth, started.ancestry.workflow) == (1, "boss")
    assert child.thread[:20] == outcome.run.thread[:20]


async def test_the_usage_of_a_child_counts_for_its_parent(stage: Stage) -> None:
    services = firm(stage, ASK, says("Done."))

    outcome = await run_boss(services)

    events = await stage.journal(outcome.run)
    [child] = children_of(events)
    own = [event.usage for event in events if isinstance(event, ModelReplied)]
    spent = (await stage.record(child)).usage
    assert spent.total_tokens > 0
    assert (await stage.record(outcome.run)).usage == sum([*own, spent], Usage())
    assert outcome.thread.usage == sum([*own, spent], Usage())


async def test_calls_of_one_reply_start_all_their_runs_before_the_parent_waits(
    stage: Stage,
) -> None:
    services = firm(
        stage,
        calls(("clerk", {"input": "a lamp"}), ("clerk", {"input": "a rug"})),
        says("Done."),
    )

    outcome = await run_boss(services)

    kinds = [type(event) for event in after_start(await stage.journal(outcome.run))]
    assert kinds[:3] == [ModelReplied, ChildrenStarted, ChildrenStarted]
    assert await stage.bought() == ["a lamp", "a rug"]


async def test_a_hand_off_makes_the_answer_of_the_child_that_of_the_run(stage: Stage) -> None:
    services = firm(stage, calls(("hand_over", {"input": "a lamp"})))

    outcome = await run_boss(services)

    events = await stage.journal(outcome.run)
    reply, finished = events[-2:]
    assert finished == RunFinished("completed")
    assert isinstance(reply, ModelReplied)
    assert (reply.model, reply.usage) == ("clerk", Usage())
    assert list(reply.items) == says("I bought a lamp.")
    assert outcome.status == "completed"
    assert (await stage.record(outcome.run)).status == "completed"
    assert (await stage.record(outcome.run)).usage == outcome.thread.usage


async def test_a_hand_off_is_called_alone(stage: Stage) -> None:
    services = firm(
        stage,
        calls(("hand_over", {"input": "a lamp"}), ("buy_all", {"items": ["a rug"]})),
        says("Done."),
    )

    outcome = await run_boss(services)

    failed = [e for e in await stage.journal(outcome.run) if isinstance(e, ToolFailed)]
    assert [one.message for one in failed] == [
        "Error: hand_over hands the conversation over; call it without other calls"
    ]
    assert await stage.bought() == ["a rug"]


async def test_a_fan_out_has_its_results_in_order(stage: Stage) -> None:
    services = firm(stage, calls(("buy_all", {"items": ["b", "a", "c"]})), says("Done."))

    outcome = await run_boss(services)

    results = [e for e in await stage.journal(outcome.run) if isinstance(e, ToolSucceeded)]
    assert [json.loads(one.result) for one in results] == [
        ["I bought b.", "I bought a.", "I bought c."]
    ]
    assert await stage.bought() == ["a", "b", "c"]


async def test_the_first_answer_of_a_fan_out_cancels_the_others(stage: Stage) -> None:
    services = firm(
        stage, calls(("buy_all", {"items": ["b", "a", "c"], "join": "first"})), says("Done.")
    )

    outcome = await run_boss(services)

    events = await stage.journal(outcome.run)
    [result] = [json.loads(e.result) for e in events if isinstance(e, ToolSucceeded)]
    records = [await stage.record(child) for child in children_of(events)]
    assert outcome.status == "completed"
    assert sum(one is not None for one in result) == 1
    assert {one.status for one in records} <= {"completed", "cancelled"}


async def test_a_quorum_of_a_fan_out_is_enough(stage: Stage) -> None:
    services = firm(
        stage, calls(("buy_all", {"items": ["b", "a", "c"], "join": "2"})), says("Done.")
    )

    outcome = await run_boss(services)

    events = await stage.journal(outcome.run)
    [result] = [json.loads(e.result) for e in events if isinstance(e, ToolSucceeded)]
    assert sum(one is not None for one in result) == 2
    for child in children_of(events):
        assert (await stage.record(child)).status in ("completed", "cancelled")


async def test_a_transactional_tool_starts_runs_with_its_rows(stage: Stage) -> None:
    services = firm(stage, calls(("note_and_buy", {"item": "a lamp"})), says("Done."))

    outcome = await run_boss(services)

    kinds = [type(event) for event in after_start(await stage.journal(outcome.run))]
    assert kinds[:2] == [ModelReplied, ChildrenStarted]
    assert await stage.bought() == ["a lamp", "note a lamp"]


async def test_a_tool_that_may_start_runs_need_not(stage: Stage) -> None:
    services = firm(stage, calls(("note_and_buy", {"item": ""})), says("Done."))

    outcome = await run_boss(services)

    assert ToolSucceeded(CallId("2.0"), "note_and_buy", "nothing") in await stage.journal(
        outcome.run
    )


async def test_a_transactional_tool_whose_runs_are_refused_leaves_no_rows(stage: Stage) -> None:
    services = firm(
        stage,
        calls(("note_and_buy", {"item": "a lamp"})),
        says("Done."),
        limits=replace(LIMITS, max_children=0),
    )

    outcome = await run_boss(services)

    [failed] = [e for e in await stage.journal(outcome.run) if isinstance(e, ToolFailed)]
    assert failed.failure == "child"
    assert failed.message == (
        "Error: a request may start 0 runs, and 0 were started; answer with what there is"
    )
    assert await stage.bought() == []


async def test_a_child_that_fails_is_an_error_that_the_model_reads(stage: Stage) -> None:
    services = firm(stage, ASK, says("Done."), limits=replace(LIMITS, max_steps=3), clerk=_endless)

    outcome = await run_boss(services)

    [failed] = [e for e in await stage.journal(outcome.run) if isinstance(e, ToolFailed)]
    assert failed == ToolFailed(
        CallId("2.0"), "clerk", "child", "Error: clerk ended as incomplete: max_steps"
    )
    assert outcome.status == "completed"


def _endless(_: ModelRequest) -> Scripted:
    return calls(("buy", {"item": "a lamp"}))


async def test_failed_parts_of_a_fan_out_have_their_error_in_the_list(stage: Stage) -> None:
    def some(request: ModelRequest) -> Scripted:
        return _endless(request) if last_user_text(request) == "bad" else clerk(request)

    services = firm(
        stage,
        calls(("buy_all", {"items": ["good", "bad"]})),
        says("Done."),
        limits=replace(LIMITS, max_steps=3),
        clerk=some,
    )

    outcome = await run_boss(services)

    [result] = [
        json.loads(e.result)
        for e in await stage.journal(outcome.run)
        if isinstance(e, ToolSucceeded)
    ]
    assert result == ["I bought good.", {"error": "clerk ended as incomplete: max_steps"}]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (" ", "clerk needs an input"),
        ("x" * INPUT_BYTES, "clerk cannot be called: the input is 41946"),
    ],
)
async def test_a_child_needs_an_input(stage: Stage, text: str, problem: str) -> None:
    services = firm(stage, calls(("clerk", {"input": text})), says("Done."))

    outcome = await run_boss(services)

    [failed] = [e for e in await stage.journal(outcome.run) if isinstance(e, ToolFailed)]
    assert failed.message.startswith(f"Error: {problem}")


async def test_a_workflow_that_the_process_does_not_have_is_an_error(stage: Stage) -> None:
    services = firm(stage, ASK, says("Done."), workflows=(BOSS,))

    outcome = await run_boss(services)

    [failed] = [e for e in await stage.journal(outcome.run) if isinstance(e, ToolFailed)]
    assert failed.message == "Error: there is no workflow 'clerk'"


async def test_children_share_the_budget_that_is_left(stage: Stage) -> None:
    services = firm(
        stage,
        calls(("clerk", {"input": "a"}), ("clerk", {"input": "b"})),
        says("Done."),
        limits=replace(LIMITS, run_tokens=100_000),
    )

    outcome = await run_boss(services)

    events = await stage.journal(outcome.run)
    [spent, *_] = [e.usage.total_tokens for e in events if isinstance(e, ModelReplied)]
    starts = [e.limits for e in events if isinstance(e, ChildrenStarted)]
    left = 100_000 - spent
    assert [one.tokens for one in starts] == [left // 2, left - left // 2]
    started = (await stage.journal(children_of(events)[0]))[0]
    assert isinstance(started, RunStarted)
    assert started.ancestry == Ancestry(str(outcome.run), 1, "boss", starts[0])
    assert 0 < (starts[0].deadline_s or 0) <= LIMITS.deadline_s


async def test_fan_outs_of_one_reply_share_the_budget(stage: Stage) -> None:
    services = firm(
        stage,
        calls(("buy_all", {"items": ["a", "b"]}), ("buy_all", {"items": ["c"]})),
        says("Done."),
        limits=replace(LIMITS, run_tokens=100_000),
    )

    outcome = await run_boss(services)

    events = await stage.journal(outcome.run)
    [spent, *_] = [e.usage.total_tokens for e in events if isinstance(e, ModelReplied)]
    shares = [(len(e.runs), e.limits.tokens or 0) for e in events if isinstance(e, ChildrenStarted)]
    left = 100_000 - spent
    assert shares == [(2, left // 3), (1, left - left // 3 * 2)]


async def test_a_child_s_model_has_its_price_for_the_parent_too(stage: Stage) -> None:
    """The parent's model is free. Without the child's price its budget would never be used up."""
    price = Price(1_000_000, 1_000_000, 1_000_000)
    services = firm(
        stage,
        ASK,
        ASK,
        says("Done."),
        workflows=(BOSS, replace(CLERK, model="dear")),
        limits=replace(LIMITS, run_micro_usd=1, prices={"dear": price}),
    )
    services = replace(services, models={"dear": services.model})

    outcome = await run_boss(services)

    assert (outcome.status, outcome.thread.reason) == ("incomplete", "usd_budget")
    assert list(outcome.thread.usage_by_model) == ["dear"]


async def test_no_child_starts_without_a_budget(stage: Stage) -> None:
    services = firm(stage, ASK, says("Done."), limits=replace(LIMITS, run_tokens=1))

    outcome = await run_boss(services)

    [failed] = [e for e in await stage.journal(outcome.run) if isinstance(e, ToolFailed)]
    assert failed.message == ("Error: the budget of this run is used up; answer with what there is")
    assert (outcome.status, outcome.thread.reason) == ("incomplete", "token_budget")


async def test_workflows_call_each_other_to_a_depth(stage: Stage) -> None:
    @tool(effect="pure")
    async def again() -> FanOut:
        """Do it again."""
        return FanOut((Task("loop", "again"),))

    loop = Workflow("loop", "loop", (again,))
    services = firm(
        stage,
        limits=replace(LIMITS, max_depth=3),
        workflows=(loop,),
        loop=lambda request: (
            says("deep enough") if len(request.items) > 1 else calls(("again", {}))
        ),
    )

    outcome = await run_boss(services, workflow="loop")

    depth, run = 0, outcome.run
    while children := children_of(await stage.journal(run)):
        depth, [run] = depth + 1, children
    [failed] = [e for e in await stage.journal(run) if isinstance(e, ToolFailed)]
    assert depth == 3
    assert failed.message == (
        "Error: workflows call each other at most 3 deep; answer without this"
    )
    assert outcome.status == "completed"


async def test_children_are_hidden_from_lists(stage: Stage) -> None:
    services = firm(stage, ASK, says("Done."))

    outcome = await run_boss(services)

    listed = await services.store.threads("ann", limit=10)
    assert [one.head.id for one in listed] == [outcome.run.thread]
    [child] = children_of(await stage.journal(outcome.run))
    assert (await services.store.thread(child.thread)).listed is False
    assert await services.store.count_descendants(outcome.run) == 1


def test_the_workflow_of_a_tool_is_one_that_the_process_needs() -> None:
    assert BOSS.started_workflows == (CLERK,)
    assert (BOSS.needs_gate, CLERK.needs_gate) == (True, False)
