"""Imports and builds before the first run what would otherwise be imported on first use.

An HTTP client takes a second of CPU to import, and many seconds on a loaded machine. On the event
loop, with runs claimed, that would delay the renewals of their leases.
"""

import asyncio
from typing import Protocol, runtime_checkable

from twelvefold.core.ports import Mailer
from twelvefold.core.workflow import Tool, Workflow
from twelvefold.engine.services import Services
from twelvefold.errors import WorkflowError
from twelvefold.observe.log import get_logger

log = get_logger(__name__)


@runtime_checkable
class Preparable(Protocol):
    """A service that imports or builds something on first use."""

    def prepare(self) -> None:
        """Import and build it now; called in a thread. A second call does nothing."""
        ...


class Preparation:
    """Prepares the services and tools of a process once, in a thread."""

    def __init__(self, services: Services, mailer: Mailer | None = None) -> None:
        self._services = services
        self._mailer = mailer
        self._task: asyncio.Task[None] | None = None

    async def ready(self) -> None:
        """Return when the preparation is done; all callers wait for the same one."""
        if self._task is None:
            work = asyncio.to_thread(prepare, self._services, self._mailer)
            self._task = asyncio.get_running_loop().create_task(work, name="prepare")
        if not self._task.done():
            await asyncio.shield(self._task)


def prepare(services: Services, mailer: Mailer | None = None) -> None:
    """Import and build what runs of these workflows need.

    Raises nothing. An error is logged, and raised again in the runs that use the service or tool.
    """
    attached: tuple[object, ...] = (services.model, services.store, mailer)
    for service in attached:
        if isinstance(service, Preparable):
            _prepare_service(service)
    for workflow in services.workflows.values():
        for tool in workflow.tools:
            _prepare_tool(workflow, tool)


def _prepare_service(service: Preparable) -> None:
    try:
        service.prepare()
    except Exception:
        log.exception("service_not_prepared", service=type(service).__name__)


def _prepare_tool(workflow: Workflow, tool: Tool) -> None:
    try:
        tool.prepare()
    except WorkflowError as error:
        log.error("tool_not_prepared", workflow=workflow.name, error=str(error))
    except Exception:  # a type of the author may raise anything when its schema is built
        log.exception("tool_not_prepared", workflow=workflow.name, tool=tool.name)
