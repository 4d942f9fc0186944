from collections.abc import Sequence
from typing import get_args

import pytest
from hypothesis import given, settings

from tests.builders import (
    SPENT,
    allowed,
    approval_asked,
    asked,
    assistant,
    called,
    denied,
    entries,
    failed,
    finished,
    function_call,
    open_call,
    outcome_unknown,
    own_tool,
    refused,
    replied,
    said,
    settled,
    succeeded,
    thread_of,
)
from tests.core.journals import LIMITS as JOURNAL_LIMITS
from tests.core.journals import WORKFLOW as JOURNAL_WORKFLOW
from tests.core.journals import journals, scrambled
from twelvefold.core.budget import Limits
from twelvefold.core.decide import (
    AskApproval,
    AskOutcome,
    CallModel,
    Decision,
    Finish,
    Idle,
    RunTools,
    Stop,
    decide,
    in_doubt,
)
from twelvefold.core.events import (
    ApprovalAnswered,
    ApprovalAsked,
    Event,
    ModelReplied,
    ReplyEnd,
    ToolFailed,
    ToolSucceeded,
)
from twelvefold.core.gates import ValidCall
from twelvefold.core.ids import CallId
from twelvefold.core.ports import CallKey, ReadOnly, Transaction
from twelvefold.core.thread import fold
from twelvefold.core.tools.tool import tool
from twelvefold.core.workflow import RejectedCall, Workflow

LIMITS = Limits()


@tool
async def look(db: ReadOnly) -> str:
    """Look."""
    return ""


@tool(effect="pure")
async def add() -> str:
    """Add."""
    return ""


@tool(requires="look")
async def enrol(tx: Transaction) -> str:
    """Enrol."""
    return ""


@tool(effect="unsafe")
async def pay() -> str:
    """Pay."""
    return ""


@tool
async def notify(key: CallKey) -> str:
    """Notify."""
    return ""


@tool(approval=True)
async def refund(tx: Transaction) -> str:
    """Refund."""
    return ""


@tool(effect="unsafe", approval=True)
async def wire() -> str:
    """Wire."""
    return ""


@tool(max_calls=1)
async def peek(db: ReadOnly) -> str:
    """Peek."""
    return ""


@tool(once=True)
async def glance(db: ReadOnly) -> str:
    """Glance."""
    return ""


@tool(approval=True)
async def spy(db: ReadOnly) -> str:
    """Spy."""
    return ""


WORKFLOW = Workflow(
    "academy", "Help.", (look, add, enrol, pay, notify, refund, wire, peek, glance, spy)
)


def decision(*events: Event, limits: Limits = LIMITS, interrupted: bool = False) -> Decision:
    return decide(thread_of(*events, interrupted=interrupted), WORKFLOW, limits)


def tools_run(*events: Event, interrupted: bool = False) -> list[str]:
    """Return the names of the calls of the next decision; rejected ones with their failure."""
    found = decision(*events, interrupted=interrupted)
    assert isinstance(found, RunTools)
    return [
        one.tool.name if isinstance(one, ValidCall) else f"{one.tool}: {one.failure}"
        for one in found.calls
    ]


def test_a_new_run_calls_the_model() -> None:
    assert decision(asked()) == CallModel()


def test_a_thread_without_a_run_rests() -> None:
    assert decision() == Idle()


def test_a_finished_run_rests() -> None:
    assert decision(asked(), said(), finished()) == Idle()


def test_a_reply_without_calls_finishes_the_run() -> None:
    assert decision(asked(), said()) == Finish()


@pytest.mark.parametrize("ended", ["max_output_tokens", "content_filter"])
def test_a_reply_that_was_cut_off_ends_the_run_and_runs_no_call(ended: ReplyEnd) -> None:
    cut = replied(function_call("pay"), function_call("look", "c2"), ended=ended)

    assert decision(asked(), cut) == Stop("incomplete", ended)


def test_an_open_call_is_run() -> None:
    call = open_call("look")

    assert decision(asked(), called("look")) == RunTools(
        (ValidCall(call, look, {}),), (call,), all_pending=True
    )


def test_a_call_already_answered_is_not_run_again() -> None:
    assert decision(asked(), called("look"), succeeded("2.0", "look")) == CallModel()


def test_calls_without_effects_run_at_the_same_time() -> None:
    assert tools_run(asked(), called("look", "add", "look")) == ["look", "add", "look"]


def test_calls_with_effects_run_one_by_one_in_their_order() -> None:
    story: list[Event] = [asked(), called("pay", "notify", "look", "look", "pay")]

    assert tools_run(*story) == ["pay"]
    story += [succeeded("2.0", "pay")]
    assert tools_run(*story) == ["notify"]
    story += [succeeded("2.1", "notify")]
    assert tools_run(*story) == ["look", "look"]
    story += [succeeded("2.2", "look"), succeeded("2.3", "look")]
    assert tools_run(*story) == ["pay"]


def test_a_decision_tells_whether_other_calls_are_pending() -> None:
    group = decision(asked(), called("look", "pay"))

    assert isinstance(group, RunTools)
    assert not group.all_pending
    assert [call.tool for call in group.pending] == ["look"]


def test_a_call_whose_gate_the_call_before_may_open_waits_for_it() -> None:
    story: list[Event] = [asked(), called("look", "enrol")]

    assert tools_run(*story) == ["look"]
    assert tools_run(*story, succeeded("2.0", "look")) == ["enrol"]
    assert tools_run(*story, refused("2.0", "look")) == ["enrol: not_open"]


@pytest.mark.parametrize("name", ["peek", "glance"])
def test_a_call_with_a_limit_runs_alone(name: str) -> None:
    assert tools_run(asked(), called(name, "look")) == [name]
    assert tools_run(asked(), called("look", name)) == ["look"]


def test_a_call_that_needs_approval_does_not_run_beside_another() -> None:
    assert tools_run(asked(), called("look", "spy")) == ["look"]


def test_a_call_that_was_approved_early_does_not_run_beside_another() -> None:
    assert tools_run(asked(), called("look", "look"), allowed("2.1")) == ["look"]


def test_rejected_calls_run_in_one_group_with_calls_without_effects() -> None:
    twice = replied(function_call("look", "c1"), function_call("look", "c1"), function_call("no"))

    assert tools_run(asked(), twice) == ["look", "look: repeated", "no: unknown_tool"]
    assert tools_run(asked(), called("no", "look", "pay")) == ["no: unknown_tool", "look"]


def test_a_call_with_invalid_arguments_is_rejected() -> None:
    found = decision(asked(), called("look", code=1))

    assert isinstance(found, RunTools)
    (rejected,) = found.calls
    assert isinstance(rejected, RejectedCall)
    assert (rejected.failure, rejected.problems) == (
        "arguments",
        ("code: Extra inputs are not permitted",),
    )


def test_approval_is_requested_with_the_defaults_and_the_call_stays_that_of_the_model() -> None:
    @tool(approval=True)
    async def repay(tx: Transaction, number: int, cents: int = 1500) -> str:
        """Repay."""
        return ""

    workflow = Workflow("desk", "You repay.", (repay,))
    story = asked(), called("repay", number=1, cents=None)
    shown = '{"number": 1, "cents": 1500}'
    thread = thread_of(*story)

    decided = decide(thread, workflow, LIMITS)
    waiting = thread_of(*story, ApprovalAsked(CallId("2.0"), "repay", arguments=shown))

    assert decided == AskApproval(thread.pending[0], arguments=shown)
    (call,) = waiting.pending
    assert (call.arguments, call.shown_arguments) == ('{"number": 1, "cents": null}', shown)


@tool(effect="unsafe", approval=lambda given: given["cents"] > 0)
async def repay(cents: int = 2, fee: int = 3) -> str:
    """Repay."""
    return ""


DESK = Workflow("desk", "You repay.", (repay,))


def approved_with(arguments: str) -> list[Event]:
    """Return a run in which a person approves these arguments of a call without any."""
    asked_for = ApprovalAsked(CallId("2.0"), "repay", arguments=arguments)
    return [asked(), called("repay"), asked_for, allowed()]


def test_the_arguments_that_the_person_saw_run_after_a_default_has_changed() -> None:
    found = decide(thread_of(*approved_with('{"cents": 1, "fee": 1}')), DESK, LIMITS)

    assert isinstance(found, RunTools)
    (call,) = found.calls
    assert isinstance(call, ValidCall)
    assert call.arguments == {"cents": 1, "fee": 1}


def test_a_call_with_a_default_that_the_person_did_not_see_is_rejected() -> None:
    found = decide(thread_of(*approved_with('{"cents": 1}')), DESK, LIMITS)

    assert isinstance(found, RunTools)
    (call,) = found.calls
    assert isinstance(call, RejectedCall)
    problem = "the parameters have changed since a person approved this call; call the tool again"
    assert (call.failure, call.problems) == ("arguments", (problem,))


def test_an_approved_call_that_may_have_begun_is_not_rejected() -> None:
    interrupted = thread_of(*approved_with('{"cents": 1}'), interrupted=True)

    assert isinstance(decide(interrupted, DESK, LIMITS), AskOutcome)


def test_a_call_that_needs_no_approval_takes_new_defaults() -> None:
    found = decide(thread_of(*approved_with('{"cents": 0}')), DESK, LIMITS)

    assert isinstance(found, RunTools)
    assert isinstance(found.calls[0], ValidCall)


def test_the_arguments_of_the_person_replace_those_of_the_request() -> None:
    story = asked(), called("refund"), ApprovalAsked(CallId("2.0"), "refund", arguments='{"a":1}')
    given = ApprovalAnswered(CallId("2.0"), approved=True, by="bob", arguments='{"a":2}')

    (call,) = thread_of(*story, given).pending

    assert (call.arguments, call.shown_arguments) == ('{"a":2}', '{"a":2}')


def test_approval_is_requested_once() -> None:
    story: list[Event] = [asked(), called("refund")]

    assert decision(*story) == AskApproval(open_call("refund"))
    assert decision(*story, approval_asked(tool="refund")) == Idle()
    assert tools_run(*story, approval_asked(tool="refund"), allowed()) == ["refund"]


def test_a_denied_call_is_never_run() -> None:
    story: list[Event] = [asked(), called("refund"), approval_asked(tool="refund"), denied()]

    assert decision(*story) == Idle()
    assert decision(*story, failed("2.0", "refund", "denied")) == CallModel()


def test_calls_after_one_that_waits_for_approval_wait() -> None:
    assert decision(asked(), called("refund", "look"), approval_asked(tool="refund")) == Idle()


def test_the_outcome_of_an_interrupted_unsafe_call_is_unknown() -> None:
    story: list[Event] = [asked(), called("pay")]

    assert decision(*story, interrupted=True) == AskOutcome(open_call("pay"))
    assert decision(*story, outcome_unknown(tool="pay")) == Idle()
    assert decision(*story, outcome_unknown(tool="pay"), interrupted=True) == Idle()


def test_a_call_without_its_approval_cannot_have_happened() -> None:
    story: list[Event] = [asked(), called("wire")]

    assert decision(*story, interrupted=True) == AskApproval(open_call("wire"))
    allowed_story = [*story, approval_asked(tool="wire"), allowed()]
    assert isinstance(decision(*allowed_story, interrupted=True), AskOutcome)


def test_an_unsafe_call_of_a_run_that_was_given_back_is_run() -> None:
    assert tools_run(asked(), called("pay")) == ["pay"]


def test_an_unsafe_call_to_be_retried_is_run_and_may_be_interrupted_again() -> None:
    story: list[Event] = [asked(), called("pay"), outcome_unknown(tool="pay"), settled()]

    assert tools_run(*story) == ["pay"]
    assert isinstance(decision(*story, interrupted=True), AskOutcome)


def test_only_the_first_pending_call_can_have_begun() -> None:
    story: list[Event] = [asked(), called("notify", "pay")]

    assert tools_run(*story, interrupted=True) == ["notify"]
    assert tools_run(*story, succeeded("2.0", "notify")) == ["pay"]


@pytest.mark.parametrize("name", ["look", "add", "notify"])
def test_other_interrupted_calls_are_run_again(name: str) -> None:
    assert tools_run(asked(), called(name), interrupted=True) == [name]


def test_an_interrupted_unsafe_call_with_invalid_arguments_is_rejected() -> None:
    assert tools_run(asked(), called("pay", amount=1), interrupted=True) == ["pay: arguments"]


def test_a_run_stops_at_its_maximum_of_steps() -> None:
    story: list[Event] = [asked(), called("look"), succeeded("2.0", "look")]

    assert decision(*story, limits=Limits(max_steps=1)) == Stop("incomplete", "max_steps")
    assert decision(*story, limits=Limits(max_steps=2)) == CallModel()


def test_the_calls_of_the_last_step_are_still_run() -> None:
    found = decision(asked(), called("look"), limits=Limits(max_steps=1))

    assert isinstance(found, RunTools)


def test_a_reply_without_calls_at_the_last_step_completes_the_run() -> None:
    assert decision(asked(), said(), limits=Limits(max_steps=1, run_tokens=1)) == Finish()


def test_a_run_stops_when_its_budget_is_exhausted() -> None:
    story: list[Event] = [asked(), called("look"), succeeded("2.0", "look")]

    assert decision(*story, limits=Limits(run_tokens=110)) == Stop("incomplete", "token_budget")


def test_three_faults_in_a_row_end_the_run() -> None:
    story: list[Event] = [asked(), called("look", "look", "look", "pay")]
    story += [failed("2.0", "look"), failed("2.1", "look")]

    assert tools_run(*story) == ["look"]
    assert decision(*story, failed("2.2", "look")) == Stop("failed", "tool_faults")


@pytest.mark.parametrize(
    ("name", "interrupted", "doubtful"),
    [
        ("pay", False, True),
        ("pay", True, True),
        ("notify", False, True),
        ("notify", True, True),
        ("look", True, False),
        ("wire", False, False),
        ("wire", True, False),
    ],
)
def test_a_call_is_in_doubt_only_if_it_leaves_the_database_and_may_have_begun(
    name: str, interrupted: bool, doubtful: bool
) -> None:
    thread = thread_of(asked(), called(name), interrupted=interrupted)

    assert in_doubt(thread, WORKFLOW, LIMITS) == (thread.pending[0] if doubtful else None)


def test_no_call_is_in_doubt_before_the_model_replies() -> None:
    assert in_doubt(thread_of(asked()), WORKFLOW, LIMITS) is None


@settings(max_examples=30)
@given(journals)
def test_any_prefix_of_a_journal_has_exactly_one_decision(events: list[Event]) -> None:
    journal = entries(*events)

    for cut in range(len(journal) + 1):
        thread = fold(journal[:cut])
        found = decide(thread, JOURNAL_WORKFLOW, JOURNAL_LIMITS)
        assert type(found) in get_args(Decision)
        assert found == decide(fold(journal[:cut]), JOURNAL_WORKFLOW, JOURNAL_LIMITS)
        assert thread == fold(journal[:cut])


@settings(max_examples=20)
@given(scrambled)
def test_entries_in_any_order_have_exactly_one_decision(events: list[Event]) -> None:
    for interrupted in (False, True):
        thread = thread_of(*events, interrupted=interrupted)
        found = decide(thread, JOURNAL_WORKFLOW, JOURNAL_LIMITS)
        assert type(found) in get_args(Decision)
        assert found == decide(thread, JOURNAL_WORKFLOW, JOURNAL_LIMITS)


@settings(max_examples=20)
@given(journals)
def test_a_run_rests_only_when_it_is_over_or_waits_for_a_person(events: list[Event]) -> None:
    thread = thread_of(*events)

    rests = decide(thread, JOURNAL_WORKFLOW, JOURNAL_LIMITS) == Idle()

    assert rests == (thread.status != "active" or thread.waits)


@settings(max_examples=20)
@given(journals)
def test_no_call_with_a_result_is_run(events: Sequence[Event]) -> None:
    answered = {one.call for one in events if isinstance(one, ToolSucceeded | ToolFailed)}

    found = decide(thread_of(*events), JOURNAL_WORKFLOW, JOURNAL_LIMITS)

    assert not isinstance(found, RunTools) or answered.isdisjoint(one.id for one in found.pending)


@settings(max_examples=20)
@given(journals)
def test_calls_are_run_from_the_first_pending_one(events: Sequence[Event]) -> None:
    thread = thread_of(*events)
    found = decide(thread, JOURNAL_WORKFLOW, JOURNAL_LIMITS)

    if isinstance(found, RunTools):
        count = len(found.calls)
        assert found.pending == thread.pending[:count]
        assert found.all_pending == (count == len(thread.pending))
        traceless = {"readonly", "pure"}
        effects = [one.tool.effect for one in found.calls if isinstance(one, ValidCall)]
        assert count == 1 or traceless.issuperset(effects)


# --- tools and limits of the caller

WEATHER = own_tool("get_weather")


def test_a_run_ends_with_calls_of_the_callers_tools() -> None:
    assert decision(asked(tools=(WEATHER,)), called("get_weather")) == Finish()


def test_calls_of_workflow_tools_run_before_those_of_the_callers_tools() -> None:
    story: list[Event] = [asked(tools=(WEATHER,)), called("get_weather", "look", "get_weather")]

    assert tools_run(*story) == ["look"]
    assert decision(*story, succeeded("2.1", "look")) == Finish()


def test_a_call_of_the_callers_tool_stays_pending_after_a_decision() -> None:
    found = decision(asked(tools=(WEATHER,)), called("get_weather", "enrol"))

    assert isinstance(found, RunTools)
    assert not found.all_pending


def test_no_call_of_the_callers_tools_is_in_doubt() -> None:
    thread = thread_of(asked(tools=(WEATHER,)), called("get_weather"), interrupted=True)

    assert in_doubt(thread, WORKFLOW, LIMITS) is None


def test_max_tool_calls_is_checked_before_each_call() -> None:
    story: list[Event] = [asked(max_tool_calls=1), called("look", "look")]

    assert tools_run(*story) == ["look"]
    found = decision(*story, succeeded("2.0", "look"))
    assert isinstance(found, RunTools)
    assert isinstance(found.calls[0], RejectedCall)
    assert found.calls[0].failure == "not_open"


# --- replies without content

EMPTY: list[ModelReplied] = [
    replied(),
    said(""),
    said(" \n"),
    replied({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}),
    replied({"type": "message", "role": "assistant", "content": ""}),
    replied({"type": "message", "role": "assistant", "content": None}),
    replied({"type": "message", "role": "assistant", "content": []}),
    replied({"type": "unheard_of", "x": 1}),
]
SOMETHING: list[ModelReplied] = [
    said("0"),
    replied(assistant(""), assistant("Hi")),
    replied({"type": "message", "role": "assistant", "content": "Hi"}),
    replied(
        {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "No"}]}
    ),
    replied({"type": "message", "role": "assistant", "content": [{"type": "output_audio"}]}),
    replied({"type": "mcp_call", "id": "m", "name": "look", "arguments": "{}"}),
]


@pytest.mark.parametrize("empty", EMPTY)
def test_the_model_is_called_again_three_times_after_empty_replies(empty: ModelReplied) -> None:
    for times in range(1, 4):
        assert decide(thread_of(asked(), *[empty] * times), WORKFLOW, LIMITS) == CallModel()
    story = thread_of(asked(), *[empty] * 4)

    assert decide(story, WORKFLOW, LIMITS) == Stop("failed", "empty_reply")
    assert story.usage.total_tokens == 4 * SPENT.total_tokens


@pytest.mark.parametrize("reply", SOMETHING)
def test_the_model_is_not_called_again_after_a_reply_with_content(reply: ModelReplied) -> None:
    assert decide(thread_of(asked(), reply), WORKFLOW, LIMITS) == Finish()


def test_empty_replies_count_only_in_a_row() -> None:
    story: list[Event] = [
        asked(),
        said(""),
        said(""),
        called("look"),
        succeeded("4.0", "look"),
        said(""),
    ]

    assert thread_of(*story).empty_replies == 1
    assert decide(thread_of(*story), WORKFLOW, LIMITS) == CallModel()


def test_an_empty_reply_counts_towards_the_limits_of_the_run() -> None:
    story = thread_of(asked(), said(""))

    assert decide(story, WORKFLOW, Limits(max_steps=1)) == Stop("incomplete", "max_steps")
    assert decide(story, WORKFLOW, Limits(run_tokens=1)) == Stop("incomplete", "token_budget")


@pytest.mark.parametrize("ended", ["max_output_tokens", "content_filter"])
def test_a_reply_that_was_cut_off_is_not_an_empty_reply(ended: ReplyEnd) -> None:
    story = thread_of(asked(), replied(ended=ended))

    assert decide(story, WORKFLOW, LIMITS) == Stop("incomplete", ended)


def test_a_run_that_an_older_release_finished_with_an_empty_reply_stays_completed() -> None:
    story = thread_of(asked(), said(""), finished())

    assert (story.status, decide(story, WORKFLOW, LIMITS)) == ("completed", Idle())
