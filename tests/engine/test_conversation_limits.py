"""A conversation has a maximum size: a run that reaches it ends, a turn beyond it is refused."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.builders import user
from tests.engine.stage import ANN, LIMITS, Stage, start
from twelvefold.core.budget import Limits
from twelvefold.core.events import (
    Event,
    ItemsAdded,
    RunFinished,
    ToolFailed,
    ToolSucceeded,
)
from twelvefold.core.ports import NullListener
from twelvefold.core.request import build_request
from twelvefold.core.thread import fold
from twelvefold.engine.commands import RunRequest, check_room, enqueue_run, fork_at, start_run
from twelvefold.engine.drive import Outcome, drive
from twelvefold.engine.services import Services
from twelvefold.errors import ConversationTooLarge
from twelvefold.services.model.scripted import calls, says

LAMP = {"item": "a lamp"}
LOOKS = [calls(("look", LAMP))] * 9


def limited(**most: Any) -> Limits:
    return replace(LIMITS, **most)


async def outcome(services: Services, *texts: str, **how: object) -> Outcome:
    held = await start_run(
        services,
        RunRequest(
            workflow="shop",
            principal=ANN,
            items=[user(text) for text in texts or ("hello",)],
            **how,  # type: ignore[arg-type]
        ),
    )
    return await drive(services, held, NullListener())


def kinds(events: Sequence[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


# --- before a run


async def test_a_turn_is_refused_if_too_few_entries_are_left(stage: Stage) -> None:
    services = stage.process(says("hi"), says("hi"), limits=limited(conversation_entries=5))
    first = await outcome(services)

    with pytest.raises(ConversationTooLarge, match="MAX_CONVERSATION_ENTRIES is 5; start a new"):
        await outcome(services, thread=first.run.thread)

    assert len(await stage.journal(first.run)) == 3


async def test_a_turn_is_refused_if_too_few_bytes_are_left(stage: Stage) -> None:
    services = stage.process(says("hi"), says("hi"), limits=limited(conversation_bytes=2_000))
    first = await outcome(services, "x" * 500)

    with pytest.raises(ConversationTooLarge, match="MAX_CONVERSATION_BYTES is 2000"):
        await outcome(services, "x" * 1_500, thread=first.run.thread)
    with pytest.raises(ConversationTooLarge):
        await outcome(services, "x" * 2_000)
    second = await outcome(services, "x" * 500, thread=first.run.thread)

    assert second.status == "completed"


async def test_a_background_run_is_checked_as_well(stage: Stage) -> None:
    services = stage.process(says("hi"), limits=limited(conversation_entries=5))
    first = await outcome(services)

    with pytest.raises(ConversationTooLarge):
        await enqueue_run(
            services,
            RunRequest(workflow="shop", principal=ANN, items=[user("hi")], thread=first.run.thread),
        )


async def test_a_fork_counts_the_entries_before_its_position_only(stage: Stage) -> None:
    services = stage.process(*[says("hi")] * 3, limits=limited(conversation_entries=6))
    first = await outcome(services)
    thread = first.run.thread
    assert (await outcome(services, thread=thread)).status == "completed"

    with pytest.raises(ConversationTooLarge):
        await outcome(services, thread=thread)
    fork = await fork_at(services, thread, 3)
    assert (await outcome(services, thread=fork)).status == "completed"
    with pytest.raises(ConversationTooLarge):
        await outcome(services, thread=fork)
    with pytest.raises(ConversationTooLarge):
        await outcome(services, thread=thread, position=6, fork=True)
    assert (await outcome(services, thread=thread, position=3, fork=True)).status == "completed"


def test_check_room_for_one_more_entry() -> None:
    limits = limited(conversation_entries=10, conversation_bytes=100)

    check_room(9, 50, 49, limits)
    with pytest.raises(ConversationTooLarge, match="ENTRIES"):
        check_room(10, 50, 1, limits)
    with pytest.raises(ConversationTooLarge, match="BYTES"):
        check_room(1, 50, 50, limits)


# --- during a run


async def test_a_run_that_reaches_the_limit_ends_with_results_for_its_calls(stage: Stage) -> None:
    services = stage.process(*LOOKS, limits=limited(conversation_entries=6))

    ended = await outcome(services)

    assert (ended.status, ended.thread.reason) == ("incomplete", "conversation_entries")
    assert "MAX_CONVERSATION_ENTRIES is 6" in ended.error
    journal = await stage.journal(ended.run)
    pairs = ["ModelReplied", "ToolSucceeded"]
    assert kinds(journal) == ["RunStarted", *pairs, *pairs, "ModelReplied", "RunFinished"]
    assert journal[-1] == RunFinished("incomplete", "conversation_entries", ended.error)


async def test_a_long_reply_passes_the_limit_once_and_ends_the_run(stage: Stage) -> None:
    services = stage.process(
        [*says("x" * 3_000), *calls(("buy", LAMP))], limits=limited(conversation_bytes=2_000)
    )

    ended = await outcome(services)

    assert (ended.status, ended.thread.reason) == ("incomplete", "conversation_bytes")
    assert kinds(await stage.journal(ended.run)) == ["RunStarted", "ModelReplied", "RunFinished"]
    assert await stage.bought() == []


async def test_a_full_conversation_can_be_forked_from_an_earlier_reply(
    stage: Stage,
) -> None:
    services = stage.process(says("hi"), *LOOKS, limits=limited(conversation_entries=8))
    first = await outcome(services)
    full = await outcome(services, thread=first.run.thread)
    assert full.thread.reason == "conversation_entries"

    goes_on = stage.process(says("hi"), says("here"), limits=limited(conversation_entries=8))
    forked = await outcome(goes_on, thread=first.run.thread, position=3, fork=True)

    assert forked.status == "completed"


async def test_a_history_that_ended_at_the_limit_is_valid_for_a_model(stage: Stage) -> None:
    services = stage.process(*LOOKS, limits=limited(conversation_entries=6))
    full = await outcome(services)

    larger = stage.process(*LOOKS[:3], says("here"), limits=LIMITS)
    after = await outcome(larger, "go on", thread=full.run.thread)

    assert after.status == "completed"
    items = stage.requests[-1].items
    called = [item["call_id"] for item in items if item["type"] == "function_call"]
    answered = [item["call_id"] for item in items if item["type"] == "function_call_output"]
    assert sorted(called) == sorted(answered)
    assert len(called) == 3


async def test_the_rows_of_a_thread_have_its_size_without_the_last_step(
    stage: Stage,
) -> None:
    services = stage.process(calls(("buy", LAMP)), says("done"))
    ended = await outcome(services)

    size = (await services.store.thread(ended.run.thread)).size
    entries = await stage.entries(ended.run)
    assert size == sum(entry.size for entry in entries[:3])
    assert ended.thread.size == sum(entry.size for entry in entries)


async def test_a_fork_that_starts_with_a_turn_has_its_own_size(stage: Stage) -> None:
    services = stage.process(says("x" * 500))
    first = await outcome(services)
    held = await start_run(
        services,
        RunRequest(
            workflow="shop",
            principal=ANN,
            items=[user("and here")],
            thread=first.run.thread,
            position=1,
            fork=True,
        ),
    )

    record = await services.store.load(held.run.thread)
    assert (await services.store.thread(held.run.thread)).size == record.size
    assert held.thread.size == record.size


# --- replies with many calls


async def test_only_the_allowed_number_of_calls_of_a_reply_run(stage: Stage) -> None:
    many = [("buy", {"item": f"lamp {number}"}) for number in range(500)]
    services = stage.process(calls(*many), says("done"))

    ended = await outcome(services)

    assert ended.status == "completed"
    assert len(await stage.bought()) == 32
    journal = await stage.journal(ended.run)
    assert kinds(journal).count("ToolSucceeded") == 32
    refused = [event for event in journal if isinstance(event, ToolFailed)]
    assert len(refused) == 468
    assert {one.failure for one in refused} == {"not_open"}
    assert {one.message for one in refused} == {
        "Error: not run: a reply may have at most 32 tool calls; call again in smaller groups"
    }
    answered = [one.call for one in journal if isinstance(one, ToolSucceeded | ToolFailed)]
    assert len(set(answered)) == 500


async def test_calls_that_are_not_run_are_written_in_one_commit(stage: Stage) -> None:
    many = [("look", {"item": f"lamp {number}"}) for number in range(500)]
    services = stage.process(calls(*many), says("done"))
    commits: list[int] = []
    append = services.store.append

    def counted(change: object) -> object:
        commits.append(change.adds)  # type: ignore[attr-defined]
        return append(change)  # type: ignore[arg-type]

    services.store.append = counted  # type: ignore[assignment,method-assign]
    ended = await outcome(services)

    assert ended.status == "completed"
    assert commits == [1, 32, 468, 2]


async def test_the_model_is_sent_one_result_for_each_of_its_calls(stage: Stage) -> None:
    many = [("look", {"item": f"lamp {number}"}) for number in range(40)]
    services = stage.process(calls(*many), says("done"))

    ended = await outcome(services)

    items = build_request(ended.thread, services.workflows["shop"], LIMITS).request.items
    results = [item["output"] for item in items if item["type"] == "function_call_output"]
    assert len(results) == 40
    assert sum("smaller groups" in one for one in results) == 8
    assert fold(await stage.entries(ended.run)).size == ended.thread.size


async def test_calls_that_are_not_run_do_not_count_towards_gates(stage: Stage) -> None:
    most = limited(calls_per_reply=2)
    services = stage.process(
        calls(*[("look", LAMP)] * 5), calls(("look", LAMP)), says("done"), limits=most
    )
    held = await start(services)
    ended = await drive(services, held, NullListener())

    assert ended.thread.called == {"look": 3}


async def test_items_between_runs_count(stage: Stage) -> None:
    services = stage.process(says("hi"), limits=limited(conversation_bytes=3_000))
    first = await outcome(services)
    record = await services.store.load(first.run.thread)
    await services.store.add_items(
        first.run.thread, 3, 1, ItemsAdded((user("x" * 2_900),)), thread_size=record.size
    )

    with pytest.raises(ConversationTooLarge):
        await outcome(services, thread=first.run.thread)
