"""The findings of `twelvefold doctor`."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydantic import BaseModel

from tests.builders import asked
from tests.ports import free_port
from tests.services.model.mock_server import Behaviour, MockServer, answers
from tests.services.store.builders import new_run
from tests.smtp_sink import Sink
from twelvefold import Resource, Settings, Workflow, open_services, tool
from twelvefold.admin.doctor import Finding, examine
from twelvefold.admin.migrate import migrate, prepare
from twelvefold.admin.parity import TESTED, Versions
from twelvefold.config import NamedModel
from twelvefold.core.ports import Store
from twelvefold.errors import StoreFailed


async def findings_by_name(settings: Settings, *more: Workflow[Any]) -> dict[str, Finding]:
    return {one.what: one for one in await find(settings, *more)}


async def find(
    settings: Settings, *more: Workflow[Any], tested: Versions = TESTED
) -> list[Finding]:
    async with open_services(settings, with_model=False) as services:
        for workflow in more:
            services.workflows[workflow.name] = workflow  # type: ignore[index] # the services' own dict
        return [one async for one in examine(settings, services, tested=tested)]


async def test_a_prepared_file_passes_except_for_parity(tmp_path: Path) -> None:
    settings = Settings(database_url=f"sqlite:///{tmp_path}/a.db")
    async with open_services(settings, with_model=False) as services:
        await prepare(settings, services)

    findings = await findings_by_name(settings)

    assert {what: one.level for what, one in findings.items()} == {
        "workflow enrolment": "ok",
        "database": "ok",
        "parity": "warn",
        "schema": "ok",
        "queue": "ok",
        "model": "warn",
        "mail": "ok",
    }
    assert "7 tools: find_courses" in findings["workflow enrolment"].found
    assert "SQLite 3." in findings["database"].found
    assert "OPENAI_API_KEY" in findings["model"].found


async def test_queued_runs_without_a_worker_are_counted(tmp_path: Path) -> None:
    settings = Settings(database_url=f"sqlite:///{tmp_path}/a.db")
    async with open_services(settings, with_model=False) as services:
        await prepare(settings, services)
        for workflow in ("retired", "retired", "enrolment"):
            new = replace(new_run(), workflow=workflow)
            await services.store.start(new, asked(), None)

    findings = await findings_by_name(settings)

    assert findings["queue"] == Finding(
        "warn", "queue", "queued runs of workflows that are not in WORKFLOWS: 2 of retired"
    )


async def test_missing_tables_of_a_workflow_are_reported(tmp_path: Path) -> None:
    settings = Settings(database_url=f"sqlite:///{tmp_path}/a.db")
    schema = "create table if not exists sections (id int);\nCREATE TABLE `late` (a int);"
    later = Workflow("later", "", (), schema=schema)
    async with open_services(settings, with_model=False) as services:
        await prepare(settings, services)

    findings = await findings_by_name(settings, later)

    assert "tables of enrolment" not in findings
    assert findings["tables of later"] == Finding(
        "fail", "tables of later", "missing: late; run `twelvefold migrate`"
    )


@dataclass
class Point:
    x: int


@tool(effect="pure")
async def look() -> str:
    """Look."""
    return ""


class Later(BaseModel):
    part: "Part"  # type: ignore[name-defined]  # noqa: F821 - it is never defined


async def test_the_output_of_a_workflow_is_reported(tmp_path: Path) -> None:
    settings = Settings(database_url=f"sqlite:///{tmp_path}/a.db")

    findings = await findings_by_name(
        settings,
        Workflow("typed", "", output=Point),
        Workflow("both", "", (look,), output=Point),
        Workflow("later", "", output=Later),
    )

    assert findings["workflow typed"] == Finding("ok", "workflow typed", "output Point")
    assert findings["workflow both"].found == "1 tool: look; output Point"
    later = findings["workflow later"]
    assert later.level == "fail"
    assert "output has the type Later, which has no JSON Schema" in later.found


class DeniedStore:
    """A store whose user may not read the tables of workflows."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Any]:
        async with self._store.read() as db:
            yield SimpleNamespace(fetch_one=db.fetch_one, fetch_all=self._deny)

    async def _deny(self, sql: str) -> None:
        raise StoreFailed("the database reports: SELECT command denied")


async def test_tables_that_cannot_be_read_are_not_reported_as_missing(tmp_path: Path) -> None:
    settings = Settings(database_url=f"sqlite:///{tmp_path}/a.db")
    async with open_services(settings, with_model=False) as services:
        await prepare(settings, services)
        denied = replace(services, store=cast("Store", DeniedStore(services.store)))

        findings = [one async for one in examine(settings, denied)]

    message = "the database reports: SELECT command denied"
    assert Finding("fail", "tables of enrolment", message) in findings


async def test_an_unreachable_broker_is_reported(tmp_path: Path) -> None:
    settings = Settings(
        database_url=f"sqlite:///{tmp_path}/a.db",
        broker_url=f"amqp://ann:pw@127.0.0.1:{free_port()}",
    )

    broker = (await findings_by_name(settings))["broker"]

    assert broker.level == "fail"
    assert broker.found.startswith("BROKER_URL: 127.0.0.1: AMQPConnectionError")
    assert "pw@" not in broker.found


async def test_the_login_to_the_mail_server_is_checked(tmp_path: Path) -> None:
    sink = Sink(login=("ann", "right"))
    async with sink.serving():
        url = sink.url("?starttls=off", login="ann:right")
        settings = Settings(
            database_url=f"sqlite:///{tmp_path}/a.db",
            smtp_url=url,
            mail_from="office@academy.example",
        )
        accepted = (await findings_by_name(settings))["mail"]
        wrong = sink.url("?starttls=off", login="ann:wrong")
        rejected = (await findings_by_name(replace(settings, smtp_url=wrong)))["mail"]

    stopped = (await findings_by_name(settings))["mail"]
    assert accepted == Finding("ok", "mail", "localhost accepts mail from office@academy.example")
    assert [one.level for one in (rejected, stopped)] == ["fail", "fail"]
    assert "wrong" not in rejected.found
    assert sink.mails == []


async def test_a_missing_file_is_not_created(tmp_path: Path) -> None:
    path = tmp_path / "a.db"

    findings = await findings_by_name(Settings(database_url=f"sqlite:///{path}"))

    assert findings["database"].level == "warn"
    assert not path.exists()


async def test_a_file_without_tables_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "a.db").touch()

    findings = await findings_by_name(Settings(database_url=f"sqlite:///{tmp_path}/a.db"))

    assert findings["schema"].level == "fail"
    assert "twelvefold migrate" in findings["schema"].found


class Client:
    """A resource."""


@pytest.mark.parametrize(
    ("provided", "level", "found"),
    [
        (Client(), "ok", "opened: Client"),
        (None, "fail", "tool ask takes a Resource of Client; the resources do not provide one"),
    ],
)
async def test_resources_are_opened_and_checked(
    tmp_path: Path, provided: object, level: str, found: str
) -> None:
    closed: list[bool] = []

    @asynccontextmanager
    async def open_resources() -> AsyncIterator[object]:
        yield provided
        closed.append(True)

    @tool(effect="pure")
    async def ask(client: Resource[Client]) -> str:
        """Ask."""
        return ""

    workflow = Workflow("shop", "Sell.", (ask,), resources=open_resources)
    findings = await findings_by_name(Settings(database_url=f"sqlite:///{tmp_path}/a.db"), workflow)

    assert findings["resources of shop"].level == level
    assert found in findings["resources of shop"].found
    assert closed == [True]


async def test_a_workflow_without_tools_is_a_warning(tmp_path: Path) -> None:
    @tool(effect="pure")
    async def add(a: int) -> int:
        """Add."""
        return a

    findings = await findings_by_name(
        Settings(database_url=f"sqlite:///{tmp_path}/a.db"),
        Workflow("talker", "", ()),
        Workflow("adder", "", (add,)),
    )

    assert findings["workflow talker"].level == "warn"
    assert findings["workflow adder"] == Finding("ok", "workflow adder", "1 tool: add")


MODELS = b'{"data": [{"id": "gpt-5-mini"}, {"id": "other"}]}'


@pytest.mark.parametrize(
    ("behaviour", "level", "text"),
    [
        (answers(200, MODELS), "ok", "responds; gpt-5-mini"),
        (answers(200, b'{"data": [{"id": "x"}]}'), "warn", "does not list 'gpt-5-mini'"),
        (answers(200, b"[]"), "ok", "responds; gpt-5-mini"),
        (answers(200, b"<html>"), "fail", "its list of models is not JSON"),
        (answers(401, b"{}"), "fail", "OPENAI_API_KEY is refused (HTTP 401)"),
        (answers(404, b"{}"), "warn", "lists no models (HTTP 404)"),
        (answers(500, b"{}"), "fail", "HTTP 500"),
    ],
)
async def test_the_model_server_is_asked_for_its_models(
    tmp_path: Path, behaviour: Behaviour, level: str, text: str
) -> None:
    async with MockServer() as server:
        server.will(behaviour)
        findings = await findings_by_name(
            Settings(
                database_url=f"sqlite:///{tmp_path}/a.db",
                openai_base_url=server.url,
                openai_api_key="k",
            )
        )

        assert server.calls[0].path == "/v1/models"
        assert server.calls[0].headers["authorization"] == "Bearer k"
    assert findings["model"].level == level
    assert text in findings["model"].found


@pytest.mark.parametrize(
    ("behaviour", "level", "text"),
    [
        (answers(200, b'{"data": [{"id": "small-1"}]}'), "ok", "responds; small-1"),
        (answers(200, b'{"data": [{"id": "x"}]}'), "warn", "does not list 'small-1'"),
        (answers(401, b"{}"), "fail", "its key is refused (HTTP 401)"),
        (answers(404, b"{}"), "warn", "lists no models (HTTP 404)"),
    ],
)
async def test_each_named_model_is_checked(
    tmp_path: Path, behaviour: Behaviour, level: str, text: str
) -> None:
    async with MockServer() as server:
        server.will(behaviour)
        models = (NamedModel("fast", model="small-1", url=server.url, key="k2"),)

        findings = await findings_by_name(
            Settings(database_url=f"sqlite:///{tmp_path}/a.db", models=models)
        )

        assert server.calls[0].headers["authorization"] == "Bearer k2"
    assert findings["model fast"].level == level
    assert text in findings["model fast"].found
    assert findings["model"].level == "warn"  # the demo model


async def test_named_models_that_cannot_work_are_found(tmp_path: Path) -> None:
    models = (
        NamedModel("demo", model="m"),
        NamedModel("gone", model="m", url="http://127.0.0.1:9/v1"),
        NamedModel("both", model="m", url="http://u:s3cr@127.0.0.1:9/v1", key="k"),
        NamedModel("wrong", model="m", url="http://127.0.0.1:9/v1", key="k\n"),
    )

    findings = await findings_by_name(
        Settings(database_url=f"sqlite:///{tmp_path}/a.db", models=models)
    )

    assert findings["model demo"].level == "warn"
    assert "Connection refused" in findings["model gone"].found
    assert "remove one of them" in findings["model both"].found
    assert "MODELS: wrong.url" in findings["model wrong"].found
    assert "s3cr" not in str(findings)


async def test_an_unreachable_model_server_is_a_failure(tmp_path: Path) -> None:
    findings = await findings_by_name(
        Settings(database_url=f"sqlite:///{tmp_path}/a.db", openai_base_url="http://127.0.0.1:9/v1")
    )

    assert findings["model"].level == "fail"
    assert "Connection refused" in findings["model"].found


async def test_the_login_in_the_model_url_is_sent_and_never_shown(tmp_path: Path) -> None:
    async with MockServer() as server:
        server.will(answers(200, MODELS))
        masked, url = server.url, server.url.replace("://", "://user:s3cr%40et@")
        settings = Settings(database_url=f"sqlite:///{tmp_path}/a.db", openai_base_url=url)

        findings = await findings_by_name(settings)
        both = await findings_by_name(replace(settings, openai_api_key="k"))

        sent = server.calls[0].headers["authorization"]
    assert sent == f"Basic {b64encode(b'user:s3cr@et').decode()}"
    assert findings["model"] == Finding("ok", "model", f"{masked} responds; gpt-5-mini")
    assert both["model"].level == "fail"
    assert "remove one of them" in both["model"].found
    assert "s3cr" not in both["model"].found


@pytest.mark.mysql
def test_the_facts_of_a_server_are_listed(mysql_url: str) -> None:
    settings = Settings(database_url=mysql_url)

    async def migrate_and_find() -> dict[str, Finding]:
        async with open_services(settings, with_model=False) as services:
            await migrate(settings, services)
        return await findings_by_name(settings)

    findings = asyncio.run(migrate_and_find())

    facts = (
        *("sql_mode", "isolation", "charset", "max_allowed_packet", "schema"),
        *("found rows", "clock"),
    )
    assert {findings[what].level for what in facts} == {"ok"}
    assert findings["isolation"].found == "READ-COMMITTED in Twelvefold's sessions"
    assert findings["charset"].found == "utf8mb4"
    assert "parity" in findings


@pytest.mark.mysql
def test_an_untested_version_of_a_server_is_a_warning(mysql_url: str) -> None:
    settings = Settings(database_url=mysql_url)

    findings = asyncio.run(find(settings, tested={"MySQL": ("5.5",)}))

    parity = [one for one in findings if one.what == "parity"]
    assert {one.level for one in parity} == {"warn"}
    assert parity[0].found.endswith("was not tested; tested: MySQL 5.5")


@pytest.mark.mysql
def test_a_wrong_password_is_a_failure(mysql_url: str) -> None:
    wrong = mysql_url.replace("@", "wrong@")

    findings = asyncio.run(findings_by_name(Settings(database_url=wrong)))

    assert findings["database"].level == "fail"
    assert "Access denied" in findings["database"].found


async def test_an_unreachable_server_is_a_failure() -> None:
    findings = await findings_by_name(Settings(database_url="mysql://a:b@127.0.0.1:9/c"))

    assert findings["database"].level == "fail"
    assert "cannot be reached" in findings["database"].found
