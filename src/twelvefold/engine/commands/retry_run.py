"""Run the input of a run again that did not complete."""

from msgspec import structs

from twelvefold.core import OVER, Principal, RunId, RunRecord, RunStarted
from twelvefold.engine.commands.start import RunRequest, enqueue_run
from twelvefold.engine.services import Services
from twelvefold.errors import Conflict, NotFound, RequestError, TooLate


async def retry_run(services: Services, run: RunId, *, key_id: str = "") -> RunId:
    """Enqueue a run with the input and options of one that did not complete; return its id.

    It follows that run in the same conversation, for the same principal: the model reads what that
    run has done, so that no tool has to do it again. `key_id` is the API key of the caller. Raises
    NotFound, Conflict if the run is not over, TooLate if it has completed or is not the last one of
    its conversation, RequestError if another run started it, and what `enqueue_run` raises.
    """
    record = await services.retry(lambda: services.store.run(run))
    _check_status(record)
    head = await services.retry(lambda: services.store.thread(run.thread))
    first = await services.retry(
        lambda: services.store.first_entry(run.thread, after=record.began - 1)
    )
    if first is None or not isinstance(started := first.event, RunStarted):
        raise NotFound(f"no run {run}")
    if started.parent:
        raise RequestError(f"run {run} was started by run {started.parent}; retry that one")
    request = RunRequest(
        record.workflow,
        Principal(record.principal, key_id),
        started.items,
        run.thread,
        structs.replace(started.options, stream=False),
        position=head.head,
        allowed_tools=started.allowed_tools,
    )
    new, _ = await enqueue_run(services, request)
    return new


def _check_status(record: RunRecord) -> None:
    if record.status not in OVER:
        raise Conflict(f"run {record.run} is not over")
    if record.status == "completed":
        raise TooLate(f"run {record.run} has completed, so there is nothing to retry")
    if record.last_position is not None:
        raise TooLate(f"run {record.run} is not the last one of its conversation; fork it")
