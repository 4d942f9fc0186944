"""The one place that reads the environment and chooses services: settings in, services out.

mypy checks here that each service obeys its port.
"""

import functools
import os
import re
import secrets
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType

from twelvefold import __version__
from twelvefold.config import Settings
from twelvefold.core.budget import Limits
from twelvefold.core.ids import ThreadId
from twelvefold.core.ports import (
    Ids,
    Listener,
    Mailer,
    Model,
    ModelReply,
    ModelRequest,
    Release,
    Schema,
    Store,
)
from twelvefold.core.workflow import Workflow
from twelvefold.engine.lease import LeaseRenewer, RenewalThread
from twelvefold.engine.services import Services
from twelvefold.errors import (
    ModelUnavailable,
    SettingsError,
    StoreFailed,
    StoreRefused,
    WorkflowError,
)
from twelvefold.observe.log import get_logger
from twelvefold.services import mail as mails
from twelvefold.services.model import open_model
from twelvefold.services.model.http import Endpoint, ModelList, Proxies, list_models
from twelvefold.services.model.prices import price_of, window_of
from twelvefold.services.store import MEMORY, open_store, sqlite_path
from twelvefold.services.store import migrate as migrations

log = get_logger(__name__)
SCHEMA = migrations.HEAD
"""The revision of the journal's tables that this release was made for."""
OURS = str(Path(__file__).parent)
"""Where the package lies."""
WINDOW_TOKENS = 128_000
"""Of a model that nobody knows; a smaller one says so in OPENAI_CONTEXT_TOKENS."""


def environment() -> dict[str, str]:
    """The process's environment, as it is now."""
    return dict(os.environ)


def now_us() -> int:
    """Microseconds since 1970 by this machine's clock."""
    return time.time_ns() // 1_000


def release_of(settings: Settings) -> str:
    """What stands in every run and log line."""
    return settings.release_id or __version__


class RandomIds:
    """Ids that nobody can guess, and that sort by the millisecond they were made in."""

    def thread(self) -> ThreadId:
        return ThreadId(f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(16)}")


class NoModel:
    """Stands where no model is asked."""

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        raise ModelUnavailable("the services were opened without a model")

    async def close(self) -> None:
        """Nothing is open."""


@asynccontextmanager
async def open_services(settings: Settings, *, with_model: bool = True) -> AsyncIterator[Services]:
    """Every service that the settings name, closed at the end; none is asked anything yet.

    Who asks no model need not wait for its import. Raises SettingsError.
    """
    workflows = load_workflows(settings.workflows)
    ids: Ids = RandomIds()
    async with AsyncExitStack() as stack:
        store: Store = await open_store(
            settings.database_url, pool_size=settings.database_pool_size
        )
        stack.push_async_callback(store.close)
        if file := embedded_file(settings):
            log.info("embedded_database", file=str(file))
        model: Model = _open_model(settings) if with_model else NoModel()
        stack.push_async_callback(model.close)
        renewer = _renewer(settings)
        stack.push_async_callback(renewer.close)
        yield Services(
            store,
            model,
            workflows,
            ids,
            _limits(settings),
            release_of(settings),
            renewer=renewer,
        )


def _renewer(settings: Settings) -> LeaseRenewer | RenewalThread:
    url = settings.database_url
    if url.startswith("sqlite") and sqlite_path(url) == MEMORY:
        return LeaseRenewer()  # a second connection would open another database
    return RenewalThread(functools.partial(open_store, url, pool_size=1), time.monotonic)


def _open_model(settings: Settings) -> Model:
    base_url = settings.model_base_url
    if not base_url:
        log.warning("demo_model", why="neither OPENAI_API_KEY nor OPENAI_BASE_URL is set")
    return open_model(
        base_url=base_url,
        api_key=settings.openai_api_key,
        model=settings.openai_model,
        api=settings.openai_api,
        temperature=settings.openai_temperature,
        max_output_tokens=settings.openai_max_output_tokens,
        timeout_s=settings.model_timeout_s,
        headers=settings.model_headers,
        proxies=_proxies(settings),
        ca_file=settings.ssl_cert_file,
    )


def _proxies(settings: Settings) -> Proxies:
    return Proxies(settings.https_proxy, settings.http_proxy, settings.no_proxy)


async def ask_for_models(settings: Settings, timeout_s: float) -> ModelList:
    """What the model's server lists. Raises ModelUnavailable if it does not answer by then."""
    endpoint = Endpoint(
        settings.model_base_url,
        settings.openai_api_key,
        settings.model_headers,
        _proxies(settings),
        settings.ssl_cert_file,
    )
    return await list_models(endpoint, timeout_s=timeout_s)


@asynccontextmanager
async def open_mailer(settings: Settings) -> AsyncIterator[Mailer | None]:
    """Who takes mail away, closed at the end; None where it stays in the outbox.

    Raises SettingsError.
    """
    if not settings.smtp_url:
        yield None
        return
    mailer: Mailer = mails.open_mailer(smtp_url=settings.smtp_url, mail_from=settings.mail_from)
    try:
        yield mailer
    finally:
        await mailer.close()


def _limits(settings: Settings) -> Limits:
    usd, model = settings.run_budget_usd, settings.openai_model
    return Limits(
        max_steps=settings.max_steps,
        calls_per_reply=settings.max_calls_per_reply,
        conversation_entries=settings.max_conversation_entries,
        conversation_bytes=settings.max_conversation_bytes,
        deadline_s=settings.run_deadline_s,
        lease_s=settings.lease_s,
        max_attempts=settings.max_attempts,
        run_tokens=settings.run_budget_tokens,
        run_micro_usd=None if usd is None else round(usd * 1_000_000),
        # The demo model costs nothing, whatever OPENAI_MODEL says.
        price=price_of(model) if usd is not None and settings.model_base_url else None,
        context_tokens=settings.openai_context_tokens or window_of(model) or WINDOW_TOKENS,
    )


def embedded_file(settings: Settings) -> Path | None:
    """The file of the embedded database; None where the database is a server."""
    if not settings.database_url.startswith("sqlite"):
        return None
    return Path(sqlite_path(settings.database_url)).absolute()


async def check_database(store: Store) -> None:
    """Look whether the database is fit for this release. Raises SettingsError with all that is not.

    Raises StoreUnavailable if it does not answer.
    """
    try:
        problems, schema = await store.check(), await store.schema()
    except (StoreRefused, StoreFailed) as error:
        raise SettingsError(f"DATABASE_URL: {error}") from error
    if (problem := schema_problem(schema)) is not None:
        problems.append(problem)
    if problems:
        raise SettingsError(*(f"DATABASE_URL: {problem}" for problem in problems))


def schema_problem(schema: Schema | None) -> str | None:
    """Why this release cannot work on such a schema, and what to do; None if it can."""
    if schema is not None and schema.fits(SCHEMA):
        return None
    found = f"at {schema.level}" if schema else "missing"
    behind = not schema or schema.level < SCHEMA
    do = "run `twelvefold migrate`" if behind else "run the release that brought it there"
    return f"the schema is {found}, this release needs {SCHEMA}; {do}"


def this_release(settings: Settings, newer: Schema | None = None) -> Release:
    """What the ledger says of this release, put in place on its own schema or on a newer one."""
    level, serves = (newer.level, newer.serves) if newer else (SCHEMA, migrations.SERVES)
    return Release(release_of(settings), __version__, commit(), level, serves)


def commit() -> str:
    """The commit that the package was built of; "" for a working copy."""
    built = Path(__file__).with_name("COMMIT")
    return built.read_text().strip() if built.exists() else ""


async def migrate_journal(database_url: str) -> list[str]:
    """Apply the migrations that are missing; returns them.

    Raises StoreUnavailable or StoreRefused.
    """
    return await migrations.migrate(database_url)


def journal_sql(settings: Settings, since: str = "base") -> str:
    """The migrations behind a revision ("base": all of them) as SQL, for a DBA to run, and the
    line of the ledger.

    Raises StoreRefused if there is no such revision.
    """
    script = migrations.offline_sql(settings.database_url, since=since)
    return script + migrations.ledger_sql(settings.database_url, this_release(settings))


def load_workflows(paths: Sequence[str]) -> dict[str, Workflow]:
    """The workflows at these import paths, by name, in order.

    Modules are looked for in the working directory, too. Raises SettingsError with a line for
    each path that leads nowhere.
    """
    if any(not path.startswith("twelvefold.") for path in paths) and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    workflows: dict[str, Workflow] = {}
    problems: list[str] = []
    for path in paths:
        try:
            workflow = _load_workflow(path)
        except SettingsError as error:
            problems.extend(error.problems)
            continue
        if workflows.setdefault(workflow.name, workflow) is not workflow:
            problems.append(f"WORKFLOWS: {path}: there is a workflow {workflow.name!r} already")
    if problems:
        raise SettingsError(*problems)
    return workflows


def _load_workflow(path: str) -> Workflow:
    module_name, _, name = path.partition(":")
    module = _import(path, module_name)
    found = getattr(module, name, None)
    if isinstance(found, Workflow):
        return found
    others = [key for key, value in vars(module).items() if isinstance(value, Workflow)]
    what = (
        f"{name} is of type {type(found).__name__}" if hasattr(module, name) else f"has no {name!r}"
    )
    hint = f"it has {', '.join(others)}" if others else "it has no Workflow at all"
    where = module.__file__ or "a package without a file"
    raise SettingsError(f"WORKFLOWS: {path}: {what}; {hint} ({where})")


def _import(path: str, module_name: str) -> ModuleType:
    try:
        return import_module(module_name)
    except ModuleNotFoundError as error:
        if not f"{module_name}.".startswith(f"{error.name}."):
            raise _import_failed(path, error) from error
        raise SettingsError(
            f"WORKFLOWS: {path}: no module {error.name!r} in {os.getcwd()} or installed"
        ) from error
    except Exception as error:  # the author's code may raise anything
        raise _import_failed(path, error) from error


def _import_failed(path: str, error: Exception) -> SettingsError:
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    # What the author wrote: not where ours noticed, by way of `cached_property` or of the code that
    # a dataclass makes of text.
    not_theirs = (OURS, "<", functools.__file__)
    theirs = [one for one in frames if not one.filename.startswith(not_theirs)]
    last = ((theirs or frames) if isinstance(error, WorkflowError) else frames)[-1]
    where = f"{last.filename}, line {last.lineno}"
    if isinstance(error, SyntaxError):
        where = f"{error.filename}, line {error.lineno}"
    place = "" if _names_a_line(error) else f" ({where})"
    return SettingsError(f"WORKFLOWS: {path}: {type(error).__name__}: {error}{place}")


def _names_a_line(error: Exception) -> bool:
    """Whether the message ends with a place that is nearer to the mistake than any frame."""
    return isinstance(error, WorkflowError) and re.search(r", line \d+\)$", str(error)) is not None
