"""The maximum size of a conversation, and of the calls of one reply."""

from dataclasses import replace
from typing import Any

import pytest

from tests.builders import (
    allowed,
    approval_asked,
    asked,
    assistant,
    called,
    entries,
    finished,
    function_call,
    own_tool,
    replied,
    said,
    succeeded,
    thread_of,
)
from twelvefold.core.budget import Limits
from twelvefold.core.decide import (
    AskOutcome,
    CallModel,
    Decision,
    Finish,
    Idle,
    RunTools,
    Stop,
    decide,
    find_reached_limit,
)
from twelvefold.core.events import Event
from twelvefold.core.gates import ValidCall
from twelvefold.core.ports import ReadOnly, Transaction
from twelvefold.core.thread import fold
from twelvefold.core.tools.tool import tool
from twelvefold.core.workflow import RejectedCall, Workflow

LIMITS = Limits()


@tool
async def look(db: ReadOnly) -> str:
    """Look."""
    return ""


@tool
async def buy(tx: Transaction) -> str:
    """Buy."""
    return ""


@tool(effect="unsafe")
async def pay() -> str:
    """Pay."""
    return ""


@tool(approval=True)
async def refund(tx: Transaction) -> str:
    """Refund."""
    return ""


SHOP = Workflow("shop", "Help.", (look, buy, pay, refund))


def decision(*events: Event, limits: Limits = LIMITS, interrupted: bool = False) -> Decision:
    return decide(thread_of(*events, interrupted=interrupted), SHOP, limits)


def size(*events: Event) -> int:
    return sum(entry.size for entry in entries(*events))


# --- the size of a thread


def test_the_size_of_a_thread_is_that_of_all_its_entries() -> None:
    events: list[Event] = [
        asked(),
        called("look"),
        succeeded("2.0", "look"),
        said(),
        finished(),
        asked("more"),
    ]

    assert thread_of(*events).size == size(*events)
    assert thread_of(*events[:3]).after(*entries(*events)[3:]).size == size(*events)
    assert fold(()).size == 0


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        ((9, 99), None),
        ((10, 0), "conversation_entries"),
        ((1, 100), "conversation_bytes"),
        ((10, 100), "conversation_entries"),
    ],
)
def test_a_conversation_is_full_at_its_limit(held: tuple[int, int], reason: str | None) -> None:
    limits = Limits(conversation_entries=10, conversation_bytes=100)

    assert find_reached_limit(*held, limits) == reason


# --- a run that reaches the limit


def test_a_run_calls_the_model_while_there_is_room() -> None:
    story: list[Event] = [asked(), called("look"), succeeded("2.0", "look")]

    assert decision(*story, limits=Limits(conversation_entries=4)) == CallModel()
    room = Limits(conversation_bytes=size(*story) + 1)
    assert decision(*story, limits=room) == CallModel()


@pytest.mark.parametrize("kind", ["conversation_entries", "conversation_bytes"])
def test_a_run_that_reaches_the_limit_is_incomplete_and_names_the_setting(kind: str) -> None:
    story: list[Event] = [asked(), called("look"), succeeded("2.0", "look")]
    most = {"conversation_entries": 3, "conversation_bytes": size(*story)}[kind]
    limits: Any = {kind: most}

    found = decision(*story, limits=Limits(**limits))

    assert isinstance(found, Stop)
    assert (found.status, found.reason) == ("incomplete", kind)
    assert f"MAX_{kind.upper()} is {most}" in found.error
    assert "earlier response" in found.error


def test_a_last_reply_completes_the_run_although_it_passes_the_limit() -> None:
    assert decision(asked(), said(), limits=Limits(conversation_entries=1)) == Finish()


def test_a_call_without_room_for_its_result_is_not_run() -> None:
    found = decision(asked(), called("pay"), limits=Limits(conversation_entries=2))

    assert isinstance(found, Stop)
    assert found.reason == "conversation_entries"


def test_a_call_of_the_callers_tool_finishes_the_run_although_it_passes_the_limit() -> None:
    story = asked(tools=(own_tool("theirs"),)), called("theirs")

    assert decision(*story, limits=Limits(conversation_entries=1)) == Finish()


def test_an_approved_call_is_run_although_the_approval_reached_the_limit() -> None:
    story: list[Event] = [
        asked(),
        called("refund"),
        approval_asked("2.0", "refund"),
        allowed("2.0"),
    ]

    found = decision(*story, limits=Limits(conversation_entries=4))

    assert isinstance(found, RunTools)


def test_a_call_that_waits_for_approval_still_waits_at_the_limit() -> None:
    story: list[Event] = [asked(), called("refund"), approval_asked("2.0", "refund")]

    assert decision(*story, limits=Limits(conversation_entries=3)) == Idle()


def test_an_unknown_outcome_is_recorded_beyond_the_limit() -> None:
    story: list[Event] = [asked(), called("pay")]

    found = decision(*story, limits=Limits(conversation_entries=1), interrupted=True)

    assert isinstance(found, AskOutcome)


def group(*events: Event, limits: Limits) -> list[str]:
    found = decision(*events, limits=limits)
    assert isinstance(found, RunTools)
    assert len(found.calls) == len(found.pending)
    return [
        one.tool.name if isinstance(one, ValidCall) else f"{one.tool}: {one.failure}"
        for one in found.calls
    ]


def test_as_many_calls_run_at_the_same_time_as_there_is_room_for_results() -> None:
    story: list[Event] = [asked(), called("look", "look", "look")]
    room = 2 * 6 * 100

    assert group(*story, limits=Limits(conversation_entries=4)) == ["look"] * 2
    bytes_left = Limits(conversation_bytes=size(*story) + room, result_chars=100)
    assert group(*story, limits=bytes_left) == ["look"] * 2
    hardly_any = Limits(conversation_bytes=size(*story) + 1, result_chars=100)
    assert group(*story, limits=hardly_any) == ["look"]
    assert group(*story, limits=LIMITS) == ["look"] * 3


# --- replies with many calls


def test_calls_beyond_the_maximum_of_a_reply_are_rejected_in_one_group() -> None:
    limits = replace(LIMITS, calls_per_reply=2)
    story: list[Event] = [asked(), called("look", "buy", "look", "buy", "nothing")]

    assert group(*story, limits=limits) == ["look"]
    story += [succeeded("2.0", "look")]
    assert group(*story, limits=limits) == ["buy"]
    story += [succeeded("2.1", "buy")]
    assert group(*story, limits=limits) == ["look: not_open", "buy: not_open", "nothing: not_open"]


def test_the_error_for_surplus_calls_advises_smaller_groups() -> None:
    story: list[Event] = [asked(), called("buy", "buy"), succeeded("2.0", "buy")]

    found = decision(*story, limits=Limits(calls_per_reply=1))

    assert isinstance(found, RunTools)
    problem = "not run: a reply may have at most 1 tool calls; call again in smaller groups"
    assert found.calls == (RejectedCall("not_open", "buy", "{}", (problem,)),)
    assert found.all_pending


def test_calls_without_effects_run_at_the_same_time_up_to_the_maximum() -> None:
    limits = Limits(calls_per_reply=3)
    story: list[Event] = [asked(), called(*["look"] * 500)]

    assert group(*story, limits=limits) == ["look"] * 3


def test_calls_of_the_callers_tools_do_not_count_towards_the_maximum() -> None:
    asks = asked(tools=(own_tool("theirs"),))
    calls = [function_call(name, f"c{at}") for at, name in enumerate(["theirs", "theirs", "look"])]

    assert group(asks, replied(*calls), limits=Limits(calls_per_reply=1)) == ["look"]


def test_a_surplus_call_requests_no_approval() -> None:
    story: list[Event] = [asked(), called("look", "refund"), succeeded("2.0", "look")]

    assert group(*story, limits=Limits(calls_per_reply=1)) == ["refund: not_open"]


def test_surplus_calls_are_rejected_while_entries_are_left() -> None:
    limits = Limits(calls_per_reply=1, conversation_entries=6)
    story: list[Event] = [asked(), called(*["look"] * 500), succeeded("2.0", "look")]

    assert group(*story, limits=limits) == ["look: not_open"] * 3


def test_the_model_is_called_again_after_an_empty_reply_only_while_there_is_room() -> None:
    found = decision(asked(), replied(assistant("")), limits=Limits(conversation_entries=2))

    assert isinstance(found, Stop)
    assert found.reason == "conversation_entries"
