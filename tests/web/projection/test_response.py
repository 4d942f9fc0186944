"""From a journal to the events of a response: their types, order and fields."""

from typing import Any

import msgspec
import pytest
from msgspec import structs

from tests.builders import (
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
    outcome_unknown,
    refused,
    replied,
    said,
    settled,
    succeeded,
)
from tests.web.journals import RUN, THREAD, events_of, projection, started, types, view
from tests.web.sdk import check_events, check_response
from twelvefold.core.events import Event, ItemsAdded, OutcomeUnknown, Usage
from twelvefold.core.ids import CallId
from twelvefold.core.ports import Delta, JournalDelta
from twelvefold.web.ids import ResponseId, message_id
from twelvefold.web.projection.parts import split_parts
from twelvefold.web.projection.response import ResponseProjection
from twelvefold.web.schemas.types import Json

MESSAGE = ["output_item.added", "content_part.added", "output_text.delta", "output_text.done"]
MESSAGE += ["content_part.done", "output_item.done"]
CALL = ["output_item.added", "mcp_call.in_progress", "mcp_call_arguments.delta"]
CALL += ["mcp_call_arguments.done"]
CALLED = [*CALL, "mcp_call.completed", "output_item.done"]
STREAM = started(stream=True)


def _texts(events: list[Json]) -> list[str]:
    return [event["delta"] for event in events if event["type"].endswith("output_text.delta")]


def _shown(text: str, *cuts: int, first: int = 1) -> Event:
    """A streamed reply, which readers could read up to any of its cuts."""
    return msgspec.structs.replace(said(text), first_delta=first, cuts=cuts)


def _pieces(position: int, *pieces: str) -> tuple[Delta, ...]:
    """Deltas with these texts; an empty one is a restart."""
    return tuple(
        Delta(position, number, "text" if piece else "restarted", piece)
        for number, piece in enumerate(pieces, start=1)
    )


# --- which events ---------------------------------------------------------------------------------


def test_a_plain_answer() -> None:
    events = events_of(asked(), said("You are in."), finished())

    check_events(events)
    assert types(events) == ["created", "in_progress", *MESSAGE, "completed"]
    assert _texts(events) == ["You are in."]
    assert events[0]["response"]["output"] == []
    assert events[-1]["response"]["status"] == "completed"


def test_a_background_response_is_queued_until_something_happens() -> None:
    one = ResponseProjection(ResponseId(RUN), view(asked(), background=True))
    start, reply, end = entries(asked(), said(), finished())

    queued = one.apply(JournalDelta((), (start,)))
    assert types(queued) == ["created", "queued"]
    assert [event["response"]["status"] for event in queued] == ["queued", "queued"]
    assert one.response(queued=True)["status"] == "queued"
    assert one.response()["status"] == "in_progress"

    going = one.apply(JournalDelta((), (reply, end)))
    assert types(going) == ["in_progress", *MESSAGE, "completed"]
    check_events(queued + going)


def test_a_call_of_the_servers_tool() -> None:
    events = events_of(asked(), called("enrol", course="A1"), succeeded(), said(), finished())

    check_events(events)
    assert types(events) == ["created", "in_progress", *CALLED, *MESSAGE, "completed"]
    assert events[2]["item"]["status"] == "in_progress"
    assert events[2]["item"]["arguments"] == ""
    assert events[-1]["response"]["output"][0] == {
        "id": f"mcp_{THREAD}2.0",
        "type": "mcp_call",
        "status": "completed",
        "server_label": "academy",
        "name": "enrol",
        "arguments": '{"course": "A1"}',
        "output": "done",
        "error": None,
        "approval_request_id": None,
    }


def test_a_call_is_shown_while_it_is_under_way() -> None:
    one = ResponseProjection(ResponseId(RUN), view(asked()))
    one.apply(JournalDelta((), entries(asked())))

    events = one.apply(JournalDelta((), entries(asked(), called("enrol"))[1:]))

    assert types(events) == CALL
    assert one.response()["output"][0]["status"] == "in_progress"
    assert one.response()["output"][0]["arguments"] == "{}"


def test_a_call_that_failed_has_an_error() -> None:
    events = events_of(asked(), called("enrol"), refused(), said(), finished())

    check_events(events)
    assert types(events)[6:8] == ["mcp_call.failed", "output_item.done"]
    item = events[-1]["response"]["output"][0]
    assert (item["status"], item["output"]) == ("failed", None)
    assert item["error"]["content"] == [{"type": "text", "text": "Error: no"}]


def test_calls_of_an_incomplete_reply_are_not_shown() -> None:
    reply = replied(assistant("Let me"), function_call("enrol"), ended="max_output_tokens")

    events = events_of(asked(), reply, finished("incomplete", "max_output_tokens"))

    check_events(events)
    assert types(events) == ["created", "in_progress", *MESSAGE, "incomplete"]
    response = events[-1]["response"]
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert response["output"][0]["status"] == "incomplete"


def test_a_refusal_has_its_own_events() -> None:
    refusal = {"type": "refusal", "refusal": "I will not."}
    reply = replied({"type": "message", "role": "assistant", "content": [refusal]})

    events = events_of(asked(), reply, finished())

    check_events(events)
    assert "refusal.delta" in types(events)
    assert events[-1]["response"]["output"][0]["content"] == [refusal]


def test_function_pairs_and_hidden_calls() -> None:
    story = (asked(), called("enrol"), succeeded(), said(), finished())

    pairs = events_of(*story, tool_items="function")
    hidden = events_of(*story, tool_items="hidden")

    check_events(pairs)
    call, output, _ = pairs[-1]["response"]["output"]
    assert (call["type"], output["type"]) == ("function_call", "function_call_output")
    assert call["call_id"] == output["call_id"]
    check_events(hidden)
    assert types(hidden) == ["created", "in_progress", *MESSAGE, "completed"]


# --- the client's own functions -------------------------------------------------------------------


def test_calls_of_the_clients_tools_are_passed_on_when_the_run_has_ended() -> None:
    start = started(tools=({"type": "function", "name": "weather"},))
    reply = replied(function_call("weather", "w1"), function_call("enrol", "e1"))

    events = events_of(start, reply, succeeded("2.1"), finished())

    check_events(events)
    kinds = ["output_item.added", "function_call_arguments.delta", "function_call_arguments.done"]
    assert types(events)[8:] == [*kinds, "output_item.done", "completed"]
    call = events[-1]["response"]["output"][1]
    assert (call["id"], call["call_id"]) == (f"fc_{THREAD}2.0", "w1")
    assert events[-1]["response"]["tools"] == [
        {
            "type": "function",
            "name": "weather",
            "description": None,
            "parameters": None,
            "strict": None,
        }
    ]


def test_a_client_never_gets_two_calls_of_one_id_nor_any_of_a_run_that_was_cancelled() -> None:
    start = started(tools=({"type": "function", "name": "weather"},))
    reply = replied(function_call("weather", "w1"), function_call("weather", "w1"))

    assert len(events_of(start, reply, finished())[-1]["response"]["output"]) == 1
    assert events_of(start, reply, finished("cancelled"))[-1]["response"]["output"] == []


# --- waiting for a person -------------------------------------------------------------------------

APPROVED = (asked(), called("enrol"), approval_asked(), allowed(), succeeded(), said(), finished())


def test_a_request_for_approval_completes_the_response() -> None:
    events = events_of(*APPROVED)

    check_events(events)
    expected = ["created", "in_progress", "output_item.added", "output_item.done", "completed"]
    assert types(events) == expected
    assert [item["type"] for item in events[-1]["response"]["output"]] == ["mcp_approval_request"]


def test_the_entries_after_an_approval_are_the_runs_next_response() -> None:
    events = events_of(*APPROVED, part=1)

    check_events(events)
    assert types(events) == ["created", "in_progress", *CALLED, *MESSAGE, "completed"]
    response = events[-1]["response"]
    assert response["id"] == f"resp_{THREAD}1c1"
    assert response["previous_response_id"] == f"resp_{THREAD}1"
    assert response["output"][0]["approval_request_id"] == f"mcpr_{THREAD}2.0"
    assert response["usage"]["total_tokens"] == 110


def test_a_denied_call_never_began() -> None:
    story = (asked(), called("enrol"), approval_asked(), denied(), failed(failure="denied"))

    events = events_of(*story, said("Then not."), finished(), part=1)

    check_events(events)
    assert types(events) == ["created", "in_progress", *MESSAGE, "completed"]


def test_a_call_of_unknown_outcome_fails_the_response_until_a_person_settles_it() -> None:
    unknown = outcome_unknown(tool="ship")
    story = (asked(), called("ship"), unknown, settled(), succeeded(), said(), finished())

    first, second = events_of(*story), events_of(*story, part=1)

    check_events(first)
    lost = [*CALL, "mcp_call.failed", "output_item.done"]
    assert types(first) == ["created", "in_progress", *lost, "failed"]
    error = first[-1]["response"]["error"]
    assert (error["code"], error["type"], error["param"]) == ("server_error", "server_error", None)
    assert "ship" in error["message"]
    check_events(second)
    assert types(second) == ["created", "in_progress", *CALLED, *MESSAGE, "completed"]


def test_a_run_cancelled_with_a_call_in_doubt_is_cancelled() -> None:
    unknown = OutcomeUnknown(CallId("2.0"), "ship", final=True)
    story = (asked(), called("ship"), unknown, finished("cancelled", "cancelled"))

    events = events_of(*story)

    check_events(events)
    assert types(events)[-1] == "failed"
    assert events[-1]["response"]["status"] == "cancelled"
    assert events[-1]["response"]["error"] is None
    assert len(split_parts(entries(*story))) == 1


def test_a_call_under_way_when_the_run_is_cancelled_is_incomplete() -> None:
    events = events_of(asked(), called("ship"), finished("cancelled", "cancelled"))

    check_events(events)
    assert types(events)[-2:] == ["output_item.done", "failed"]
    assert events[-1]["response"]["output"][0]["status"] == "incomplete"


def test_a_run_cancelled_while_it_waited_leaves_its_response_as_it_was() -> None:
    story = (asked(), called("enrol"), approval_asked(), finished("cancelled", "cancelled"))

    assert events_of(*story)[-1]["response"]["status"] == "completed"
    assert types(events_of(*story, part=1)) == ["created", "in_progress", "failed"]


def test_a_runs_entries_are_split_where_it_waits() -> None:
    story = entries(*APPROVED)

    assert split_parts(story) == [list(story[:3]), list(story[3:])]
    assert split_parts(story[:3]) == [list(story[:3])]
    assert split_parts(entries(asked(), said(), finished(), ItemsAdded(()))) == [
        list(entries(asked(), said(), finished()))
    ]


# --- text as it comes -----------------------------------------------------------------------------


def test_text_is_streamed_as_it_came_and_its_rest_at_the_end() -> None:
    events = events_of(STREAM, _shown("Hello there!", 3, 2), finished())

    check_events(events)
    assert _texts(events) == ["Hel", "lo", " there!"]
    assert events[-1]["response"]["output"][0]["id"] == message_id(THREAD, 2, first_delta=1)


def test_a_reader_that_has_read_up_to_a_cut_gets_only_the_rest() -> None:
    start, reply, end = entries(STREAM, _shown("Hello there!", 3, 2), finished())
    one = ResponseProjection(ResponseId(RUN), view(STREAM))

    live = one.apply(JournalDelta(_pieces(2, "Hel"), (start,)))
    assert _texts(live) == ["Hel"]
    assert one.response()["output"][0]["content"][0]["text"] == "Hel"
    assert one.deltas_after == (2, 1)

    rest = one.apply(JournalDelta((), (reply, end)))
    assert _texts(rest) == ["lo", " there!"]
    assert live + rest == events_of(STREAM, _shown("Hello there!", 3, 2), finished())


def test_a_repeated_model_call_leaves_the_first_draft_as_incomplete() -> None:
    deltas = _pieces(2, "Hel", "")

    events = events_of(STREAM, _shown("Good day", 4, first=3), finished(), deltas=deltas)

    check_events(events)
    given_up, message = events[-1]["response"]["output"]
    assert (given_up["status"], given_up["content"][0]["text"]) == ("incomplete", "Hel")
    assert (message["status"], message["content"][0]["text"]) == ("completed", "Good day")
    assert message["id"] == message_id(THREAD, 2, first_delta=3)


def test_a_reply_that_differs_from_its_draft_is_a_separate_message() -> None:
    reply = replied(assistant("One."), assistant("Two."))

    events = events_of(STREAM, reply, finished(), deltas=_pieces(2, "On", ""))

    check_events(events)
    ids = [item["id"] for item in events[-1]["response"]["output"]]
    assert ids == [
        message_id(THREAD, 2, first_delta=1),
        message_id(THREAD, 2),
        message_id(THREAD, 2, 1),
    ]


def test_a_draft_that_is_cut_off_by_the_runs_end_is_incomplete() -> None:
    story = (STREAM, finished("cancelled", "cancelled"))

    events = events_of(*story, deltas=_pieces(2, "Hel", ""))

    check_events(events)
    assert [item["status"] for item in events[-1]["response"]["output"]] == ["incomplete"]


def test_late_deltas_have_no_events() -> None:
    late = _pieces(2, "zombie")

    assert events_of(STREAM, _shown("Hi", 2), finished(), deltas=late) == events_of(
        STREAM, _shown("Hi", 2), finished()
    )
    assert events_of(STREAM, said("Hi"), finished(), deltas=late) == events_of(
        STREAM, said("Hi"), finished()
    )


def test_a_reader_that_may_have_missed_deltas_reads_again() -> None:
    story = entries(STREAM, _shown("Good day", first=3), finished())
    one = ResponseProjection(ResponseId(RUN), view(STREAM))

    one.apply(JournalDelta((), story))
    assert (one.behind, one.position) == (True, 1)

    one.apply(JournalDelta(_pieces(2, "Hel", ""), story[1:]))
    assert (one.behind, one.over) == (False, True)


def test_deltas_of_a_position_not_yet_reached_are_left_for_later() -> None:
    one = ResponseProjection(ResponseId(RUN), view(STREAM))
    [start] = entries(STREAM)

    assert types(one.apply(JournalDelta(_pieces(3, "Hel"), (start,)))) == ["created", "in_progress"]
    assert one.deltas_after == (2, 0)


def test_earlier_entries_and_those_of_other_runs_are_ignored() -> None:
    first = entries(asked(), said(), finished())
    story = (*first, *(structs.replace(e, position=e.position + 3, run=2) for e in first))
    one = ResponseProjection(ResponseId(RUN), view(asked()))

    events = [event for entry in (*story[:2], *story) for event in one.feed(entry)]

    assert events == events_of(asked(), said(), finished())


def test_annotations_and_phase_of_a_message_are_kept() -> None:
    note = {"type": "url_citation", "start_index": 0, "end_index": 1, "title": "t", "url": "u"}
    content = [{"type": "output_text", "text": "Hi", "annotations": [note]}]
    item = {"type": "message", "role": "assistant", "content": content, "phase": "final_answer"}

    events = events_of(asked(), replied(item), finished())

    check_events(events)
    [message] = events[-1]["response"]["output"]
    assert message["content"][0]["annotations"] == [note]
    assert message["phase"] == "final_answer"


# --- the object -----------------------------------------------------------------------------------


def test_a_response_has_all_fields_before_its_first_entry() -> None:
    one = ResponseProjection(ResponseId(RUN), view(asked(), background=True))

    response = one.response(queued=True)

    check_response(response)
    assert response["status"] == "queued"
    assert response["created_at"] > 0


def test_the_options_are_returned_with_the_values_in_effect() -> None:
    schema = {"type": "json_schema", "name": "answer", "schema": {"type": "object"}}
    start = started(
        instructions="Be brief.",
        temperature=0.0,
        max_tool_calls=3,
        max_output_tokens=16,
        parallel_tool_calls=False,
        tool_choice={"type": "function", "name": "weather"},
        tools=({"type": "function", "name": "weather", "parameters": {}, "strict": True},),
        text={"format": schema},
        reasoning={"effort": "low"},
        metadata={"a": "b"},
        conversation=True,
        store=False,
        echo={"user": "u-1", "service_tier": "auto", "prompt_cache_key": "k"},
    )

    response = projection(start, said(), finished()).response()

    check_response(response)
    expected: dict[str, Any] = {
        "instructions": "Be brief.",
        "temperature": 0.0,
        "top_p": 1.0,
        "max_tool_calls": 3,
        "max_output_tokens": 16,
        "parallel_tool_calls": False,
        "tool_choice": {"type": "function", "name": "weather"},
        "text": {"format": schema | {"description": None, "strict": False}},
        "reasoning": {"effort": "low", "summary": None},
        "metadata": {"a": "b"},
        "conversation": {"id": f"conv_{THREAD}"},
        "store": False,
        "user": "u-1",
        "service_tier": "auto",
        "prompt_cache_key": "k",
        "truncation": "disabled",
    }
    assert {key: response[key] for key in expected} == expected


def test_usage_adds_up_over_the_replies() -> None:
    spent = Usage(input_tokens=100, output_tokens=10, cached_tokens=40, reasoning_tokens=5)
    first = replied(function_call("enrol"), usage=spent)
    second = replied(assistant("Done."), usage=spent)

    one = projection(asked(), first, succeeded(), second, finished())

    assert one.response()["usage"] == {
        "input_tokens": 200,
        "input_tokens_details": {"cached_tokens": 80, "cache_write_tokens": 0},
        "output_tokens": 20,
        "output_tokens_details": {"reasoning_tokens": 10},
        "total_tokens": 220,
    }


@pytest.mark.parametrize(
    ("reason", "word"), [("tool_faults", "tools"), ("rejected", "model"), ("odd", "odd")]
)
def test_a_failed_response_has_the_reason(reason: str, word: str) -> None:
    response = projection(asked(), finished("failed", reason)).response()

    check_response(response)
    assert response["status"] == "failed"
    assert word in response["error"]["message"]


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("content_filter", "content_filter"),
        ("max_output_tokens", "max_output_tokens"),
        ("max_steps", "max_output_tokens"),
        ("token_budget", "max_output_tokens"),
    ],
)
def test_an_incomplete_response_has_one_of_the_apis_reasons(reason: str, shown: str) -> None:
    response = projection(asked(), finished("incomplete", reason)).response()

    check_response(response)
    assert response["incomplete_details"] == {"reason": shown}


# --- how much of a result is shown ----------------------------------------------------------------


def _output(result: str, **how: Any) -> str:
    events = events_of(
        asked(), called("enrol"), succeeded(result=result), said(), finished(), **how
    )
    output: str = events[-1]["response"]["output"][0]["output"]
    return output


@pytest.mark.parametrize("character", ["a", "é", "😀"])
def test_a_long_result_is_cut_at_64_kib_with_a_note(character: str) -> None:
    shown = _output(character * 70_000)

    assert len(shown.encode()) <= 64 * 1024
    assert shown.startswith(character * 1000)
    assert "70000 characters" in shown.splitlines()[-1]
    assert _output(character * 16_384) == character * 16_384


def test_results_can_be_shortened_or_hidden() -> None:
    assert _output("x" * 300, tool_outputs="summary") == "x" * 200 + "… [300 characters]"
    assert _output("few", tool_outputs="summary") == "few [3 characters]"
    assert _output("secret", tool_outputs="none") == ""
    events = events_of(asked(), called("enrol"), refused(), said(), finished(), tool_outputs="none")
    assert "Error: no" not in str(events)
