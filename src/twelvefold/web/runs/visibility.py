"""Which conversations a principal may open: not deleted ones, nor what was not to be kept."""

from twelvefold.core.ids import ThreadId
from twelvefold.core.ports import Principal, Store, ThreadHead
from twelvefold.engine.retry import retry_unavailable
from twelvefold.errors import NotFound
from twelvefold.web.ids import conversation_id


async def visible_head(store: Store, principal: Principal, thread: ThreadId) -> ThreadHead:
    """A conversation of the principal's. Raises NotFound, also for what was not to be kept."""
    nothing = NotFound(f"no conversation {conversation_id(thread)!r}")
    try:
        head = await retry_unavailable(lambda: store.thread(thread))
        if head.principal == principal.id and head.listed is None:
            # An older release wrote it.
            head = (await retry_unavailable(lambda: store.listed_thread(thread))).head
    except NotFound:
        raise nothing from None
    if head.principal != principal.id or not head.listed:
        raise nothing
    return head
