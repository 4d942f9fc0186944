"""Which conversations a principal may open: not deleted ones, nor what was not to be kept."""

from twelvefold.core.ids import ThreadId
from twelvefold.core.ports import Principal, Store, ThreadHead
from twelvefold.engine.retry import patiently
from twelvefold.errors import NotFound
from twelvefold.web.projection.ids import conversation_id
from twelvefold.web.streaming.reader import PATIENCE_S


async def head_of(store: Store, principal: Principal, thread: ThreadId) -> ThreadHead:
    """A conversation of the principal's. Raises NotFound, also for what was not to be kept."""
    nothing = NotFound(f"no conversation {conversation_id(thread)!r}")
    try:
        head = await patiently(lambda: store.thread(thread), PATIENCE_S)
        if head.principal == principal.id and head.listed is None:
            # An older release wrote it.
            head = (await patiently(lambda: store.listed_thread(thread), PATIENCE_S)).head
    except NotFound:
        raise nothing from None
    if head.principal != principal.id or not head.listed:
        raise nothing
    return head
