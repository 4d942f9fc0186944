"""Runs of a workflow with an output type: corrections, streams, and kills at every place."""

import asyncio
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field

from tests.builders import user
from tests.engine.deltas.stories import STREAMED, StreamingModel, a_moment, deltas, restart
from tests.engine.stage import (
    Crash,
    RecordingListener,
    Stage,
    Trouble,
    after_start,
    buy,
    kill,
    refund,
    resume,
    staged,
    start,
)
from twelvefold.core import output_of
from twelvefold.core.events import (
    DEFAULT_OPTIONS,
    ApprovalAsked,
    Event,
    Item,
    ModelReplied,
    RequestOptions,
    RunFinished,
    ToolSucceeded,
)
from twelvefold.core.ids import RunId
from twelvefold.core.output import BESIDE_CALLS
from twelvefold.core.ports import Listener, ModelRequest, NullListener
from twelvefold.core.workflow import Workflow
from twelvefold.engine.commands import answer
from twelvefold.engine.drive import Outcome, drive
from twelvefold.engine.services import Services, prepare
from twelvefold.services.model.scripted import Scripted, ScriptedModel, calls, says


class Sale(BaseModel):
    """What was sold."""

    item: str
    price: int = Field(gt=0)


TYPED = Workflow[Any]("shop", "Sell.", (buy, refund), output=Sale, output_corrections=2)
GOOD = '{"item": "a lamp", "price": 7}'
BAD = '{"item": "a lamp", "price": 0}'
PROBLEM = "price: Input should be greater than 0"
LAMP = {"item": "a lamp"}


def typed(stage: Stage, *replies: Scripted, **more: Any) -> Services:
    """Return a process whose model gives these replies in order.

    Any process gives the same, because the place in the order is that of the last reply that the
    request has.
    """
    model = more.pop("model", None) or ScriptedModel(lambda request: _next(replies, request))
    return stage.process(workflow=TYPED, model=model, **more)


def _next(replies: Sequence[Scripted], request: ModelRequest) -> Scripted:
    turn = max(at for at, item in enumerate(request.items) if item == user("a lamp, please"))
    own = [item for item in request.items[turn + 1 :] if not _is_the_users(item)]
    given = [at for at, reply in enumerate(replies) if own and _is_same(reply, own[-1])]
    return replies[given[-1] + 1] if given else replies[0]


def _is_the_users(item: Item) -> bool:
    return item.get("role") == "user" or item["type"] == "function_call_output"


def _is_same(reply: Scripted, item: Item) -> bool:
    last = reply[-1] if isinstance(reply, list) else {}
    return all(last.get(key) == item.get(key) for key in ("content", "name", "arguments"))


async def driven(
    stage: Stage,
    *replies: Scripted,
    options: RequestOptions = DEFAULT_OPTIONS,
    listener: Listener | None = None,
) -> Outcome:
    services = typed(stage, *replies)
    return await drive(services, await start(services, options=options), listener or NullListener())


def outline(events: list[Event]) -> list[object]:
    """Return a journal with the problems of its replies alone."""
    return [
        event.problems if isinstance(event, ModelReplied) else type(event).__name__
        for event in after_start(events)
    ]


async def test_an_invalid_output_goes_back_to_the_model(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    outcome = await driven(stage, says(BAD), says(GOOD))

    assert outline(await stage.journal(outcome.run)) == [(PROBLEM,), (), "RunFinished"]
    assert output_of(outcome.thread, TYPED) == Sale(item="a lamp", price=7)
    first, second = stage.requests
    assert first.options == second.options
    assert [item["role"] for item in second.items] == ["user", "assistant", "user"]
    assert PROBLEM in second.items[-1]["content"]
    replies = [vars(line) for line in caplog.records if line.message == "model_replied"]
    assert [("'problems': 1" in str(line), PROBLEM in str(line)) for line in replies] == [
        (True, False),
        (False, False),
    ]


async def test_the_next_run_does_not_see_the_invalid_output(stage: Stage) -> None:
    services = typed(stage, says(BAD), says(GOOD))
    first = await drive(services, await start(services), NullListener())

    await drive(services, await start(services, thread=first.run.thread), NullListener())

    question, answer, again = stage.requests[2].items
    assert question == again == user("a lamp, please")
    assert answer["content"][0]["text"] == GOOD
    assert len(stage.requests[3].items) == 5


async def test_too_many_invalid_outputs_fail_the_run(stage: Stage) -> None:
    outcome = await driven(stage, says("no"), says("never"), says(BAD), says(GOOD))

    assert outcome.status == (await stage.record(outcome.run)).status == "failed"
    *_, last = await stage.journal(outcome.run)
    error = f"the model's output was invalid three times; the last problems: {PROBLEM}"
    assert last == RunFinished("failed", "invalid_output", error)
    assert (await stage.record(outcome.run)).error == error
    assert output_of(outcome.thread, TYPED) is None


async def test_a_tool_runs_before_the_output(stage: Stage) -> None:
    outcome = await driven(stage, says("I will.") + calls(("buy", LAMP)), says(BAD), says(GOOD))

    events = await stage.journal(outcome.run)
    assert outline(events) == [(BESIDE_CALLS,), "ToolSucceeded", (PROBLEM,), (), "RunFinished"]
    assert await stage.bought() == ["a lamp"]


async def test_an_approval_comes_before_the_output(stage: Stage) -> None:
    replies = calls(("buy", LAMP)), calls(("refund", LAMP)), says(BAD), says(GOOD)
    services = typed(stage, *replies)
    waiting = await drive(services, await start(services), NullListener())
    assert isinstance((await stage.journal(waiting.run))[-1], ApprovalAsked)

    await answer(services, waiting.run, approved=True, by="bob")
    outcome = await resume(typed(stage, *replies), waiting.run)

    assert outcome.status == "completed"
    assert output_of(outcome.thread, TYPED) == Sale(item="a lamp", price=7)
    assert await stage.bought() == []


async def test_a_run_that_ends_with_calls_for_the_caller_has_no_output(stage: Stage) -> None:
    own = {"type": "function", "name": "ask", "parameters": {"type": "object", "properties": {}}}

    outcome = await driven(stage, calls(("ask", {})), options=RequestOptions(tools=(own,)))

    assert outcome.status == "completed"
    assert output_of(outcome.thread, TYPED) is None


async def test_a_refusal_ends_the_run_as_it_does_without_a_type(stage: Stage) -> None:
    part = {"type": "refusal", "refusal": "I must not."}
    refusal = [{"type": "message", "role": "assistant", "content": [part]}]

    outcome = await driven(stage, refusal)

    assert outcome.status == "completed"
    assert output_of(outcome.thread, TYPED) is None


async def test_text_is_held_back_from_a_listener(stage: Stage) -> None:
    listener = RecordingListener()

    await driven(stage, says(BAD), says(GOOD), listener=listener)

    assert listener.texts == []
    assert [type(entry.event) for entry in listener.entries] == [
        ModelReplied,
        ModelReplied,
        RunFinished,
    ]


@pytest.mark.usefixtures("frequent_deltas")
@pytest.mark.parametrize("text", [BAD, GOOD])
async def test_text_is_held_back_from_readers_of_the_stream(stage: Stage, text: str) -> None:
    seen = []

    async def look(_: Listener) -> None:
        await a_moment(_)
        await asyncio.sleep(0.01)
        seen.extend(await deltas(stage, held.run))

    held = await start(typed(stage), options=STREAMED)
    model = StreamingModel(text[:9], look, restart, text[:9], look, text[9:])
    await drive(typed(stage, model=model), held, NullListener())

    _, reply, *_ = await stage.journal(held.run)
    assert seen == []
    assert isinstance(reply, ModelReplied)
    assert (reply.first_delta, reply.cuts) == (0, ())


def test_preparing_a_process_builds_the_type(stage: Stage) -> None:
    workflow = Workflow[Any]("shop", "Sell.", output=Sale)

    prepare(stage.process(workflow=workflow))

    assert workflow.output_type is not None
    assert "_built" in vars(workflow.output_type)


def test_a_type_that_cannot_be_built_does_not_stop_the_process(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    class Early(BaseModel):
        later: "Later"  # type: ignore[name-defined]  # noqa: F821 - it is never defined

    prepare(stage.process(workflow=Workflow[Any]("shop", "Sell.", output=Early)))

    assert "output_not_prepared" in caplog.text


@pytest.mark.parametrize("options", [DEFAULT_OPTIONS, STREAMED], ids=["plain", "streamed"])
async def test_the_correction_survives_a_kill_at_every_place(
    template: Path, options: RequestOptions
) -> None:
    replies = says("I will.") + calls(("buy", LAMP)), says(BAD), says("no"), says(GOOD)
    expected = [(BESIDE_CALLS,), "ToolSucceeded", (PROBLEM,)]

    for at in count(1):
        async with staged(template) as stage:
            run, was_killed = await _killed_once(stage, replies, options, at)
            events = await stage.journal(run)
            *first, invalid, valid, last = outline(events)
            assert (first, valid, last) == (expected, (), "RunFinished"), at
            assert str(invalid).startswith("('Invalid JSON"), at
            assert await stage.bought() == ["a lamp"], at
            assert sum(isinstance(event, ToolSucceeded) for event in events) == 1
        if not was_killed:
            assert at > 20
            return


async def _killed_once(
    stage: Stage, replies: tuple[Any, ...], options: RequestOptions, at: int
) -> tuple[RunId, bool]:
    """Drive a run by a process that is killed at the n-th place, then by another one."""
    run = (await start(typed(stage), options=options)).run
    await stage.let_leases_run_out()
    task = asyncio.ensure_future(resume(typed(stage, *replies, trouble=Trouble(kill, at=at)), run))
    await asyncio.wait([task])
    if task.exception():
        assert isinstance(task.exception(), Crash)
        await stage.let_leases_run_out()
        if (await stage.record(run)).status != "completed":
            await resume(typed(stage, *replies), run)
        return run, True
    return run, False
