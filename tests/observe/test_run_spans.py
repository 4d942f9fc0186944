"""The spans of a run, from its journal alone."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from tests.builders import (
    allowed,
    asked,
    assistant,
    called,
    failed,
    finished,
    function_call,
    outcome_unknown,
    replied,
    said,
    settled,
    succeeded,
    user,
)
from twelvefold.core.events import (
    ApprovalAsked,
    ChildrenStarted,
    Entry,
    Event,
    ItemsAdded,
    ModelReplied,
    RunFinished,
    ToolError,
    ToolFailed,
    Usage,
    WaitEnded,
    WaitStarted,
)
from twelvefold.core.ids import CallId, RunId, ThreadId
from twelvefold.core.trace_ids import RunTrace, call_span, reply_span, trace_of
from twelvefold.observe.run_spans import RunSpans, Span
from twelvefold.observe.span_content import SpanContent

RUN = RunId(ThreadId("a" * 44), 1)
TRACE = trace_of(RUN, asked())
MS = 1_000
SECRETS = ("enrol me", "the-secret", "tell nobody")


def took(event: Any, ms: int) -> Any:
    return replace(event, took_us=ms * MS)


def journal(*commits: tuple[int, Sequence[Event]]) -> list[Entry]:
    """Return the entries of commits, each at a time in milliseconds."""
    entries: list[Entry] = []
    for at_ms, events in commits:
        for event in events:
            entries.append(Entry(len(entries) + 1, 1, event, 0, 1_000_000 * MS + at_ms * MS))
    return entries


def spans_of(*commits: tuple[int, Sequence[Event]], content: bool = False) -> list[Span]:
    return RunSpans(TRACE, SpanContent() if content else None).add(journal(*commits))


def told(spans: Iterable[Span]) -> list[tuple[str, int, int, str]]:
    """Return names, begin and end in milliseconds, and errors."""
    return [
        (one.name, one.start_us // MS - 1_000_000, one.end_us // MS - 1_000_000, one.error)
        for one in spans
    ]


def test_no_span_ends_before_it_begins_if_the_clock_goes_back() -> None:
    commits = [
        (5000, [asked()]),
        (1000, [took(called("enrol"), 700)]),
        (1200, [took(succeeded(), 200)]),
        (6000, [took(said(), 450), finished()]),
    ]

    found = spans_of(*commits)

    assert told(found) == [
        ("chat m-1", 5000, 5000, ""),
        ("execute_tool enrol", 5000, 5000, ""),
        ("wait retry", 5000, 5550, ""),
        ("chat m-1", 5550, 6000, ""),
        ("invoke_agent academy", 5000, 6000, ""),
    ]


def test_a_reply_and_its_call_in_one_commit_have_their_own_times() -> None:
    spans = spans_of(
        (0, [asked()]),
        (1000, [took(called("enrol"), 700), took(succeeded(), 200)]),
        (1500, [took(said(), 450), finished()]),
    )

    assert told(spans) == [
        ("chat m-1", 100, 800, ""),
        ("execute_tool enrol", 800, 1000, ""),
        ("chat m-1", 1050, 1500, ""),
        ("invoke_agent academy", 0, 1500, ""),
    ]
    assert [one.parent for one in spans] == [TRACE.root] * 3 + [None]
    assert spans[0].id == reply_span(RUN, 2)
    assert spans[1].id == call_span(RUN, CallId("2.0"))


def test_calls_in_parallel_begin_together() -> None:
    spans = spans_of(
        (0, [asked()]),
        (100, [took(called("look", "weigh"), 100)]),
        (400, [took(succeeded("2.0", "look"), 300), took(succeeded("2.1", "weigh"), 50)]),
    )

    assert told(spans)[1:] == [
        ("execute_tool look", 100, 400, ""),
        ("execute_tool weigh", 100, 150, ""),
    ]


def test_a_run_that_waited_in_the_queue_or_lost_an_attempt_has_no_hole() -> None:
    spans = spans_of(
        (0, [asked()]),
        (5000, [took(called("enrol"), 1000), took(succeeded(), 100)]),
        (45_000, [took(said(), 500), finished()]),
    )

    assert told(spans) == [
        ("wait queue", 0, 3900, ""),
        ("chat m-1", 3900, 4900, ""),
        ("execute_tool enrol", 4900, 5000, ""),
        ("wait retry", 5000, 44_500, ""),
        ("chat m-1", 44_500, 45_000, ""),
        ("invoke_agent academy", 0, 45_000, ""),
    ]


def test_a_clock_that_is_behind_makes_no_span_that_begins_before_the_step_before() -> None:
    spans = spans_of((0, [asked()]), (100, [took(said(), 900), finished()]))

    assert told(spans)[0] == ("chat m-1", 0, 100, "")


def test_entries_without_durations_fill_the_time_with_the_reply() -> None:
    spans = spans_of((0, [asked()]), (900, [called("enrol"), succeeded()]))

    assert told(spans) == [("chat m-1", 0, 900, ""), ("execute_tool enrol", 900, 900, "")]


def test_an_approval_is_a_span_beside_the_call() -> None:
    spans = spans_of(
        (0, [asked()]),
        (100, [took(called("enrol"), 100), ApprovalAsked(CallId("2.0"), "enrol")]),
        (60_000, [allowed()]),
        (60_300, [took(succeeded(), 100)]),
    )

    assert told(spans)[1:] == [
        ("wait approval", 100, 60_000, ""),
        ("wait queue", 60_000, 60_200, ""),
        ("execute_tool enrol", 60_200, 60_300, ""),
    ]
    assert spans[1].parent == TRACE.root
    assert spans[1].attributes["twelvefold.wait.kind"] == "approval"


def test_a_call_that_waits_spans_its_wait() -> None:
    kinds = {
        "timer": WaitStarted(CallId("2.0"), "enrol", 5, took_us=50 * MS),
        "event": WaitStarted(CallId("2.0"), "enrol", event="paid"),
        "question": WaitStarted(CallId("2.0"), "enrol", question="which?"),
    }
    for kind, wait in kinds.items():
        spans = spans_of(
            (0, [asked()]),
            (100, [took(called("enrol"), 50), wait]),
            (90_000, [WaitEnded(CallId("2.0"), "time"), succeeded()]),
        )

        began = 50 if wait.took_us else 100
        assert told(spans)[1:] == [
            (f"wait {kind}", 100, 90_000, ""),
            ("execute_tool enrol", began, 90_000, ""),
        ]
        assert spans[1].parent == call_span(RUN, CallId("2.0"))
        assert spans[1].attributes["twelvefold.wait.end"] == "time"


def test_a_call_that_starts_runs_spans_them() -> None:
    started = ChildrenStarted(CallId("2.0"), "billing", ("resp_1",))
    spans = spans_of(
        (0, [asked()]),
        (100, [took(called("billing"), 100), started]),
        (9000, [WaitEnded(CallId("2.0"), "children"), succeeded("2.0", "billing")]),
    )

    assert told(spans)[1:] == [("execute_tool billing", 100, 9000, "")]


def test_the_answer_of_a_run_that_took_over_is_no_reply_of_a_model() -> None:
    handed = ModelReplied((assistant("Paid."),), Usage(), "billing", "")
    started = ChildrenStarted(CallId("2.0"), "billing", ("resp_1",), hand_off=True)
    spans = spans_of(
        (0, [asked()]),
        (100, [took(called("billing"), 100), started]),
        (
            9000,
            [WaitEnded(CallId("2.0"), "children"), succeeded("2.0", "billing"), handed, finished()],
        ),
    )

    assert [one.name for one in spans] == [
        "chat m-1",
        "execute_tool billing",
        "invoke_agent academy",
    ]


def test_an_unknown_outcome_is_part_of_the_one_span_of_its_call() -> None:
    spans = spans_of(
        (0, [asked()]),
        (100, [took(called("ship"), 100)]),
        (30_000, [outcome_unknown("2.0", "ship")]),
        (60_000, [settled()]),
        (60_500, [took(succeeded("2.0", "ship"), 400)]),
    )

    assert told(spans)[1:] == [
        ("wait retry", 100, 30_000, ""),
        ("wait outcome", 30_000, 60_000, ""),
        ("execute_tool ship", 100, 60_500, ""),
    ]


def test_a_run_that_ends_while_it_waits_ends_its_spans() -> None:
    spans = spans_of(
        (0, [asked()]),
        (100, [took(called("enrol"), 100), WaitStarted(CallId("2.0"), "enrol", event="paid")]),
        (900, [finished("cancelled", "cancelled")]),
    )

    assert told(spans)[1:] == [
        ("wait event", 100, 900, "cancelled"),
        ("execute_tool enrol", 100, 900, "cancelled"),
        ("invoke_agent academy", 0, 900, ""),
    ]


def test_calls_that_never_ran_have_no_span() -> None:
    spans = spans_of((0, [asked()]), (100, [took(called("own"), 100), finished("completed")]))

    assert [one.name for one in spans] == ["chat m-1", "invoke_agent academy"]


def test_a_model_that_does_not_reply_is_a_span_with_the_error() -> None:
    ended = RunFinished("failed", "unavailable", "503 from http://secret@model")
    spans = spans_of((0, [asked()]), (8000, [ended]))

    assert told(spans) == [
        ("chat", 0, 8000, "unavailable"),
        ("invoke_agent academy", 0, 8000, "unavailable"),
    ]
    assert spans[0].id == reply_span(RUN, 2)


def test_an_incomplete_run_is_no_error() -> None:
    spans = spans_of((0, [asked()]), (200, [finished("incomplete", "deadline")]))

    assert told(spans)[-1] == ("invoke_agent academy", 0, 200, "")
    assert spans[-1].attributes["twelvefold.run.status"] == "incomplete"


def test_errors_have_a_type_and_no_text() -> None:
    fault = ToolFailed(
        CallId("2.0"), "enrol", "fault", "tell nobody", ToolError("KeyError", "the-secret")
    )
    spans = spans_of(
        (0, [asked()]),
        (
            100,
            [
                took(called("enrol", "no_such_tool"), 100),
                fault,
                failed("2.1", "no_such_tool", "unknown_tool"),
            ],
        ),
    )

    assert told(spans)[1:] == [
        ("execute_tool enrol", 100, 100, "KeyError"),
        ("execute_tool unknown", 100, 100, "unknown_tool"),
    ]
    assert not any(secret in repr(spans) for secret in (*SECRETS, "no_such_tool"))


def test_a_reply_has_its_model_and_its_tokens() -> None:
    usage = Usage(100, 20, 60, 5, estimated=True)
    reply = replied(function_call("enrol"), usage=usage)
    cut = replied(assistant("…"), ended="max_output_tokens")

    first, second = spans_of(
        (0, [asked(stream=True)]), (50, [took(reply, 50)]), (90, [took(cut, 40)])
    )

    assert first.kind == "client"
    assert first.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.conversation.id": f"conv_{RUN.thread}",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "m-1",
        "gen_ai.response.model": "m-1",
        "gen_ai.response.finish_reasons": ("tool_calls",),
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.cache_read.input_tokens": 60,
        "gen_ai.usage.reasoning.output_tokens": 5,
        "twelvefold.usage.estimated": True,
        "gen_ai.request.stream": True,
    }
    assert second.attributes["gen_ai.response.finish_reasons"] == ("length",)


def test_the_run_has_the_tokens_of_its_replies() -> None:
    root = spans_of(
        (0, [asked()]), (50, [called("enrol"), succeeded()]), (90, [said(), finished()])
    )[-1]

    assert root.attributes["gen_ai.usage.input_tokens"] == 200
    assert root.attributes["gen_ai.usage.output_tokens"] == 20
    assert root.attributes["gen_ai.agent.version"] == "1.0"


STORY: list[tuple[int, Sequence[Event]]] = [
    (0, [asked("enrol me")]),
    (100, [took(called("enrol", code="the-secret"), 50), took(succeeded(result="tell nobody"), 9)]),
    (200, [took(said("Done: the-secret"), 50), finished()]),
]


def test_no_text_of_the_run_is_in_its_spans() -> None:
    assert not any(secret in repr(spans_of(*STORY)) for secret in SECRETS)


def test_texts_are_in_the_spans_if_the_operator_opts_in() -> None:
    first, call, second, root = spans_of(*STORY, content=True)

    def text(span: Span, name: str) -> Any:
        return json.loads(str(span.attributes[name]))

    question = [{"role": "user", "parts": [{"type": "text", "content": "enrol me"}]}]
    assert text(first, "gen_ai.input.messages") == question
    (asks,) = text(first, "gen_ai.output.messages")
    assert asks["finish_reason"] == "tool_calls"
    assert asks["parts"][0]["arguments"] == '{"code": "the-secret"}'
    assert call.attributes["gen_ai.tool.call.arguments"] == '{"code": "the-secret"}'
    assert call.attributes["gen_ai.tool.call.result"] == "tell nobody"
    (told_model,) = text(second, "gen_ai.input.messages")
    assert told_model["parts"][0]["response"] == "tell nobody"
    assert text(root, "gen_ai.input.messages") == question
    assert "Done: the-secret" in str(root.attributes["gen_ai.output.messages"])


def test_texts_of_other_items_have_their_kind() -> None:
    image = {"type": "message", "role": "user", "content": [{"type": "input_image"}]}
    results = {"type": "function_call_output", "call_id": "c1", "output": "42"}
    content = SpanContent()
    content.start(replace(asked(), items=(image, results, {"type": "reasoning"}, user(""))))

    texts = json.loads(content.run()["gen_ai.input.messages"])

    assert [one["parts"] for one in texts] == [
        [],
        [{"type": "tool_call_response", "id": "c1", "response": "42"}],
        [{"type": "reasoning"}],
        [],
    ]


def test_entries_that_come_one_commit_at_a_time_make_the_same_spans() -> None:
    entries = journal(*STORY)
    piecewise = RunSpans(TRACE)

    spans = [
        span
        for at_us in sorted({one.at_us for one in entries})
        for span in piecewise.add([one for one in entries if one.at_us == at_us])
    ]

    assert spans == RunSpans(TRACE).add(entries)
    assert piecewise.position == entries[-1].position


def test_entries_of_other_runs_and_items_change_nothing() -> None:
    other = Entry(9, 2, asked(), 0, 5)
    added = Entry(10, 1, ItemsAdded((user("x"),)), 0, 6)

    assert RunSpans(TRACE).add([other, added]) == []


def test_a_run_of_a_caller_has_the_caller_as_its_parent() -> None:
    trace = RunTrace(RUN, "1" * 32, TRACE.root, "2" * 16)

    root = RunSpans(trace).add(journal((0, [asked()]), (9, [took(said(), 5), finished()])))[-1]

    assert root.parent == "2" * 16
