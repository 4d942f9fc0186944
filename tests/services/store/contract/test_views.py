"""The views of the journal, on every database."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.builders import HASH, asked
from tests.docs.pages import ROOT
from tests.services.store.builders import append, leased, new_run, rows
from tests.services.store.mysql.server_reads import Reads
from twelvefold.core.events import (
    ApprovalAnswered,
    ModelAttempt,
    ModelReplied,
    OutcomeUnknown,
    RunFinished,
    ToolError,
    ToolFailed,
    ToolSucceeded,
    Usage,
)
from twelvefold.core.ids import CallId
from twelvefold.core.ports import Lease, Store

PAGE = ROOT / "docs" / "howto" / "queries.md"
RUN = ("run_id", "thread_id", "ordinal", "workflow", "principal", "release_id")
USAGE = Usage(input_tokens=10, output_tokens=5, cached_tokens=2, reasoning_tokens=1)
FIRST, SECOND = CallId("2.0"), CallId("2.1")


async def view(store: Store, name: str) -> list[dict[str, Any]]:
    return await rows(store, f"SELECT * FROM twelvefold_{name} ORDER BY run_id")


def columns_of(row: dict[str, Any], *names: str) -> list[Any]:
    return [row[name] for name in names]


async def replied(store: Store, **fields: Any) -> Lease:
    """Start a run with one reply."""
    lease = await leased(store)
    reply = ModelReplied((), USAGE, "gpt-5-mini-2026", HASH, **fields)
    await append(store, lease, 1, reply, usage=USAGE)
    return lease


async def test_a_run_is_a_row(store: Store) -> None:
    lease = await replied(store)
    await append(store, lease, 2, RunFinished("failed"), status="failed", error="it broke")
    waiting = new_run()
    await store.start(waiting, asked(), None)

    over, queued = await view(store, "runs")

    run = lease.run
    assert columns_of(over, *RUN) == [str(run), run.thread, 1, "academy", "ann", "1.0"]
    assert columns_of(over, "status", "error", "background", "attempts", "parent_run_id") == [
        *("failed", "it broke", 0, 0, None)
    ]
    tokens = ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens")
    assert columns_of(over, *tokens) == [10, 2, 5, 1]
    assert over["finished_us"] >= over["created_us"]
    assert float(over["seconds"]) == pytest.approx(
        (over["finished_us"] - over["created_us"]) / 1_000_000, abs=0.001
    )
    assert columns_of(queued, "run_id", "status", "finished_at") == [
        *(str(waiting.run), "queued", None)
    ]
    assert columns_of(queued, *tokens, "seconds") == [0, 0, 0, 0, None]


@pytest.mark.parametrize("deleted", ["run", "conversation"])
async def test_a_deleted_run_has_no_text(store: Store, deleted: str) -> None:
    lease = await replied(store)
    answer = ApprovalAnswered(FIRST, False, "ann", "too expensive")
    await append(store, lease, 2, answer, RunFinished("failed"), status="failed", error="it broke")
    before = [*await view(store, "runs"), *await view(store, "approvals")]
    if deleted == "run":
        await store.delete_run(lease.run)
    else:
        await store.delete_thread(lease.run.thread)

    [run], [approval] = await view(store, "runs"), await view(store, "approvals")

    assert run["error"] == approval["reason"] == ""
    assert [run | {"error": "it broke"}, approval | {"reason": "too expensive"}] == before


async def test_a_run_of_an_older_release_has_the_workflow_of_its_thread(store: Store) -> None:
    await leased(store)
    async with store.write() as tx:
        await tx.execute("UPDATE runs SET workflow = NULL, principal = NULL")

    [run] = await view(store, "runs")

    assert columns_of(run, "workflow", "principal") == ["academy", "ann"]


async def test_a_child_names_the_run_that_started_it(store: Store) -> None:
    parent = await leased(store)
    child = await leased(store)
    async with store.write() as tx:
        await tx.execute(
            "UPDATE threads SET parent_thread = :parent, parent_run = 1 WHERE id = :id",
            parent=parent.run.thread,
            id=child.run.thread,
        )

    runs = {row["run_id"]: row["parent_run_id"] for row in await view(store, "runs")}

    assert runs == {str(parent.run): None, str(child.run): str(parent.run)}


async def test_times_are_in_utc_whatever_the_session_says(store: Store) -> None:
    await leased(store)

    [run] = await view(store, "runs")

    created_at = datetime.fromisoformat(str(run["created_at"])).replace(tzinfo=UTC)
    assert created_at.timestamp() == pytest.approx(run["created_us"] / 1_000_000, abs=0.002)


async def test_a_reply_is_a_row(store: Store) -> None:
    await replied(
        store, named="fast", attempts=(ModelAttempt("slow", "503"),), ended="content_filter"
    )
    await replied(store)

    named, default = await view(store, "replies")

    assert columns_of(named, "position", "model", "model_name", "ended", "failed_models") == [
        *(2, "gpt-5-mini-2026", "fast", "content_filter", 1)
    ]
    assert columns_of(named, "input_tokens", "cached_tokens", "output_tokens") == [10, 2, 5]
    assert columns_of(default, "model_name", "ended", "failed_models") == [
        *("default", "completed", 0)
    ]
    assert columns_of(default, "workflow", "principal", "release_id") == ["academy", "ann", "1.0"]


async def test_a_call_is_a_row_with_the_model_that_made_it(store: Store) -> None:
    lease = await replied(store, named="fast")
    error = ToolError("ValueError", "the text of a tool")
    failed = ToolFailed(SECOND, "buy", "fault", "a text for the model", error)
    await append(store, lease, 2, ToolSucceeded(FIRST, "look", "a result"), failed)
    other = await leased(store)
    await append(store, other, 1, OutcomeUnknown(CallId("1.0"), "ship"))

    look, buy, ship = await view(store, "calls")

    assert columns_of(look, "call_key", "call_id", "position", "tool", "outcome", "error_type") == [
        *(f"{lease.run.thread}:2.0", "2.0", 3, "look", "succeeded", None)
    ]
    assert columns_of(look, *RUN) == [str(lease.run), lease.run.thread, 1, "academy", "ann", "1.0"]
    assert columns_of(look, "model", "model_name") == ["gpt-5-mini-2026", "fast"]
    assert columns_of(buy, "call_id", "outcome", "error_type") == ["2.1", "fault", "ValueError"]
    assert columns_of(ship, "outcome", "model", "model_name") == ["unknown", None, None]


async def test_an_answer_to_an_approval_is_a_row(store: Store) -> None:
    lease = await leased(store)
    yes, no = ApprovalAnswered(FIRST, True, "eve"), ApprovalAnswered(SECOND, False, "bob", "no")
    await append(store, lease, 1, yes, no)

    first, second = await view(store, "approvals")

    answered = ("call_id", "approved", "answered_by", "reason", "principal")
    assert columns_of(first, *answered) == ["2.0", 1, "eve", "", "ann"]
    assert columns_of(second, *answered) == ["2.1", 0, "bob", "no", "ann"]


async def test_no_view_has_the_text_of_a_conversation(store: Store) -> None:
    secret = "a secret text"
    item = {"type": "message", "role": "assistant", "content": secret}
    lease = await leased(store)
    reply = ModelReplied((item,), USAGE, "m", HASH)
    failed = ToolFailed(FIRST, "buy", "fault", secret, ToolError("ValueError", secret))
    await append(store, lease, 1, reply, ToolSucceeded(FIRST, "look", secret), failed)

    for name in ("runs", "replies", "calls", "approvals"):
        assert secret not in str(await view(store, name))


async def test_the_page_names_the_columns_of_each_view(store: Store) -> None:
    lease = await replied(store)
    await append(
        store, lease, 2, ToolSucceeded(FIRST, "a", "b"), ApprovalAnswered(FIRST, True, "e")
    )
    documented = re.findall(
        r"^\| `(twelvefold_\w+)` \|[^|]*\|(.*)\|$", PAGE.read_text(), re.MULTILINE
    )

    assert len(documented) == 4
    for name, columns in documented:
        [row] = await rows(store, f"SELECT * FROM {name}")
        assert set(row) == {*RUN, *re.findall(r"`(\w+)`", columns)}


@pytest.mark.mysql
async def test_the_calls_of_a_thread_are_read_from_an_index(mariadb: Store, reads: Reads) -> None:
    for _ in range(30):
        lease = await replied(mariadb)
        await append(mariadb, lease, 2, ToolSucceeded(FIRST, "a", "b"))
    query = "SELECT * FROM twelvefold_calls WHERE thread_id = :thread"

    found, read = await reads.of(rows(reads.store, query, thread=lease.run.thread))

    assert len(found) == 1
    assert read < 20
