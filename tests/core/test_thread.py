from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import (
    SPENT,
    added,
    allowed,
    approval_asked,
    asked,
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
    removed,
    replied,
    said,
    settled,
    succeeded,
    thread_of,
)
from tests.core.journals import journals, scrambled
from twelvefold.core.events import Event, Failure, ReplyEnd, RequestOptions
from twelvefold.core.ids import CallId
from twelvefold.core.thread import Call, CallState, Thread, fold

ONE_RUN: tuple[Event, ...] = (
    asked(),
    called("look", "enrol"),
    succeeded("2.0", "look"),
    refused("2.1", "enrol"),
    finished(),
)


def the_call(*events: Event) -> Call:
    """Return the only call of a reply, after these events."""
    (call,) = thread_of(asked(), called("enrol", id="c1"), *events).pending
    return call


def test_a_new_thread_is_empty() -> None:
    empty = thread_of()

    assert empty == Thread()
    assert (empty.status, empty.run, empty.head, empty.entries) == ("none", 0, 0, ())


def test_a_started_run_is_active() -> None:
    started = thread_of(asked("hello", principal="ann"))

    assert (started.status, started.run, started.head) == ("active", 1, 1)
    assert (started.principal, started.workflow) == ("ann", "academy")


def test_a_reply_leaves_its_calls_open() -> None:
    replied_to = thread_of(asked(), called("look", "enrol", code="CR-1"))

    written = '{"code": "CR-1"}'
    assert replied_to.pending == (
        open_call("look", id="2.0", wire_id="c1", arguments=written),
        open_call("enrol", id="2.1", wire_id="c1-2", arguments=written, number=1),
    )
    assert (replied_to.steps, replied_to.usage) == (1, SPENT)


def test_a_call_with_a_result_is_no_longer_pending() -> None:
    answered = thread_of(asked(), called("look", "enrol"), succeeded("2.0", "look"))

    assert [call.id for call in answered.pending] == ["2.1"]
    assert answered.reply_ended == "completed"


def test_the_model_is_called_after_the_last_result() -> None:
    answered = thread_of(asked(), called("look", "enrol"), succeeded("2.0", "look"), failed("2.1"))

    assert answered.pending == ()
    assert answered.reply_ended is None


def test_the_second_call_with_an_id_in_one_reply_is_a_repetition() -> None:
    twice = thread_of(asked(), replied(*[function_call("enrol", "c1")] * 2))

    assert [(call.id, call.repeated) for call in twice.pending] == [("2.0", False), ("2.1", True)]


def test_a_call_id_that_a_later_reply_repeats_is_another_call() -> None:
    again = thread_of(asked(), called("enrol", id="c1"), succeeded("2.0"), called("enrol", id="c1"))

    assert [(call.id, call.repeated) for call in again.pending] == [("4.0", False)]


@pytest.mark.parametrize("ended", ["max_output_tokens", "content_filter"])
def test_a_reply_that_was_cut_off_leaves_no_call(ended: ReplyEnd) -> None:
    cut = thread_of(asked(), replied(function_call("enrol", "c1", '{"co'), ended=ended))

    assert cut.pending == ()
    assert cut.reply_ended == ended


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([], "open"),
        ([approval_asked()], "asked"),
        ([approval_asked(), allowed()], "approved"),
        ([approval_asked(), denied()], "asked"),
        ([outcome_unknown()], "unknown"),
        ([outcome_unknown(), settled(how="retry")], "approved"),
        ([outcome_unknown(), settled(how="done")], "unknown"),
        ([outcome_unknown(), settled(how="failed")], "unknown"),
    ],
)
def test_the_answer_of_a_person_sets_the_state_of_a_call(
    events: Sequence[Event], state: CallState
) -> None:
    assert the_call(*events).state == state


def test_an_approval_may_change_the_options_of_the_run() -> None:
    before = (asked("refund it", instructions="Be kind."), called("refund"), approval_asked())
    otherwise = RequestOptions(instructions="Be brief.")

    assert thread_of(*before, allowed()).options == RequestOptions(instructions="Be kind.")
    assert thread_of(*before, allowed(options=otherwise)).options == otherwise


@pytest.mark.parametrize("state", [approval_asked(), outcome_unknown()])
def test_a_run_waits_for_an_approval_or_a_settlement(state: Event) -> None:
    assert thread_of(asked(), called("enrol"), state).waits
    assert not thread_of(asked(), called("enrol")).waits
    assert not thread_of(asked(), called("enrol"), state, finished("cancelled")).waits


def test_a_finished_run_has_no_pending_calls() -> None:
    over = thread_of(asked(), called("enrol"), finished("cancelled", "cancelled"))

    assert over.pending == ()
    assert (over.status, over.reason) == ("cancelled", "cancelled")


def test_successes_and_refusals_are_counted_in_the_whole_thread() -> None:
    later = thread_of(*ONE_RUN, *ONE_RUN)

    assert later.succeeded == {"look": 2}
    assert later.refused == {"enrol": 2}


def test_calls_steps_and_tokens_are_counted_by_run() -> None:
    later = thread_of(*ONE_RUN, *ONE_RUN)

    assert later.called == {"look": 1, "enrol": 1}
    assert (later.steps, later.usage) == (1, SPENT)


@pytest.mark.parametrize("failure", ["arguments", "unknown_tool", "not_open", "repeated", "denied"])
def test_a_call_that_did_not_reach_its_tool_does_not_count(failure: Failure) -> None:
    assert thread_of(asked(), called("enrol"), failed(failure=failure)).called == {}


@pytest.mark.parametrize("failure", ["refused", "fault", "settled"])
def test_a_call_that_failed_in_its_tool_counts(failure: Failure) -> None:
    assert thread_of(asked(), called("enrol"), failed(failure=failure)).called == {"enrol": 1}


def test_faults_are_counted_until_a_call_has_none() -> None:
    faults: list[Event] = [asked(), called("look", "look", "look"), failed("2.0"), failed("2.1")]

    assert thread_of(*faults).faults_in_a_row == 2
    assert thread_of(*faults, succeeded("2.2")).faults_in_a_row == 0
    assert thread_of(*faults, refused("2.2")).faults_in_a_row == 0


def test_the_entries_before_a_run_are_its_history() -> None:
    journal = entries(asked("one"), said(), finished(), asked("two"), said())

    thread = fold(journal)

    assert thread.history.entries == journal[:3]
    assert thread.latest == journal[3:]
    assert thread.entries == journal
    assert (thread.run, thread.head) == (2, 5)


def test_the_turns_of_the_history_are_computed_once() -> None:
    thread = thread_of(asked("one"), said(), finished(), asked("two"))

    assert [turn.items[0]["content"] for turn in thread.history.turns] == ["one"]
    assert thread.history.turns is thread.history.turns


def test_a_run_that_was_taken_over_is_interrupted_until_the_next_entry() -> None:
    taken = thread_of(asked(), called("enrol"), interrupted=True)
    *_, entry = entries(asked(), called("enrol"), outcome_unknown())

    assert taken.interrupted
    assert not taken.after(entry).interrupted


def test_an_answer_to_an_unknown_call_changes_no_call() -> None:
    thread = thread_of(asked(), called("enrol"), approval_asked("9.9"), allowed("7.0"))

    assert [(call.id, call.state) for call in thread.pending] == [(CallId("2.0"), "open")]


@settings(max_examples=30)
@given(st.one_of(journals, scrambled), st.data())
def test_a_journal_read_in_two_parts_is_the_journal_read_at_once(
    events: Sequence[Event], data: st.DataObject
) -> None:
    journal = entries(*events)
    cut = data.draw(st.integers(0, len(journal)))

    assert fold(journal[:cut]).after(*journal[cut:]) == fold(journal)
    # Applied one by one, earlier runs are folded; fold only counts them.
    assert Thread().after(*journal) == fold(journal)


@settings(max_examples=15)
@given(st.one_of(journals, scrambled))
def test_folding_does_not_change_the_entries(events: Sequence[Event]) -> None:
    journal = entries(*events)

    fold(journal)

    assert journal == entries(*events)


# --- options of the caller, and entries between runs


def test_calls_of_the_callers_tools_come_after_all_others() -> None:
    thread = thread_of(
        asked(tools=(own_tool("get_time"),)), called("get_time", "look", "get_time", "enrol")
    )

    assert [(call.id, call.state) for call in thread.pending] == [
        ("2.1", "open"),
        ("2.3", "open"),
        ("2.0", "client"),
        ("2.2", "client"),
    ]


def test_tools_of_the_caller_are_available_in_one_run() -> None:
    thread = thread_of(asked(tools=(own_tool("get_time"),)), said(), finished(), asked())

    assert thread.options == asked().options


def test_a_tool_of_the_caller_that_tool_choice_excludes_is_not_run_by_the_caller() -> None:
    (call,) = thread_of(
        asked(tools=(own_tool("get_time"),), tool_choice="none"), called("get_time")
    ).pending

    assert call.state == "open"


def test_adding_and_removing_items_changes_no_run() -> None:
    over = thread_of(*ONE_RUN)

    changed = thread_of(*ONE_RUN, added(), removed("2"))

    assert (changed.status, changed.run, changed.head) == (over.status, over.run, over.head + 2)
    assert thread_of(*ONE_RUN, added(), removed("2"), asked()).history.entries == changed.entries


def test_a_thread_that_begins_with_added_items_has_no_run() -> None:
    thread = thread_of(added())

    assert (thread.status, thread.run, thread.head) == ("none", 0, 1)
    assert thread_of(added(), asked()).run == 1
