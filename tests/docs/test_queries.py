"""The SQL of docs/howto/queries.md, on an embedded database and on a server."""

import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.docs.pages import ROOT, blocks
from tests.services.store.builders import on_server
from twelvefold import App, Settings
from twelvefold.core import Store
from twelvefold.errors import StoreFailed
from twelvefold.services.model.scripted import ScriptedModel, calls, in_turn, says
from twelvefold.services.store import open_store
from twelvefold.services.store.migrate import migrate

PAGE = ROOT / "docs" / "howto" / "queries.md"
BLOCKS = list(blocks(PAGE))
QUERIES = [block.text for block in BLOCKS if block.language == "sql"]
"""In the order of the page; the last one is of an administrator."""

TAKE = calls(("take_seat", {"seat": "12A"}))


@pytest.fixture(params=["sqlite", pytest.param("mariadb", marks=pytest.mark.mysql)])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """A database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/train.db"
        return
    server, name = os.environ["DATABASE_URL"], f"queries_{secrets.token_hex(6)}"
    await on_server(server, f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    yield urlsplit(server)._replace(path=f"/{name}").geturl()
    await on_server(server, f"DROP DATABASE {name}")


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    """The database after a run that took a seat, and one that failed."""
    page = ModuleType("seats")
    [code] = [block.text for block in BLOCKS if block.file == "seats.py"]
    exec(compile(code, str(PAGE), "exec"), page.__dict__)
    await migrate(url)
    store = await open_store(url)
    await store.run_script(page.workflow.schema)
    model = ScriptedModel(in_turn(TAKE, says("Yours."), TAKE, TAKE, TAKE))
    settings = Settings(database_url=url, release_id="v7")
    async with App([page.workflow], settings=settings, model=model) as app:
        assert (await app.run("seats", "12A, please", principal="ann")).status == "completed"
        # The seat is taken: the tool raises, three times.
        assert (await app.run("seats", "12A, please", principal="bob")).status == "failed"
    yield store
    await store.close()


async def answer(store: Store, number: int) -> list[dict[str, Any]]:
    async with store.read() as db:
        return await db.fetch_all(QUERIES[number])


async def test_every_query_runs(store: Store) -> None:
    for number in range(len(QUERIES) - 1):
        await answer(store, number)


async def test_a_row_leads_to_its_call_and_a_run_to_its_rows(store: Store) -> None:
    [seat] = await answer(store, 0)
    [row] = await answer(store, 1)

    assert (seat["seat"], seat["passenger"], seat["principal"]) == ("12A", "ann", "ann")
    assert (seat["tool"], seat["call_id"]) == ("take_seat", "2.0")
    assert (seat["model"], seat["release_id"]) == ("scripted", "v7")
    assert (row["seat"], row["run_id"], row["status"]) == ("12A", seat["run_id"], "completed")


async def test_tokens_are_summed_by_day_workflow_and_model(store: Store) -> None:
    [day] = await answer(store, 3)

    assert (day["workflow"], day["model"], day["replies"]) == ("seats", "scripted", 5)
    assert day["input_tokens"] > 0


async def test_cost_is_summed_by_day_and_workflow(store: Store) -> None:
    async with store.write() as tx:
        await tx.execute(
            "INSERT INTO usage_days (day, workflow, runs, failed, input_tokens, output_tokens, "
            "cached_tokens, micro_usd) VALUES ('2001-02-03', 'seats', 2, 1, 90, 10, 0, 2500)"
        )

    days = await answer(store, 4)

    [found] = [day for day in days if day["day"] == "2001-02-03"]
    assert (found["workflow"], found["failed"], float(found["usd"])) == ("seats", 1, 0.0025)


async def test_failures_are_found_by_run_tool_and_release(store: Store) -> None:
    [failed] = await answer(store, 5)
    [fault] = await answer(store, 6)
    [release] = await answer(store, 7)

    assert (failed["principal"], failed["release_id"]) == ("bob", "v7")
    assert "DuplicateRow" in failed["error"]
    assert (fault["tool"], fault["outcome"], fault["calls"]) == ("take_seat", "fault", 3)
    assert fault["error_type"] == "DuplicateRow"
    assert (release["release_id"], release["runs"], release["failed"]) == ("v7", 2, 1)


@pytest.mark.parametrize("url", [pytest.param("mariadb", marks=pytest.mark.mysql)], indirect=True)
async def test_an_account_for_reports_reads_no_conversation(store: Store, url: str) -> None:
    account, parts = f"reports_{secrets.token_hex(4)}", urlsplit(url)
    script = QUERIES[-1].replace("twelvefold.", f"{parts.path[1:]}.").replace("reports", account)
    await on_server(url, *(one for one in script.split(";") if one.strip()))
    netloc = f"{account}:a%20password@{parts.hostname}:{parts.port}"
    reports = await open_store(parts._replace(netloc=netloc).geturl())

    async with reports.read() as db:
        [call] = await db.fetch_all("SELECT * FROM twelvefold_calls WHERE outcome = 'succeeded'")
    # A missing privilege ends the reading.
    with pytest.raises(StoreFailed, match="command denied"):
        async with reports.read() as db:
            await db.fetch_all("SELECT * FROM events")

    assert call["tool"] == "take_seat"
    await reports.close()
    await on_server(url, f"DROP USER {account}")
