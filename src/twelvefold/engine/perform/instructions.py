"""The instructions of a model request from the workflow's function."""

import asyncio
import math
from collections.abc import Awaitable
from functools import partial
from typing import cast

from twelvefold.core import (
    InstructionsFunction,
    Principal,
    ToolError,
    ToolReadOnly,
    Workflow,
    error_text,
    place_text,
)
from twelvefold.engine.perform.function import run_in_own_task
from twelvefold.engine.perform.tool_error import tool_error
from twelvefold.engine.perform.tool_thread import call_in_thread
from twelvefold.engine.services import Services
from twelvefold.errors import StoreRefused, StoreUnavailable
from twelvefold.observe.log import get_logger

log = get_logger(__name__)


class InstructionsFailed(Exception):
    """The author's function raised `error`; another call would not help."""

    def __init__(self, error: ToolError) -> None:
        super().__init__(error.type)
        self.error = error

    @property
    def sentence(self) -> str:
        """What happened, for the journal and the caller."""
        return f"the workflow's instructions raised {error_text(self.error)}"


async def resolve_instructions(services: Services, workflow: Workflow, principal: str) -> str:
    """Return what the function of a workflow that has one returns for this principal.

    It is called outside any transaction.

    Raises InstructionsFailed, and StoreFailed if the database cannot be read. Retries while it is
    unavailable; the run's deadline ends that.
    """
    function = cast("InstructionsFunction", workflow.instructions_function)
    if not function.takes_database:
        return await _call(workflow, function, Principal(principal))

    async def read() -> str:
        async with services.store.read() as db:
            return await _call(workflow, function, Principal(principal), db)

    return await services.retry(read, math.inf)


async def _call(
    workflow: Workflow,
    function: InstructionsFunction,
    principal: Principal,
    db: ToolReadOnly | None = None,
) -> str:
    call = partial(function.function, principal, *([] if db is None else [db]))
    limit = asyncio.timeout(function.timeout_s)
    try:
        async with limit:
            text = await run_in_own_task(partial(_run, function, call))
            if db is not None:
                db.raise_if_lost()
        return _checked(text)
    except (GeneratorExit, KeyboardInterrupt):
        raise
    except BaseException as error:  # a function may raise SystemExit, like a tool
        _raise_if_not_of_the_function(db, error)
        raised = tool_error(error, function, timed_out=limit.expired())
        # Without the message, which may contain rows.
        where = place_text(raised)
        log.error("instructions_raised", workflow=workflow.name, error=raised.type, where=where)
        raise InstructionsFailed(raised) from error


async def _run(function: InstructionsFunction, call: partial[object]) -> object:
    if function.is_async:
        return await cast("Awaitable[object]", call())
    return await call_in_thread("instructions", call, lambda: True)


def _checked(text: object) -> str:
    """Return the text, valid as UTF-8. Raises TypeError if it is none."""
    if not isinstance(text, str):
        raise TypeError(f"it returned a {type(text).__name__}, not a str")
    return text.encode("utf-8", "backslashreplace").decode()


def _raise_if_not_of_the_function(db: ToolReadOnly | None, error: BaseException) -> None:
    """Raise if this task is cancelled, or if the failure is the database's."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError from error
    if db is None:
        return
    try:
        db.raise_if_lost()
    except StoreRefused:
        return  # by the function's own statement
    if isinstance(error, StoreUnavailable):
        raise error
