"""Send an event to the runs of a workflow and principal."""

from typing import Any

from twelvefold.core.answers import encode_value, make_signal_key
from twelvefold.core.waiting import check_key
from twelvefold.engine.services import Services
from twelvefold.errors import RequestError


async def send_signal(
    services: Services, key: str, payload: Any = None, *, workflow: str, principal: str, sender: str
) -> bool:
    """Send an event, and let the runs that wait for it continue.

    `payload` is a JSON value, which the model reads. Returns False, without a change, if the event
    was sent before: the first delivery counts. Raises RequestError, and StoreUnavailable.
    """
    if workflow not in services.workflows:
        known = ", ".join(services.workflows)
        raise RequestError(f"no workflow {workflow!r}; there are {known}")
    to = make_signal_key(workflow, principal, key)
    try:
        check_key("by", sender)
    except ValueError as error:
        raise RequestError(str(error)) from error
    text = encode_value(payload, "the payload")
    is_first = await services.retry(lambda: services.store.signal(to, text, sender))
    if is_first:
        services.wake_ups.run_queued(workflow)
    return is_first
