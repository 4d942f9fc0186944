"""`twelvefold doctor`: check the configuration and the services.

It opens the workflows' resources, declares the queues at the broker, if there is one, and changes
nothing else.
"""

import re
from collections.abc import AsyncIterator, Iterable, Iterator
from urllib.parse import urlsplit

from twelvefold.admin import parity
from twelvefold.admin.finding import Finding, Level
from twelvefold.admin.server_probes import probe_hosts, probe_server
from twelvefold.boot import (
    SCHEMA,
    embedded_file,
    open_broker,
    open_mailer,
    request_model_list,
    schema_problem,
    uses_default_model,
)
from twelvefold.config import NamedModel, Settings, misspelt
from twelvefold.core import Schema, Workflow
from twelvefold.engine import Services, serves_only_new
from twelvefold.errors import (
    BrokerUnavailable,
    MailUnavailable,
    ModelUnavailable,
    ResourceUnavailable,
    ServiceFault,
    SettingsError,
    StoreRefused,
    StoreUnavailable,
    WorkflowError,
)

__all__ = ["Finding", "Level", "examine"]
VARIABLES = (
    *parity.VARIABLES,
    *("transaction_isolation", "tx_isolation", "character_set_connection", "max_allowed_packet"),
    *("innodb_flush_log_at_trx_commit", "ssl_cipher"),
)
MODEL_TIMEOUT_S = 10.0


async def examine(
    settings: Settings,
    services: Services,
    environ: Iterable[str] = (),
    tested: parity.Versions = parity.TESTED,
) -> AsyncIterator[Finding]:
    """Run all checks in order. `tested` are the versions of database servers that are tested."""
    for warning in misspelt(environ, {named.key_env for named in settings.models}):
        yield Finding("warn", "settings", warning)
    for workflow in services.workflows.values():
        yield _check_workflow(workflow)
        if found := await _check_resources(services, workflow):
            yield found
    async for finding in _check_database(settings, services, tested):
        yield finding
    if uses_default_model(services.workflows):
        yield await _check_model(settings)
    for named in settings.models:
        yield await _check_named_model(settings, named)
    yield await _check_mail(settings)
    if settings.broker_url:
        yield await _check_broker(settings, services)


def _check_workflow(workflow: Workflow) -> Finding:
    what = f"workflow {workflow.name}"
    try:
        names = [tool.spec.name for tool in workflow.tools]
    except Exception as error:  # the author's types may be anything
        return Finding("fail", what, f"no JSON Schema for a tool's parameters: {error}")
    try:
        output = f"output {workflow.output_type.format['name']}" if workflow.output_type else ""
    except WorkflowError as error:
        return Finding("fail", what, str(error))
    if not names:
        return Finding("ok", what, output) if output else Finding("warn", what, "it has no tools")
    noun = "tool" if len(names) == 1 else "tools"
    tools = f"{len(names)} {noun}: {', '.join(names)}"
    return Finding("ok", what, f"{tools}; {output}" if output else tools)


async def _check_resources(services: Services, workflow: Workflow) -> Finding | None:
    """Open what the tools take as resources; None if they take none."""
    what = f"resources of {workflow.name}"
    try:
        types = await services.resources.open(workflow)
    except ResourceUnavailable as error:
        return Finding("fail", what, str(error))
    return Finding("ok", what, f"opened: {', '.join(types)}") if types else None


async def _check_database(
    settings: Settings, services: Services, tested: parity.Versions
) -> AsyncIterator[Finding]:
    file = embedded_file(settings)
    if file and not file.exists():
        # Opening it would create it.
        yield Finding("warn", "database", f"{file} does not exist; chat and run create it")
        return
    async for finding in probe_hosts(settings):
        yield finding
    try:
        problems = await services.store.check()
        schema = await services.store.schema()
        findings = [one async for one in _check_server(settings, services, tested)]
        if not file:
            probes = probe_server(services.store, has_schema=schema is not None)
            findings += [one async for one in probes]
    except ServiceFault as error:
        yield Finding("fail", "database", str(error))
        return
    for finding in findings:
        yield finding
    for problem in problems:
        yield Finding("fail", "database", problem)
    async for finding in _check_contents(services, schema):
        yield finding


async def _check_contents(services: Services, schema: Schema | None) -> AsyncIterator[Finding]:
    yield _check_schema(schema)
    if schema and not schema_problem(schema):
        yield await _check_queue(services)
    for workflow in services.workflows.values() if schema else ():
        if found := await _check_tables(services, workflow):
            yield Finding("fail", f"tables of {workflow.name}", found)


async def _check_queue(services: Services) -> Finding:
    """Report queued runs of workflows that are not in WORKFLOWS."""
    try:
        unserved = await services.store.unserved_runs(workflows=services.workflows)
    except ServiceFault as error:
        return Finding("fail", "queue", str(error))
    if not unserved:
        return Finding("ok", "queue", "all queued runs are of workflows in WORKFLOWS")
    found = ", ".join(f"{number} of {name}" for name, number in unserved.items())
    return Finding("warn", "queue", f"queued runs of workflows that are not in WORKFLOWS: {found}")


async def _check_tables(services: Services, workflow: Workflow) -> str:
    """Return what is wrong with the tables of a workflow, or ""."""
    try:
        missing = [name for name in _table_names(workflow) if not await _exists(services, name)]
    except StoreUnavailable as error:
        return str(error)
    return f"missing: {', '.join(missing)}; run `twelvefold migrate`" if missing else ""


def _table_names(workflow: Workflow) -> list[str]:
    """Return the tables that a workflow's schema creates."""
    statement = r"create\s+table\s+(?:if\s+not\s+exists\s+)?[`\"]?(\w+)"
    return re.findall(statement, workflow.schema, re.IGNORECASE)


async def _exists(services: Services, table: str) -> bool:
    try:
        async with services.store.read() as db:
            await db.fetch_all(f"SELECT 1 FROM {table} LIMIT 1")  # noqa: S608 - a word of the schema
    except StoreRefused:
        return False
    return True


def _check_schema(schema: Schema | None) -> Finding:
    problem = schema_problem(schema)
    if problem or schema is None:
        return Finding("fail", "schema", problem or "missing")
    newer = schema.level != SCHEMA
    note = f", newer than this release's {SCHEMA}, but compatible" if newer else ""
    if not serves_only_new(schema):
        finish = "when the last process of the older release has ended, run `twelvefold migrate "
        return Finding("warn", "schema", f"at {schema.level}{note}; {finish}--finish`")
    return Finding("ok", "schema", f"at {schema.level}{note}")


async def _check_server(
    settings: Settings, services: Services, tested: parity.Versions
) -> AsyncIterator[Finding]:
    if file := embedded_file(settings):
        async with services.store.read() as db:
            row = await db.fetch_one("SELECT sqlite_version() AS version")
        version = row["version"] if row else "?"
        yield Finding("ok", "database", f"SQLite {version}, {file}")
        yield Finding(
            "warn", "parity", "SQLite is for evaluation; run services on MySQL or MariaDB"
        )
        return
    names = ", ".join(f"'{name}'" for name in VARIABLES)
    async with services.store.read() as db:
        rows = await db.fetch_all(f"SHOW VARIABLES WHERE Variable_name IN ({names})")
    variables = {row["Variable_name"]: str(row["Value"]) for row in rows}
    for finding in (*_server_facts(variables), *_check_parity(variables, tested)):
        yield finding


def _server_facts(variables: dict[str, str]) -> Iterator[Finding]:
    kind = parity.server_kind(variables)
    comment = variables.get("version_comment", "")
    yield Finding("ok", "database", f"{kind} {variables['version']} ({comment})")
    yield Finding("ok", "sql_mode", variables["sql_mode"])
    isolation = variables.get("transaction_isolation") or variables.get("tx_isolation", "")
    level: Level = "ok" if isolation == "READ-COMMITTED" else "fail"
    yield Finding(level, "isolation", f"{isolation} in Twelvefold's sessions")
    yield Finding("ok", "charset", variables["character_set_connection"])
    yield Finding("ok", "max_allowed_packet", f"{int(variables['max_allowed_packet']) >> 20} MiB")
    flush = variables.get("innodb_flush_log_at_trx_commit")
    yield Finding(
        "ok" if flush == "1" else "warn",
        "durability",
        f"innodb_flush_log_at_trx_commit is {flush}; with 1, no commit is lost if the host fails",
    )


def _check_parity(variables: dict[str, str], tested: parity.Versions) -> Iterator[Finding]:
    differences = list(parity.differences(variables, tested))
    for difference in differences:
        yield Finding("warn", "parity", difference)
    if not differences:
        yield Finding("ok", "parity", "this release was tested on servers like this one")


async def _check_mail(settings: Settings) -> Finding:
    try:
        async with open_mailer(settings) as mailer:
            if mailer is None:
                return Finding("ok", "mail", "SMTP_URL is not set: mail stays in the outbox")
            await mailer.check()
    except (MailUnavailable, SettingsError) as error:
        return Finding("fail", "mail", str(error))
    host = urlsplit(settings.smtp_url).hostname
    return Finding("ok", "mail", f"{host} accepts mail from {settings.mail_from}")


async def _check_broker(settings: Settings, services: Services) -> Finding:
    try:
        broker = open_broker(settings)
        host = await broker.check(services.workflows)
    except (BrokerUnavailable, SettingsError) as error:
        return Finding("fail", "broker", str(error))
    return Finding("ok", "broker", f"{host} has the queues of these workflows")


async def _check_model(settings: Settings) -> Finding:
    base_url = settings.model_base_url
    if not base_url:
        return Finding(
            "warn", "model", "the built-in demo model; set OPENAI_API_KEY for a real one"
        )
    has_key = settings.openai_api_key or settings.openai_api_key_file
    if has_key and "@" in urlsplit(base_url).netloc:
        found = "OPENAI_BASE_URL has a user and OPENAI_API_KEY is set; remove one of them"
        return Finding("fail", "model", found)
    try:
        listed = await request_model_list(settings, MODEL_TIMEOUT_S)
    except (ModelUnavailable, SettingsError) as error:
        return Finding("fail", "model", str(error))
    return _judge_model_list(listed.server, listed.status, listed.names, settings.openai_model)


async def _check_named_model(settings: Settings, named: NamedModel) -> Finding:
    what = f"model {named.name}"
    if not (named.url or settings.model_base_url):
        return Finding("warn", what, "the built-in demo model; set its url for a real one")
    if (named.key or named.key_file) and "@" in urlsplit(named.url).netloc:
        return Finding("fail", what, "its url has a user and its key is set; remove one of them")
    try:
        listed = await request_model_list(settings, MODEL_TIMEOUT_S, named)
    except (ModelUnavailable, SettingsError) as error:
        return Finding("fail", what, str(error))
    key = "its key" if named.url else "OPENAI_API_KEY"
    return _judge_model_list(
        listed.server, listed.status, listed.names, named.model, what=what, key=key
    )


def _judge_model_list(
    server: str,
    status: int,
    names: frozenset[str],
    model: str,
    *,
    what: str = "model",
    key: str = "OPENAI_API_KEY",
) -> Finding:
    if status in (401, 403):
        return Finding("fail", what, f"{server}: {key} is refused (HTTP {status})")
    if status == 407:
        found = f"{server}: the proxy requires a user and a password in its URL (HTTP 407)"
        return Finding("fail", what, found)
    if status in (404, 405, 501):
        return Finding("warn", what, f"{server} responds, but lists no models (HTTP {status})")
    if status != 200:
        return Finding("fail", what, f"{server}: HTTP {status}")
    if names and model not in names:
        return Finding("warn", what, f"{server} responds, but does not list {model!r}")
    return Finding("ok", what, f"{server} responds; {model}")
