"""Runs a tool, or another function of the author's, in a task of its own."""

import asyncio
from collections.abc import Awaitable, Callable


async def run_in_own_task(body: Callable[[], Awaitable[object]]) -> object:
    """Await `body()` in a new task; cancelling the caller cancels that task.

    A body that has just ended is not cancelled any more: its outcome is known.

    A tool, or another function of the author's, can leave a request for cancellation on its task
    without being cancelled: a TaskGroup of Python 3.11 does so when a child fails while the group
    waits for its end. On the run's task that would look like the end of the process.
    """

    async def attempt() -> tuple[object, BaseException | None]:
        try:
            return await body(), None
        except BaseException as error:  # a task that raises SystemExit ends the event loop
            return None, error

    task = asyncio.get_running_loop().create_task(attempt())
    try:
        result, error = await task
    except asyncio.CancelledError:
        if not task.done() or task.cancelled():
            raise
        result, error = task.result()
    if error is not None:
        raise error
    return result
