"""Settings become services and workflows; errors name the setting."""

import re
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from twelvefold import Settings, __version__, open_services
from twelvefold.boot import (
    SCHEMA,
    RandomIds,
    check_database,
    embedded_file,
    journal_sql,
    load_workflows,
    migrate_journal,
    now_us,
)
from twelvefold.boot.workflows import with_started
from twelvefold.core.budget import Limits, Price
from twelvefold.core.events import DEFAULT_OPTIONS
from twelvefold.core.ids import family_of, parse_thread_id
from twelvefold.core.ports import ModelRequest, NullListener
from twelvefold.core.workflow import Workflow
from twelvefold.engine.lease import LeaseRenewer, RenewalThread
from twelvefold.errors import ModelUnavailable, SettingsError
from twelvefold.services.store import open_store

FLOW = "from twelvefold import Workflow\n{name} = Workflow({called!r}, 'Talk.', ())\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory whose modules are unloaded afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def problems_of(*paths: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load_workflows(paths)
    return caught.value.problems


def test_workflows_are_imported_from_the_working_directory_in_order(here: Path) -> None:
    (here / "desk.py").write_text(FLOW.format(name="flow", called="desk"))
    (here / "shop.py").write_text(FLOW.format(name="flow", called="shop"))

    assert list(load_workflows(["shop:flow", "desk:flow"])) == ["shop", "desk"]


def test_the_built_in_workflow_does_not_need_the_working_directory(here: Path) -> None:
    before = sys.path[:]

    assert list(load_workflows(Settings().workflows)) == ["enrolment"]
    assert sys.path == before


def test_each_bad_path_is_reported_with_what_was_found(here: Path) -> None:
    (here / "shop.py").write_text(FLOW.format(name="flow", called="shop") + "number = 3\n")
    (here / "broken.py").write_text("\n1 / 0\n")
    (here / "wrong.py").write_text("from twelvefold import tool\n@tool\ndef t(): ...\n")
    (here / "halves.py").write_text("def (\n")
    (here / "needy.py").write_text("import not_there\n")

    problems = problems_of(
        "shop:workflow",
        "shop:number",
        "nowhere:flow",
        "shop.deeper:flow",
        "broken:flow",
        "halves:flow",
        "needy:flow",
        "json:loads",
        "wrong:flow",
    )

    shop = here / "shop.py"
    assert problems[:6] == (
        f"WORKFLOWS: shop:workflow: has no 'workflow'; it has flow ({shop})",
        f"WORKFLOWS: shop:number: number is of type int; it has flow ({shop})",
        f"WORKFLOWS: nowhere:flow: no module 'nowhere' in {here} or installed",
        f"WORKFLOWS: shop.deeper:flow: no module 'shop.deeper' in {here} or installed",
        f"WORKFLOWS: broken:flow: ZeroDivisionError: division by zero ({here}/broken.py, line 2)",
        f"WORKFLOWS: halves:flow: SyntaxError: invalid syntax (halves.py, line 1) "
        f"({here}/halves.py, line 1)",
    )
    assert problems[6].startswith(
        "WORKFLOWS: needy:flow: ModuleNotFoundError: No module named 'not_"
    )
    assert problems[7].startswith(
        "WORKFLOWS: json:loads: loads is of type function; it has no Workflow"
    )
    assert problems[8] == (
        "WORKFLOWS: wrong:flow: WorkflowError: tool t: takes none of Transaction, ReadOnly, "
        'CallKey; declare effect="pure" if it changes nothing anywhere, else effect="unsafe" '
        f"({here}/wrong.py, line 2)"
    )


def test_an_error_in_a_workflow_has_the_line_of_its_author(here: Path) -> None:
    head = "from twelvefold import Workflow, tool\n@tool(effect='pure')\n"
    (here / "loose.py").write_text(head + "def go(): ...\nflow = Workflow('x', '', tools=(go))\n")
    text = "class Odd: ...\n" + head + "def go(a: Odd): ...\nflow = Workflow('x', '', (go,))\n"
    (here / "odd.py").write_text(text)

    loose, odd = problems_of("loose:flow", "odd:flow")

    assert loose.endswith(f"write tools=(go,) ({here}/loose.py, line 4)")
    assert odd.endswith(f" ({here}/odd.py, line 3)")
    assert odd.count(", line ") == 1


def test_two_workflows_with_one_name_are_an_error(here: Path) -> None:
    text = FLOW.format(name="flow", called="shop") + FLOW.format(name="other", called="shop")
    (here / "shop.py").write_text(text)

    assert problems_of("shop:flow", "shop:other") == (
        "WORKFLOWS: shop:other: another workflow is named 'shop'",
    )


RESOURCES = """
from contextlib import asynccontextmanager
from twelvefold import Resource, Workflow, tool

log = []

class Client:
    name = "client"

@asynccontextmanager
async def open_client():
    log.append("opened")
    yield Client()
    log.append("closed")

@tool(effect="pure")
async def ask(client: Resource[Client], what: str) -> str:
    return client.name

flow = Workflow("shop", "Sell.", (ask,), resources=open_client)
without = Workflow("other", "Sell.", (ask,))
"""


def test_the_workflows_that_tools_start_follow_those_of_the_settings() -> None:
    last = Workflow[Any]("last", "Help.", ())
    clerk = Workflow[Any]("clerk", "Help.", (last.as_tool("Asks."),))
    boss = Workflow[Any]("boss", "Lead.", (clerk.as_tool("Asks."),), children=(last,))

    assert with_started({"boss": boss}) == {"boss": boss, "clerk": clerk, "last": last}


def test_two_workflows_with_one_name_that_are_started_are_an_error() -> None:
    one, other = Workflow[Any]("clerk", "Help.", ()), Workflow[Any]("clerk", "Hinder.", ())
    boss = Workflow[Any]("boss", "Lead.", (one.as_tool("Asks."),), children=(other,))

    with pytest.raises(SettingsError, match="boss starts a workflow named 'clerk', and another"):
        with_started({"boss": boss})


async def test_resources_are_closed_with_the_services(here: Path) -> None:
    (here / "shop.py").write_text(RESOURCES)

    async with open_services(Settings(workflows=("shop:flow",)), with_model=False) as services:
        log: list[str] = sys.modules["shop"].log
        assert log == []
        assert await services.resources.open(services.workflows["shop"]) == ("Client",)
        assert log == ["opened"]

    assert log == ["opened", "closed"]


async def test_a_tool_without_its_resource_is_an_error_of_the_settings(here: Path) -> None:
    (here / "shop.py").write_text(RESOURCES)
    settings = Settings(workflows=("shop:without",))
    problem = "WORKFLOWS: workflow other: tool ask takes a Resource of Client, but the workflow has"

    with pytest.raises(SettingsError, match=problem):
        async with open_services(settings, with_model=False):
            pass

    client: type = sys.modules["shop"].Client
    replaced = {client: client()}
    async with open_services(settings, with_model=False, resources=replaced) as services:
        assert await services.resources.open(services.workflows["other"]) == ()


async def test_the_services_have_the_values_of_the_settings(here: Path) -> None:
    settings = Settings(
        openai_api_key="k",
        openai_model="gpt-5-mini",
        max_steps=7,
        run_deadline_s=60.0,
        lease_s=5.0,
        run_budget_tokens=1000,
        run_budget_usd=0.5,
        release_id="r7",
    )

    async with open_services(settings) as services:
        assert services.release == "r7"
        assert list(services.workflows) == ["enrolment"]
        assert services.limits == Limits(
            max_steps=7,
            deadline_s=60.0,
            lease_s=5.0,
            run_tokens=1000,
            run_micro_usd=500_000,
            price=Price(250_000, 25_000, 2_000_000),
            context_tokens=272_000,
        )


async def test_the_defaults_are_an_embedded_database_and_the_demo_model(
    here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    async with open_services(Settings()) as services:
        assert services.release == __version__
        assert services.limits.context_tokens == 272_000

    assert embedded_file(Settings()) == here / "twelvefold.db"
    logged = {record.getMessage(): getattr(record, "fields", {}) for record in caplog.records}
    assert logged["embedded_database"] == {"file": str(here / "twelvefold.db")}
    assert "OPENAI_API_KEY" in logged["demo_model"]["why"]


async def test_the_demo_model_is_free(here: Path) -> None:
    async with open_services(Settings(run_budget_usd=0.5)) as services:
        assert services.limits.price is None


async def test_the_settings_say_what_the_default_model_accepts(here: Path) -> None:
    given = Settings.from_environ({"OPENAI_API_KEY": "k", "OPENAI_ACCEPTS": "Image, file"})

    async with open_services(given) as services:
        (workflow,) = services.workflows.values()
        everything = {"image", "file", "anywhere", "file_url"}
        assert services.inputs(workflow, DEFAULT_OPTIONS)[0] == everything
    async with open_services(replace(given, openai_api="chat")) as services:
        assert services.inputs(workflow, DEFAULT_OPTIONS)[0] == {"image", "file"}
    async with open_services(Settings(openai_api_key="k")) as services:
        assert services.inputs(workflow, DEFAULT_OPTIONS)[0] == set()
    async with open_services(Settings()) as services:  # the demo model
        assert services.inputs(workflow, DEFAULT_OPTIONS)[0] == everything


async def test_an_unknown_model_has_the_default_context_window(here: Path) -> None:
    async with open_services(Settings(openai_model="mine")) as services:
        assert services.limits.context_tokens == 128_000
    async with open_services(Settings(openai_context_tokens=8_192)) as services:
        assert services.limits.context_tokens == 8_192


async def test_services_without_a_model_reject_requests(here: Path) -> None:
    async with open_services(Settings(), with_model=False) as services:
        with pytest.raises(ModelUnavailable):
            await services.model.reply(ModelRequest("", ()), NullListener())


def test_a_thread_id_is_valid_and_sorts_by_its_time() -> None:
    ids = RandomIds()

    first = ids.thread()
    time.sleep(0.002)
    second = ids.thread()

    assert parse_thread_id(first) == first
    assert first < second
    assert abs(int(first[:12], 16) * 1000 - now_us()) < 60_000_000


def test_a_thread_in_a_family_has_its_first_digits_and_sorts_by_its_time() -> None:
    ids = RandomIds()

    root = ids.thread()
    first = ids.thread_in_family(root)
    time.sleep(0.002)
    second = ids.thread_in_family(first)

    assert parse_thread_id(first) == first
    assert family_of(root) == family_of(first) == family_of(second) != family_of(ids.thread())
    assert root[:32] <= first[:32] < second[:32]
    assert len({root, first, second}) == 3


async def test_an_unusable_database_is_a_settings_error(here: Path) -> None:
    (here / "text.db").write_bytes(b"Dear Sir or Madam, " * 100)
    store = await open_store("sqlite:///text.db")

    with pytest.raises(SettingsError, match=r"DATABASE_URL: .*not a database"):
        await check_database(store)

    await store.close()


async def test_an_older_or_incompatible_schema_is_an_error(here: Path) -> None:
    store = await open_store("sqlite:///a.db")
    with pytest.raises(SettingsError, match="the schema is missing, this release needs"):
        await check_database(store)

    await migrate_journal(Settings(database_url="sqlite:///a.db"))
    await check_database(store)

    async with store.write() as tx:
        await tx.execute("update twelvefold_version set version_num = '0000'")
    with pytest.raises(SettingsError) as caught:
        await check_database(store)
    assert caught.value.problems == (
        f"DATABASE_URL: the schema is at 0000, this release needs {SCHEMA}; "
        "run `twelvefold migrate`",
    )
    async with store.write() as tx:
        await tx.execute("update twelvefold_version set version_num = '9999'")
    with pytest.raises(SettingsError, match="use the release that migrated it"):
        await check_database(store)
    await store.close()


@pytest.mark.parametrize("url", ["sqlite:///a.db", "mysql://a:b@localhost/c"])
def test_the_schema_is_available_as_sql(url: str) -> None:
    sql = journal_sql(Settings(database_url=url, release_id="it's"))

    assert re.search(r"CREATE TABLE (IF NOT EXISTS )?events", sql)
    assert SCHEMA in sql
    assert f"'it''s', '{__version__}', ''" in sql


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("sqlite://", LeaseRenewer),
        ("sqlite:///here.db", RenewalThread),
        ("mysql://u:p@127.0.0.1/twelvefold", RenewalThread),
    ],
)
async def test_leases_are_renewed_in_a_thread_except_on_a_database_in_memory(
    here: Path, url: str, kind: type
) -> None:
    async with open_services(Settings(database_url=url), with_model=False) as services:
        assert type(services.renewer) is kind
