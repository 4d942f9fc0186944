"""What the doctor finds fit, doubtful and unfit."""

import asyncio
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import pytest

from tests.builders import asked
from tests.services.model.mock_server import Behaviour, MockServer, answers
from tests.services.store.builders import new_run
from tests.smtp_sink import Sink
from twelvefold import Settings, Workflow, open_services, tool
from twelvefold.admin import doctor, parity
from twelvefold.admin.doctor import Finding, examine
from twelvefold.admin.migrate import migrate, prepare
from twelvefold.errors import StoreFailed


async def found(settings: Settings, *more: Workflow) -> dict[str, Finding]:
    return {one.what: one for one in await found_each(settings, *more)}


async def found_each(settings: Settings, *more: Workflow) -> list[Finding]:
    async with open_services(settings, with_model=False) as services:
        for workflow in more:
            services.workflows[workflow.name] = workflow  # type: ignore[index] # the services' own dict
        return [one async for one in examine(settings, services)]


async def test_a_prepared_file_is_fit_but_not_parity(tmp_path: Path) -> None:
    settings = Settings(database_url=f"sqlite:///{tmp_path}/a.db")
    async with open_services(settings, with_model=False) as services:
        await prepare(settings, services)

    findings = await found(settings)

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


async def test_queued_runs_that_no_worker_takes_up_are_counted(tmp_path: Path) -> None:
    settings = Settings(database_url=f"sqlite:///{tmp_path}/a.db")
    async with open_services(settings, with_model=False) as services:
        await prepare(settings, services)
        for workflow in ("retired", "retired", "enrolment"):
            new = replace(new_run(), workflow=workflow)
            await services.store.start(new, asked(), None)

    findings = await found(settings)

    assert findings["queue"] == Finding(
        "warn", "queue", "queued runs of workflows that are not in WORKFLOWS: 2 of retired"
    )


async def test_a_workflow_whose_tables_are_missing_is_named(tmp_path: Path) -> None:
    settings = Settings(database_url=f"sqlite:///{tmp_path}/a.db")
    schema = "create table if not exists sections (id int);\nCREATE TABLE `late` (a int);"
    later = Workflow("later", "", (), schema=schema)
    async with open_services(settings, with_model=False) as services:
        await prepare(settings, services)

    findings = await found(settings, later)

    assert "tables of enrolment" not in findings
    assert findings["tables of later"] == Finding(
        "fail", "tables of later", "missing: late: twelvefold migrate"
    )


async def test_tables_that_may_not_be_read_are_no_missing_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def denied(*_: object) -> bool:
        raise StoreFailed("the database reports: SELECT command denied")

    settings = Settings(database_url=f"sqlite:///{tmp_path}/a.db")
    async with open_services(settings, with_model=False) as services:
        await prepare(settings, services)
    monkeypatch.setattr(doctor, "_is_there", denied)

    assert (await found(settings))["tables of enrolment"] == Finding(
        "fail", "tables of enrolment", "the database reports: SELECT command denied"
    )


async def test_a_mail_server_is_asked_to_let_in(tmp_path: Path) -> None:
    sink = Sink(login=("ann", "right"))
    async with sink.serving():
        url = sink.url("?starttls=off", login="ann:right")
        settings = Settings(
            database_url=f"sqlite:///{tmp_path}/a.db",
            smtp_url=url,
            mail_from="office@academy.example",
        )
        taken = (await found(settings))["mail"]
        wrong = sink.url("?starttls=off", login="ann:wrong")
        refused = (await found(replace(settings, smtp_url=wrong)))["mail"]

    gone = (await found(settings))["mail"]
    assert taken == Finding("ok", "mail", "localhost takes mail from office@academy.example")
    assert [one.level for one in (refused, gone)] == ["fail", "fail"]
    assert "wrong" not in refused.found
    assert sink.mails == []


async def test_to_look_at_a_file_does_not_make_it(tmp_path: Path) -> None:
    path = tmp_path / "a.db"

    findings = await found(Settings(database_url=f"sqlite:///{path}"))

    assert findings["database"].level == "warn"
    assert not path.exists()


async def test_a_file_without_tables_is_not_fit(tmp_path: Path) -> None:
    (tmp_path / "a.db").touch()

    findings = await found(Settings(database_url=f"sqlite:///{tmp_path}/a.db"))

    assert findings["schema"].level == "fail"
    assert "twelvefold migrate" in findings["schema"].found


async def test_a_workflow_is_judged_by_its_tools(tmp_path: Path) -> None:
    @tool(effect="pure")
    async def add(a: int) -> int:
        """Add."""
        return a

    findings = await found(
        Settings(database_url=f"sqlite:///{tmp_path}/a.db"),
        Workflow("talker", "", ()),
        Workflow("adder", "", (add,)),
    )

    assert findings["workflow talker"].level == "warn"
    assert findings["workflow adder"].level == "ok"


MODELS = b'{"data": [{"id": "gpt-5-mini"}, {"id": "other"}]}'


@pytest.mark.parametrize(
    ("behaviour", "level", "said"),
    [
        (answers(200, MODELS), "ok", "answers; gpt-5-mini"),
        (answers(200, b'{"data": [{"id": "x"}]}'), "warn", "does not list 'gpt-5-mini'"),
        (answers(200, b"[]"), "ok", "answers; gpt-5-mini"),
        (answers(200, b"<html>"), "fail", "its list of models is not JSON"),
        (answers(401, b"{}"), "fail", "OPENAI_API_KEY is refused (HTTP 401)"),
        (answers(404, b"{}"), "warn", "lists no models (HTTP 404)"),
        (answers(500, b"{}"), "fail", "HTTP 500"),
    ],
)
async def test_the_model_is_asked_for_its_names(
    tmp_path: Path, behaviour: Behaviour, level: str, said: str
) -> None:
    async with MockServer() as server:
        server.will(behaviour)
        findings = await found(
            Settings(
                database_url=f"sqlite:///{tmp_path}/a.db",
                openai_base_url=server.url,
                openai_api_key="k",
            )
        )

        assert server.calls[0].path == "/v1/models"
        assert server.calls[0].headers["authorization"] == "Bearer k"
    assert findings["model"].level == level
    assert said in findings["model"].found


async def test_a_model_that_is_not_there_is_told(tmp_path: Path) -> None:
    findings = await found(
        Settings(database_url=f"sqlite:///{tmp_path}/a.db", openai_base_url="http://127.0.0.1:9/v1")
    )

    assert findings["model"].level == "fail"
    assert "Connection refused" in findings["model"].found


async def test_a_user_in_the_models_url_is_sent_and_never_shown(tmp_path: Path) -> None:
    async with MockServer() as server:
        server.will(answers(200, MODELS))
        shown, url = server.url, server.url.replace("://", "://user:s3cr%40et@")
        settings = Settings(database_url=f"sqlite:///{tmp_path}/a.db", openai_base_url=url)

        findings = await found(settings)
        both = await found(replace(settings, openai_api_key="k"))

        sent = server.calls[0].headers["authorization"]
    assert sent == f"Basic {b64encode(b'user:s3cr@et').decode()}"
    assert findings["model"] == Finding("ok", "model", f"{shown} answers; gpt-5-mini")
    assert both["model"].level == "fail"
    assert "unset either" in both["model"].found
    assert "s3cr" not in both["model"].found


@pytest.mark.mysql
def test_a_server_tells_what_it_is(mysql_url: str) -> None:
    settings = Settings(database_url=mysql_url)

    async def story() -> dict[str, Finding]:
        async with open_services(settings, with_model=False) as services:
            await migrate(settings, services)
        return await found(settings)

    findings = asyncio.run(story())

    facts = ("sql_mode", "isolation", "charset", "max_allowed_packet", "schema")
    assert {findings[what].level for what in facts} == {"ok"}
    assert findings["isolation"].found == "READ-COMMITTED in our sessions"
    assert findings["charset"].found == "utf8mb4"
    assert "parity" in findings


@pytest.mark.mysql
def test_a_server_of_a_series_that_was_not_tested_is_told(
    mysql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "TESTED", {"MySQL": ("5.5",)})

    findings = asyncio.run(found_each(Settings(database_url=mysql_url)))

    told = [one for one in findings if one.what == "parity"]
    assert {one.level for one in told} == {"warn"}
    assert told[0].found.endswith("was not tested; tested: MySQL 5.5")


@pytest.mark.mysql
def test_a_wrong_password_is_a_finding(mysql_url: str) -> None:
    wrong = mysql_url.replace("@", "wrong@")

    findings = asyncio.run(found(Settings(database_url=wrong)))

    assert findings["database"].level == "fail"
    assert "Access denied" in findings["database"].found


async def test_a_server_that_is_not_there_is_a_finding() -> None:
    findings = await found(Settings(database_url="mysql://a:b@127.0.0.1:9/c"))

    assert findings["database"].level == "fail"
    assert "cannot be reached" in findings["database"].found
