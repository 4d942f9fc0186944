"""Why a command had to wait for a run: a transactional step holds its row until the commit."""

from contextlib import suppress

from twelvefold.core.ids import RunId, ThreadId
from twelvefold.core.thread import Thread, fold
from twelvefold.engine.services import Services
from twelvefold.errors import StepUnderWay, StoreFailed, StoreUnavailable, TwelvefoldError


async def reason_of(services: Services, run: RunId, error: StoreUnavailable) -> StoreUnavailable:
    """StepUnderWay where the database answers and a process is driving the run, else the error.

    A lock that is not granted in time looks like a database that does not answer. StoreFailed is no
    such error, whatever becomes of the run.
    """
    if isinstance(error, StoreFailed):
        return error
    with suppress(TwelvefoldError):
        if (await services.store.run(run)).status == "running":
            thread = fold((await services.store.load(run.thread)).entries)
            return StepUnderWay(
                f"run {run} is in the transaction of a step{_tool_of(services, thread)}, "
                "which ends first; try again when it is over"
            ).loggable()
    return error


async def reason_of_thread(
    services: Services, thread: ThreadId, error: StoreUnavailable
) -> StoreUnavailable:
    """As `reason_of`, for the thread's last run."""
    with suppress(TwelvefoldError):
        if entries := (await services.store.load(thread)).entries:
            return await reason_of(services, RunId(thread, entries[-1].run), error)
    return error


def _tool_of(services: Services, thread: Thread) -> str:
    """The tool that runs, if its call is in the journal; it may commit together with its reply."""
    workflow = services.workflows.get(thread.workflow)
    tools = workflow.by_name if workflow else {}
    for call in thread.pending:
        if call.tool in tools and tools[call.tool].effect == "transactional":
            return f" (tool {call.tool!r})"
    return ""
