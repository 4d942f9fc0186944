"""Look at everything that is attached, and say what is fit, what is doubtful and what is not."""

import re
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from twelvefold.admin import parity
from twelvefold.boot import SCHEMA, ask_for_models, embedded_file, open_mailer, schema_problem
from twelvefold.config import Settings, misspelt
from twelvefold.core.ports import Schema
from twelvefold.core.workflow import Workflow
from twelvefold.engine.services import Services
from twelvefold.errors import (
    MailUnavailable,
    ModelUnavailable,
    ServiceFault,
    SettingsError,
    StoreRefused,
    StoreUnavailable,
)

Level = Literal["ok", "warn", "fail"]
VARIABLES = (
    *parity.VARIABLES,
    *("transaction_isolation", "tx_isolation", "character_set_connection", "max_allowed_packet"),
    *("innodb_flush_log_at_trx_commit", "ssl_cipher"),
)
MODEL_S = 10.0
"""How long the model's endpoint may take to answer."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    level: Level
    what: str
    found: str


async def examine(
    settings: Settings, services: Services, environ: Iterable[str] = ()
) -> AsyncIterator[Finding]:
    """Everything that can be looked at, one after the other; nothing is changed."""
    for sentence in misspelt(environ):
        yield Finding("warn", "settings", sentence)
    for workflow in services.workflows.values():
        yield _workflow(workflow)
    async for finding in _database(settings, services):
        yield finding
    yield await _model(settings)
    yield await _mail(settings)


def _workflow(workflow: Workflow) -> Finding:
    what = f"workflow {workflow.name}"
    try:
        names = [tool.spec.name for tool in workflow.tools]
    except Exception as error:  # the author's types may be anything
        return Finding("fail", what, f"a tool's parameters make no JSON Schema: {error}")
    if not names:
        return Finding("warn", what, "it has no tools, so it can only talk")
    return Finding("ok", what, f"{len(names)} tools: {', '.join(names)}")


async def _database(settings: Settings, services: Services) -> AsyncIterator[Finding]:
    file = embedded_file(settings)
    if file and not file.exists():
        # To look at it would make it.
        yield Finding("warn", "database", f"{file} is not there yet; chat and run make it")
        return
    try:
        problems = await services.store.check()
        schema = await services.store.schema()
        facts = [fact async for fact in _server(settings, services)]
    except ServiceFault as error:
        yield Finding("fail", "database", str(error))
        return
    for fact in facts:
        yield fact
    for problem in problems:
        yield Finding("fail", "database", problem)
    yield _schema(schema)
    if schema and not schema_problem(schema):
        yield await _unserved(services)
    for workflow in services.workflows.values() if schema else ():
        if found := await _missing(services, workflow):
            yield Finding("fail", f"tables of {workflow.name}", found)


async def _unserved(services: Services) -> Finding:
    """Queued runs that no process with these workflows takes up."""
    try:
        waiting = await services.store.unserved_runs(workflows=services.workflows)
    except ServiceFault as error:
        return Finding("fail", "queue", str(error))
    if not waiting:
        return Finding("ok", "queue", "every queued run is of a workflow in WORKFLOWS")
    found = ", ".join(f"{number} of {name}" for name, number in waiting.items())
    return Finding("warn", "queue", f"queued runs of workflows that are not in WORKFLOWS: {found}")


async def _missing(services: Services, workflow: Workflow) -> str:
    """What is wrong with the tables of a workflow; "" if they are there."""
    try:
        missing = [name for name in _tables(workflow) if not await _is_there(services, name)]
    except StoreUnavailable as error:
        return str(error)
    return f"missing: {', '.join(missing)}: twelvefold migrate" if missing else ""


def _tables(workflow: Workflow) -> list[str]:
    """The tables that a workflow's schema makes."""
    made = r"create\s+table\s+(?:if\s+not\s+exists\s+)?[`\"]?(\w+)"
    return re.findall(made, workflow.schema, re.IGNORECASE)


async def _is_there(services: Services, table: str) -> bool:
    try:
        async with services.store.read() as db:
            await db.fetch_all(f"SELECT 1 FROM {table} LIMIT 1")  # noqa: S608 - a word of a schema
    except StoreRefused:
        return False
    return True


def _schema(schema: Schema | None) -> Finding:
    problem = schema_problem(schema)
    if problem or schema is None:
        return Finding("fail", "schema", problem or "missing")
    newer = (
        "" if schema.level == SCHEMA else f", newer than this release's {SCHEMA}, which it serves"
    )
    return Finding("ok", "schema", f"at {schema.level}{newer}")


async def _server(settings: Settings, services: Services) -> AsyncIterator[Finding]:
    if file := embedded_file(settings):
        async with services.store.read() as db:
            row = await db.fetch_one("SELECT sqlite_version() AS version")
        version = row["version"] if row else "?"
        yield Finding("ok", "database", f"SQLite {version}, {file}")
        yield Finding(
            "warn", "parity", "SQLite is for a first try: run services on MySQL or MariaDB"
        )
        return
    names = ", ".join(f"'{name}'" for name in VARIABLES)
    async with services.store.read() as db:
        rows = await db.fetch_all(f"SHOW VARIABLES WHERE Variable_name IN ({names})")
    found = {row["Variable_name"]: str(row["Value"]) for row in rows}
    for finding in (*_server_facts(found), *_parity(found)):
        yield finding


def _server_facts(of: dict[str, str]) -> Iterator[Finding]:
    kind = parity.server_kind(of)
    yield Finding("ok", "database", f"{kind} {of['version']} ({of.get('version_comment', '')})")
    yield Finding("ok", "sql_mode", of["sql_mode"])
    isolation = of.get("transaction_isolation") or of.get("tx_isolation", "")
    fit = isolation == "READ-COMMITTED"
    yield Finding("ok" if fit else "fail", "isolation", f"{isolation} in our sessions")
    yield Finding("ok", "charset", of["character_set_connection"])
    yield Finding("ok", "max_allowed_packet", f"{int(of['max_allowed_packet']) >> 20} MiB")
    flush = of.get("innodb_flush_log_at_trx_commit")
    yield Finding(
        "ok" if flush == "1" else "warn",
        "durability",
        f"innodb_flush_log_at_trx_commit is {flush}; at 1 no commit is lost when the host dies",
    )
    if of.get("wsrep_on") == "ON":
        yield Finding("ok", "cluster", "Galera: reads wait for what other nodes have committed")


def _parity(of: dict[str, str]) -> Iterator[Finding]:
    unlike = list(parity.differences(of))
    for difference in unlike:
        yield Finding("warn", "parity", difference)
    if not unlike:
        yield Finding("ok", "parity", "a server like those that this release was tested on")


async def _mail(settings: Settings) -> Finding:
    try:
        async with open_mailer(settings) as mailer:
            if mailer is None:
                return Finding("ok", "mail", "SMTP_URL is not set: letters wait in the outbox")
            await mailer.check()
    except (MailUnavailable, SettingsError) as error:
        return Finding("fail", "mail", str(error))
    host = urlsplit(settings.smtp_url).hostname
    return Finding("ok", "mail", f"{host} takes mail from {settings.mail_from}")


async def _model(settings: Settings) -> Finding:
    base_url = settings.model_base_url
    if not base_url:
        return Finding(
            "warn", "model", "the built-in demo model: set OPENAI_API_KEY for a real one"
        )
    if settings.openai_api_key and "@" in urlsplit(base_url).netloc:
        found = "OPENAI_BASE_URL names a user and OPENAI_API_KEY is set; unset either"
        return Finding("fail", "model", found)
    try:
        listed = await ask_for_models(settings, MODEL_S)
    except ModelUnavailable as error:
        return Finding("fail", "model", str(error))
    return _listed(listed.server, listed.status, listed.names, settings.openai_model)


def _listed(server: str, status: int, names: frozenset[str], model: str) -> Finding:
    if status in (401, 403):
        return Finding("fail", "model", f"{server}: OPENAI_API_KEY is refused (HTTP {status})")
    if status == 407:
        found = f"{server}: the proxy wants a user and a password in its URL (HTTP 407)"
        return Finding("fail", "model", found)
    if status in (404, 405, 501):
        return Finding("warn", "model", f"{server} answers, but lists no models (HTTP {status})")
    if status != 200:
        return Finding("fail", "model", f"{server}: HTTP {status}")
    if names and model not in names:
        return Finding("warn", "model", f"{server} answers, but does not list {model!r}")
    return Finding("ok", "model", f"{server} answers; {model}")
