"""Why a command had to wait for a run: a transactional step locks its row until the commit."""

from contextlib import suppress

from twelvefold.core import RunId, Thread, ThreadId, fold
from twelvefold.engine.services import Services
from twelvefold.errors import StepUnderWay, StoreFailed, StoreUnavailable, TwelvefoldError


async def explain_wait(services: Services, run: RunId, error: StoreUnavailable) -> StoreUnavailable:
    """Return StepUnderWay if the database answers and a process drives the run, else the error.

    A lock that is not granted in time looks like a database that does not answer. StoreFailed is
    returned as it is.
    """
    if isinstance(error, StoreFailed):
        return error
    with suppress(TwelvefoldError):
        if (await services.store.run(run)).status == "running":
            thread = fold((await services.store.load(run.thread)).entries)
            return StepUnderWay(
                f"run {run} is in the transaction of a step{_describe_tool(services, thread)}, "
                "which ends first; try again when it is over"
            ).loggable()
    return error


async def explain_thread_wait(
    services: Services, thread: ThreadId, error: StoreUnavailable
) -> StoreUnavailable:
    """Return as `explain_wait` does, for the thread's last run."""
    with suppress(TwelvefoldError):
        if entries := (await services.store.load(thread)).entries:
            return await explain_wait(services, RunId(thread, entries[-1].run), error)
    return error


def _describe_tool(services: Services, thread: Thread) -> str:
    """Name the running tool, if its call is in the journal: it may commit with its reply."""
    workflow = services.workflows.get(thread.workflow)
    tools = workflow.by_name if workflow else {}
    for call in thread.pending:
        if call.tool in tools and tools[call.tool].effect == "transactional":
            return f" (tool {call.tool!r})"
    return ""
