"""Opens the services of the settings.

mypy checks here that each service implements its port.
"""

import functools
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twelvefold import __version__
from twelvefold.boot.database import database_name, embedded_file, release_of
from twelvefold.boot.environment import RandomIds, read_environment
from twelvefold.boot.models import (
    OpenModels,
    check_models,
    default_endpoint,
    default_price,
    endpoint_of,
    find_price,
    prices_of,
    profiles_of,
    uses_default_model,
)
from twelvefold.boot.secrets import (
    broker_password,
    check_keys,
    database_password,
    smtp_password,
)
from twelvefold.boot.workflows import load_workflows, with_started
from twelvefold.config import NamedModel, Settings
from twelvefold.core import (
    DEFAULT_WINDOW_TOKENS,
    Ids,
    Limits,
    Listener,
    Mailer,
    Model,
    ModelReply,
    ModelRequest,
    NoWakeUps,
    Store,
    WakeUps,
    Workflow,
)
from twelvefold.engine import (
    CACHE_SHARE,
    LeaseRenewer,
    RenewalThread,
    Resources,
    Services,
    ThreadCache,
)
from twelvefold.errors import ModelUnavailable, SettingsError, WorkflowError
from twelvefold.observe.log import get_logger
from twelvefold.secret_file import SecretFile
from twelvefold.services import mail as mails
from twelvefold.services.broker import open_wake_ups
from twelvefold.services.model.http import ModelList, list_models
from twelvefold.services.model.named import name_fields
from twelvefold.services.model.prices import window_of
from twelvefold.services.store import MEMORY, open_store, sqlite_path
from twelvefold.services.traces import open_traces

if TYPE_CHECKING:
    from twelvefold.services.broker.rabbitmq import RabbitMQWakeUps

log = get_logger(__name__)


class NoModel:
    """The model of services that were opened without one; it rejects every request."""

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        raise ModelUnavailable("the services were opened without a model")

    async def close(self) -> None:
        """Do nothing."""


@asynccontextmanager
async def open_services(
    settings: Settings,
    *,
    workflows: Mapping[str, Workflow[Any]] | None = None,
    model: Model | None = None,
    models: Mapping[str, Model] | None = None,
    with_model: bool = True,
    resources: Mapping[type, object] | None = None,
) -> AsyncIterator[Services]:
    """Open the services of the settings without connecting, and close them at the end.

    `workflows` replace those of the settings. `model` replaces the default model, `models` those
    of MODELS that have the same names; the caller closes them. `with_model=False` avoids importing
    the model's client. `resources` are handed to tools for their types instead of what the
    workflows provide. Raises SettingsError.

    Example:
        import asyncio

        from twelvefold import Settings, open_services

        async def main() -> None:
            settings = Settings(database_url="sqlite://", workflows=("examples.shopping:workflow",))
            async with open_services(settings, with_model=False) as services:
                assert list(services.workflows) == ["shopping"]

        asyncio.run(main())
    """
    offered = load_workflows(settings.workflows) if workflows is None else workflows
    workflows = with_started(offered)
    named = OpenModels(settings, models)
    check_models(workflows, named)
    if with_model:
        check_keys(settings)
    handed_in = _check_resources(Resources(resources), workflows)
    ids: Ids = RandomIds()
    async with AsyncExitStack() as stack:
        password = database_password(settings)
        store: Store = await open_store(
            settings.database_url, pool_size=settings.database_pool_size, password=password
        )
        stack.push_async_callback(store.close)
        if file := embedded_file(settings):
            log.info("embedded_database", file=str(file))
        stack.push_async_callback(named.close)
        if model is None:
            is_used = uses_default_model(workflows)
            model = named.open_default(is_used=is_used) if with_model else NoModel()
            stack.push_async_callback(model.close)
        renewer = _open_renewer(settings, password)
        stack.push_async_callback(renewer.close)
        wake_ups = await stack.enter_async_context(_open_wake_ups(settings))
        traces = open_traces(store, read_environment(), __version__)
        if traces:
            traces.start()
            stack.push_async_callback(traces.close)
        limits, release = _limits(settings), release_of(settings)
        profiles = profiles_of(settings, limits)
        if settings.models and settings.run_budget_usd is not None:
            limits = replace(limits, prices=prices_of(profiles))
        threads = ThreadCache(settings.max_run_bytes // CACHE_SHARE)
        # Last, so that they are closed first: closing one may use any other service.
        stack.push_async_callback(handed_in.close)
        yield Services(
            store,
            model,
            workflows,
            ids,
            limits,
            release,
            renewer=renewer,
            wake_ups=wake_ups,
            resources=handed_in,
            threads=threads,
            models=named,
            profiles=profiles,
            internal=frozenset(workflows.keys() - offered.keys()),
            find_price=functools.partial(find_price, settings),
            traces=traces,
        )


def _check_resources(resources: Resources, workflows: Mapping[str, Workflow]) -> Resources:
    try:
        resources.check(workflows.values())
    except WorkflowError as error:
        raise SettingsError(f"WORKFLOWS: {error}") from error
    return resources


def _open_renewer(settings: Settings, password: SecretFile | None) -> LeaseRenewer | RenewalThread:
    url = settings.database_url
    if url.startswith("sqlite") and sqlite_path(url) == MEMORY:
        return LeaseRenewer()  # a second connection would open another database
    opened = functools.partial(open_store, url, pool_size=1, password=password)
    return RenewalThread(opened, time.monotonic)


@asynccontextmanager
async def _open_wake_ups(settings: Settings) -> AsyncIterator[WakeUps]:
    if not settings.broker_url:
        yield NoWakeUps()
        return
    broker = open_broker(settings)
    try:
        yield broker
    finally:
        await broker.close()


def open_broker(settings: Settings) -> "RabbitMQWakeUps":
    """Return the broker of BROKER_URL, which is set. Close it. Raises SettingsError."""
    return open_wake_ups(
        broker_url=settings.broker_url,
        database=database_name(settings),
        ca_file=settings.ssl_cert_file,
        password=broker_password(settings),
    )


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
        # The demo model is free, whatever OPENAI_MODEL is.
        price=default_price(settings) if usd is not None else None,
        active_runs_per_key=settings.max_active_runs_per_key,
        active_runs_per_principal=settings.max_active_runs_per_principal,
        context_tokens=settings.openai_context_tokens or window_of(model) or DEFAULT_WINDOW_TOKENS,
    )


async def request_model_list(
    settings: Settings, timeout_s: float, named: NamedModel | None = None
) -> ModelList:
    """Return the models that the server of the default model, or of a named one, lists.

    Raises ModelUnavailable, also on timeout.
    """
    endpoint = endpoint_of(settings, named) if named else default_endpoint(settings)
    try:
        return await list_models(endpoint, timeout_s=timeout_s)
    except ModelUnavailable as error:
        if named and named.url:
            name_fields(named.name, error)
        raise


@asynccontextmanager
async def open_mailer(settings: Settings) -> AsyncIterator[Mailer | None]:
    """Open the mailer and close it at the end; None if SMTP_URL is not set.

    Raises SettingsError.
    """
    if not settings.smtp_url:
        yield None
        return
    mailer: Mailer = mails.open_mailer(
        smtp_url=settings.smtp_url,
        mail_from=settings.mail_from,
        password=smtp_password(settings),
    )
    try:
        yield mailer
    finally:
        await mailer.close()
