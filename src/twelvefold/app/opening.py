"""Opens the services of a process: the one way for `App`, for each command and for the service."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from twelvefold.admin.migrate import prepare
from twelvefold.boot import open_services
from twelvefold.config import Settings
from twelvefold.core import Model, Workflow, abbreviate
from twelvefold.engine import ExitLimit, Services
from twelvefold.errors import WorkflowError


@asynccontextmanager
async def open_checked_services(
    settings: Settings,
    *,
    workflows: Mapping[str, Workflow[Any]] | None = None,
    model: Model | None = None,
    models: Mapping[str, Model] | None = None,
    with_model: bool = True,
    resources: Mapping[type, object] | None = None,
    limit: ExitLimit | None = None,
) -> AsyncIterator[Services]:
    """Open the services and check the database. Raises SettingsError if it does not fit.

    An embedded file is migrated and seeded; a server is not. `workflows`: instead of those of the
    settings. `model`: instead of the default model. `models`: instead of those of MODELS that have
    the same names. Neither is closed. `resources`: instead of those of the workflows. `limit` is
    the limit that this process starts at SIGTERM.
    """
    async with open_services(
        settings,
        workflows=workflows,
        model=model,
        models=models,
        with_model=with_model,
        resources=resources,
    ) as opened:
        # Before the check: the gate of these services takes what it reads.
        services = replace(opened, exit_limit=limit or opened.exit_limit)
        await prepare(settings, services)
        yield services


def workflows_by_name(workflows: object) -> dict[str, Workflow[Any]]:
    """Return the workflows of an app. Raises WorkflowError."""
    members = workflows if isinstance(workflows, Sequence) else None
    given = [one for one in members or () if isinstance(one, Workflow)]
    if members is None or len(given) < len(members):
        raise WorkflowError(
            f"an app takes a list of workflows, as in App([shop]), not {abbreviate(workflows)}"
        )
    found = {one.name: one for one in given}
    if len(found) < len(given):
        names = ", ".join(one.name for one in given)
        raise WorkflowError(f"each workflow of an app has a name of its own, not {names}")
    return found
