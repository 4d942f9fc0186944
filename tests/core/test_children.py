"""Runs that a call starts: shares of what is left, joins, results and cancels."""

import json
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from tests.builders import asked, assistant, called, finished, succeeded, thread_of
from twelvefold.core.budget import Limits, Price
from twelvefold.core.children import (
    ChildAnswer,
    awaited_runs,
    end_children,
    final_status,
    is_joined,
    runs_to_cancel,
    share_of,
)
from twelvefold.core.decide import find_exhausted_budget, limits_of
from twelvefold.core.events import (
    Ancestry,
    ChildLimits,
    ChildrenStarted,
    ModelReplied,
    RunFinished,
    ToolFailed,
    ToolSucceeded,
    Usage,
    WaitEnded,
)
from twelvefold.core.fan_out import FanOut, Task
from twelvefold.core.ids import CallId, RunId, ThreadId
from twelvefold.core.ports import RunStatus
from twelvefold.core.thread import Thread
from twelvefold.core.tools.tool import tool
from twelvefold.core.workflow import Workflow
from twelvefold.errors import WorkflowError

RUNS = tuple(RunId(ThreadId(f"{number:044x}"), 1) for number in (1, 2, 3))
LIMITS = Limits(run_tokens=1_110)
CALL = CallId("2.0")


def started(runs: int = 3, call: str = "2.0", **more: Any) -> ChildrenStarted:
    return ChildrenStarted(CallId(call), "ask", tuple(map(str, RUNS[:runs])), **more)


def waiting(event: ChildrenStarted) -> Thread:
    """A run that waits for its children; its reply took 110 tokens."""
    return thread_of(asked(), called("ask"), event)


def answers(*statuses: RunStatus) -> dict[RunId, ChildAnswer]:
    return {
        run: ChildAnswer(
            status,
            reason="max_steps" if status == "incomplete" else "",
            text=f"answer {number}" if status == "completed" else "",
            items=(assistant(f"answer {number}"),),
            usage=Usage(1, 1),
            workflow="clerk",
        )
        for number, (run, status) in enumerate(zip(RUNS, statuses, strict=False), 1)
    }


def ended(event: ChildrenStarted, *statuses: RunStatus) -> tuple[Any, ...]:
    [call] = waiting(event).parent_calls
    return end_children(call, event, answers(*statuses))


# --- shares


def test_children_have_equal_parts_of_what_is_left() -> None:
    share = share_of(thread_of(asked(), called("ask")), LIMITS, 4, left_s=7.0)

    assert share == ChildLimits(250, None, 7.0)


def test_calls_of_the_reply_that_are_not_started_yet_count() -> None:
    assert share_of(thread_of(asked(), called("ask")), LIMITS, 1, 3).tokens == 250


def test_what_other_children_may_use_is_not_left() -> None:
    thread = waiting(started(2, limits=ChildLimits(tokens=300)))

    assert share_of(thread, LIMITS, 1).tokens == 400


def test_money_is_shared_like_tokens() -> None:
    limits = Limits(run_micro_usd=1_220, price=Price(1_000_000, 1_000_000, 1_000_000))
    thread = waiting(started(1, limits=ChildLimits(micro_usd=110)))

    assert share_of(thread, limits, 2) == ChildLimits(None, 500, None)


def test_nothing_is_left_of_a_budget_that_is_used_up() -> None:
    assert share_of(waiting(started()), Limits(run_tokens=5), 1).tokens == 0


def test_a_child_has_the_limits_that_its_parent_gave_it_if_they_are_lower() -> None:
    def child(**limits: Any) -> Thread:
        ancestry = Ancestry("resp_1", 1, "boss", ChildLimits(**limits))
        return thread_of(structs.replace(asked(), parent="resp_1", ancestry=ancestry))

    assert limits_of(child(tokens=7, deadline_s=5.0), LIMITS) == replace(
        LIMITS, run_tokens=7, deadline_s=5.0
    )
    assert limits_of(child(tokens=5_000, micro_usd=9), LIMITS) == replace(LIMITS, run_micro_usd=9)
    assert limits_of(child(), LIMITS) is LIMITS
    assert limits_of(thread_of(asked()), LIMITS) is LIMITS


# --- joins


@pytest.mark.parametrize(
    ("more", "statuses", "joined"),
    [
        ({"join": "all"}, ("completed", "completed", "running"), False),
        ({"join": "all"}, ("completed", "failed", "cancelled"), True),
        ({"join": "first"}, ("queued", "completed", "running"), True),
        ({"join": "first"}, ("failed", "waiting", "failed"), False),
        ({"join": "first"}, ("failed", "failed", "incomplete"), True),
        ({"join": "quorum", "quorum": 2}, ("completed", "running", "queued"), False),
        ({"join": "quorum", "quorum": 2}, ("completed", "running", "completed"), True),
        ({}, ("running", "completed", "completed"), False),
    ],
)
def test_a_call_waits_until_its_children_are_joined(
    more: dict[str, Any], statuses: tuple[RunStatus, ...], *, joined: bool
) -> None:
    assert is_joined(started(**more), dict(zip(RUNS, statuses, strict=True))) is joined


# --- results


def test_the_answer_of_the_only_child_is_the_result() -> None:
    assert ended(started(1), "completed") == (
        WaitEnded(CALL, "children", usage=Usage(1, 1)),
        ToolSucceeded(CALL, "ask", "answer 1"),
    )


def test_the_tokens_of_children_cost_what_their_own_models_cost() -> None:
    call = waiting(started(2)).parent_calls[0]
    one, two = answers("completed", "completed").values()
    found = {
        RUNS[0]: structs.replace(one, usage=Usage(5, 5), usage_by_model={"dear": Usage(4, 4)}),
        RUNS[1]: structs.replace(two, usage=Usage(2, 0), usage_by_model={"dear": Usage(2, 0)}),
    }

    event = end_children(call, started(2, join="all"), found)[0]

    assert event == WaitEnded(CALL, "children", "", Usage(7, 5), {"dear": Usage(6, 4)})
    thread = thread_of(asked(), called("ask"), started(2), event)
    assert thread.usage_by_model == {"dear": Usage(6, 4)}
    limits = Limits(run_micro_usd=10, prices={"dear": Price(1_000_000, 1_000_000, 1_000_000)})
    assert find_exhausted_budget(thread.usage, limits, thread.usage_by_model) == "usd_budget"


def test_a_hand_off_ends_the_run_with_the_answer() -> None:
    events = ended(started(1, hand_off=True), "completed")

    assert events[2:] == (
        ModelReplied((assistant("answer 1"),), Usage(), "clerk", ""),
        RunFinished("completed"),
    )
    assert final_status(events) == "completed"


def test_a_hand_off_that_fails_is_an_error_of_the_call() -> None:
    assert ended(started(1, hand_off=True), "incomplete")[1:] == (
        ToolFailed(CALL, "ask", "child", "Error: clerk ended as incomplete: max_steps"),
    )


def test_a_list_has_the_answers_in_order() -> None:
    _, result = ended(started(join="all"), "completed", "incomplete", "completed")

    assert json.loads(result.result) == [
        "answer 1",
        {"error": "clerk ended as incomplete: max_steps"},
        "answer 3",
    ]


def test_the_first_answer_leaves_the_others_null() -> None:
    _, result = ended(started(join="first"), "running", "completed", "completed")

    assert json.loads(result.result) == [None, "answer 2", None]


def test_a_quorum_leaves_the_others_null() -> None:
    _, result = ended(started(join="quorum", quorum=2), "failed", "completed", "completed")

    assert json.loads(result.result) == [None, "answer 2", "answer 3"]


def test_typed_outputs_are_values_in_the_list() -> None:
    [call] = waiting(started(1, join="all")).parent_calls
    typed = ChildAnswer("completed", text='{"total": 3}', is_json=True)

    _, result = end_children(call, started(1, join="all"), {RUNS[0]: typed})

    assert json.loads(result.result) == [{"total": 3}]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("more", "statuses", "message"),
    [
        ({"join": "all"}, ("failed", "failed", "failed"), "clerk ended as failed"),
        (
            {"join": "quorum", "quorum": 2},
            ("completed", "failed", "incomplete"),
            "1 of 2 runs completed; clerk ended as failed; clerk ended as incomplete: max_steps",
        ),
        ({"join": "first"}, ("cancelled", "running", "failed"), None),
    ],
)
def test_too_few_answers_are_an_error(
    more: dict[str, Any], statuses: tuple[RunStatus, ...], message: str | None
) -> None:
    expected = message or (
        "clerk ended as cancelled; clerk did not complete; clerk ended as failed"
    )

    assert ended(started(**more), *statuses)[1].message == f"Error: {expected}"


# --- cancels


def test_the_end_of_a_run_cancels_the_children_that_it_waits_for() -> None:
    thread = waiting(started())

    assert runs_to_cancel(thread, (RunFinished("failed"),), "failed") == RUNS
    assert runs_to_cancel(thread, (), "running") == ()
    assert awaited_runs(thread.parent_calls) == RUNS


def test_a_join_of_some_cancels_the_others() -> None:
    thread = waiting(started(join="first"))

    assert runs_to_cancel(thread, (WaitEnded(CALL, "children"),), "running") == RUNS


def test_a_join_of_all_cancels_none() -> None:
    thread = waiting(started(join="all"))
    events = (WaitEnded(CALL, "children"), succeeded(), finished())

    assert runs_to_cancel(thread, events, "running") == ()
    assert runs_to_cancel(thread, events, "completed") == ()
    assert final_status(()) is None


# --- declarations

CLERK = Workflow("clerk", "You are a clerk.", ())


def test_a_fan_out_names_its_join() -> None:
    tasks = (CLERK.task("a"), CLERK.task({"b": 1}))

    assert tasks == (Task("clerk", "a"), Task("clerk", '{"b":1}'))
    assert [(FanOut(tasks, join).join_name, FanOut(tasks, join).quorum) for join in (2, "all")] == [
        ("quorum", 2),
        ("all", 0),
    ]


@pytest.mark.parametrize("join", [0, 3, True, "most", 1.5])
def test_a_join_that_cannot_be_met_is_an_error(join: Any) -> None:
    with pytest.raises(WorkflowError, match="join is all, first or 1 to 2"):
        FanOut((CLERK.task("a"), CLERK.task("b")), join)


@pytest.mark.parametrize(("workflow", "input"), [("clerk", 5), (None, "a"), (CLERK, "a")])
def test_a_task_has_a_name_and_a_text(workflow: Any, input: Any) -> None:
    with pytest.raises(WorkflowError, match=r"has a name and a text; make it by workflow\.task"):
        Task(workflow, input)


@pytest.mark.parametrize("tasks", [(), ("a",), 5, None])
def test_a_fan_out_has_tasks(tasks: Any) -> None:
    with pytest.raises(WorkflowError, match="at least one task"):
        FanOut(tasks)


def test_only_tools_that_may_be_repeated_fan_out() -> None:
    async def fan() -> FanOut:
        """Fan out."""
        return FanOut((CLERK.task("a"),))

    assert tool(effect="pure")(fan).fans_out
    with pytest.raises(WorkflowError, match="its effect is not unsafe"):
        tool(effect="unsafe")(fan)


def test_children_are_workflows() -> None:
    with pytest.raises(WorkflowError, match="children has 'clerk', no workflow"):
        Workflow("boss", "Lead.", (), children=("clerk",))  # type: ignore[arg-type]
    for children, name in ((CLERK, "clerk"), ("clerk", "'clerk'"), (None, "None")):
        given: Any = children
        with pytest.raises(WorkflowError, match=f"children is {name}, not a tuple of workflows"):
            Workflow("boss", "Lead.", (), children=given)


def test_a_workflow_names_those_that_it_starts_once() -> None:
    tools = (CLERK.as_tool("Asks."), CLERK.as_tool("Asks again.", name="again"))

    boss = Workflow("boss", "Lead.", tools, children=(CLERK,))

    assert boss.started_workflows == (CLERK,)
