"""Fork a thread, and delete one."""

from contextlib import suppress
from functools import partial

from twelvefold.core import Principal, RunId, RunStarted, ThreadId
from twelvefold.engine.commands.step_under_way import explain_thread_wait
from twelvefold.engine.services import Services
from twelvefold.errors import DuplicateRow, NotFound, RequestError, StoreUnavailable


async def fork_at(
    services: Services,
    source: RunId | ThreadId,
    position: int,
    *,
    principal: Principal | None = None,
) -> ThreadId:
    """Create a thread that continues from an entry of another thread or of that one's origin.

    Raises NotFound if there is no such entry, or if `principal` is given and the thread is not
    theirs, and RequestError for the thread of a run that another one started.
    """
    thread = source.thread if isinstance(source, RunId) else source
    head = await services.retry(lambda: services.store.thread(thread))
    if principal is not None and head.principal != principal.id:
        raise NotFound(f"no thread conv_{thread}")
    while head.forked_from and position <= head.forked_at:
        head = await services.retry(partial(services.store.thread, head.forked_from))
    await _check_is_no_child(services, head.id)
    fork = services.ids.thread_in_family(head.id)
    with suppress(DuplicateRow):  # created by an earlier attempt whose answer was lost
        await services.retry(lambda: services.store.fork(head.id, position, fork))
    return fork


async def _check_is_no_child(services: Services, thread: ThreadId) -> None:
    """Raise RequestError for the thread of a run that another one started.

    The other run would not wait for the fork, so nothing would read its result.
    """
    first = await services.retry(lambda: services.store.first_entry(thread, after=0))
    if first and isinstance(first.event, RunStarted) and (parent := first.event.parent):
        run = RunId(thread, first.run)
        raise RequestError(f"run {run} was started by run {parent}; fork that one")


async def delete_thread(services: Services, thread: ThreadId) -> None:
    """Hide a thread, and request the cancel of its active run.

    Raises NotFound, and StepUnderWay as `cancel` does.
    """
    try:
        await services.store.delete_thread(thread)
    except StoreUnavailable as error:
        raise await explain_thread_wait(services, thread, error) from error
