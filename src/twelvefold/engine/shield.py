"""Work that a cancellation does not interrupt: a step's transaction happens whole or not at all."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from twelvefold.observe.log import get_logger

log = get_logger(__name__)
Result = TypeVar("Result")


async def run_uninterrupted(
    work: Coroutine[Any, Any, Result] | asyncio.Task[Result],
) -> Result:
    """Do all of the work, even if the caller is cancelled meanwhile; then the caller is.

    A cancelled task does not stop its statement on the server: a step's transaction is short, and
    either all of it happens or none. However often it is cancelled: a transaction that nobody
    waits for could still commit after the next write of the same run.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()):
            log.warning("step_abandoned", error=type(error).__name__)
        raise
