"""`twelvefold runs list` with conditions."""

import asyncio
import json

import pytest

from tests.cli.conftest import ModelServer, Twelvefold
from tests.cli.outbox_store import with_store
from tests.services.model.mock_server import refuses
from twelvefold.cli import run_list
from twelvefold.core.ids import RunId
from twelvefold.services.store.sqlite.store import SQLiteStore

pytestmark = pytest.mark.usefixtures("shop")


def listed(tw: Twelvefold, *arguments: str) -> list[str]:
    done = tw("runs", "list", "--json", *arguments)
    assert (done.status, done.err) == (0, "")
    return [json.loads(line)["run"] for line in done.lines]


def test_runs_are_selected_by_their_facts(tw: Twelvefold, shop: ModelServer) -> None:
    done = tw("run", "--json", "hello").json["run"]
    shop.will(refuses(400, {"message": "the printer is on fire"}))
    failed = tw("run", "--json", "--as", "ann", "hello").json["run"]

    assert listed(tw) == [failed, done]
    assert listed(tw, "--failed") == [failed]
    assert listed(tw, "--status", "completed") == [done]
    assert listed(tw, "--principal", "ann") == [failed]
    assert listed(tw, "--principal", "local", "--workflow", "shop") == [done]
    assert listed(tw, "--workflow", "desk") == []
    assert listed(tw, "--since", "1h") == [failed, done]
    assert listed(tw, "--until", "1h") == []
    assert listed(tw, "--search", "PRINTER is on") == [failed]
    assert listed(tw, "--search", done) == [done]
    assert listed(tw, "--limit", "1") == [failed]


def test_an_empty_period_is_bad_usage(tw: Twelvefold) -> None:
    done = tw("runs", "list", "--since", "1h", "--until", "60m")

    assert (done.status, done.out) == (2, "")
    assert done.err == "twelvefold: --since must go back further than --until\n"


def test_a_run_in_json_has_its_attempts_and_its_parent(tw: Twelvefold) -> None:
    tw("run", "hello")

    row = tw("runs", "list", "--json").json

    assert (row["attempts"], row["parent"]) == (0, None)
    assert row["updated_at_us"] >= row["created_at_us"]


def test_a_deleted_conversation_has_facts_and_no_text(tw: Twelvefold, shop: ModelServer) -> None:
    shop.will(refuses(400, {"message": "the printer is on fire"}))
    run = tw("run", "--json", "hello").json["run"]

    asyncio.run(with_store(lambda store: store.delete_thread(RunId.parse(run).thread)))

    row = tw("runs", "list", "--json").json
    assert (row["run"], row["status"], row["error"]) == (run, "failed", "")
    assert listed(tw, "--search", "printer") == []
    for command in ("show", "events", "export"):
        for id, kind in ((run, "run"), (row["thread"], "thread")):
            done = tw("runs", command, id)
            assert (done.status, done.out) == (2, "")
            assert f"no {kind} {id}" in done.err


def test_failed_excludes_another_status(tw: Twelvefold) -> None:
    assert tw("runs", "list", "--failed", "--status", "queued").status == 2


def test_a_page_without_runs_is_continued(tw: Twelvefold, monkeypatch: pytest.MonkeyPatch) -> None:
    from twelvefold.services.store.sql import operations

    tw("run", "hello")
    first = tw("run", "--json", "--as", "ann", "hello").json["run"]
    for _ in range(3):
        tw("run", "hello")
    monkeypatch.setattr(operations, "SCAN_ROWS", 1)

    assert listed(tw, "--principal", "ann", "--workflow", "shop") == [first]


def test_a_search_that_reads_too_much_ends_with_a_hint(
    tw: Twelvefold, monkeypatch: pytest.MonkeyPatch
) -> None:
    tw("run", "hello")
    find_runs = SQLiteStore.find_runs

    async def endless(self: SQLiteStore, filter, *, limit, after=None):  # type: ignore[no-untyped-def]
        found = await find_runs(self, filter, limit=limit, after=None)
        return found._replace(runs=[], end=found.runs[0].record.run)

    monkeypatch.setattr(SQLiteStore, "find_runs", endless)
    monkeypatch.setattr(run_list, "MAX_PAGES", 3)

    done = tw("runs", "list", "--json")

    assert (done.status, done.out) == (0, "")
    assert "there may be more runs; --since" in done.err
