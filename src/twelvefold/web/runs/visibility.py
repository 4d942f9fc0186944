"""Checks whether a principal may open a conversation: it is its own, stored and not deleted."""

from twelvefold.core import Principal, Store, ThreadHead, ThreadId
from twelvefold.engine import retry_unavailable
from twelvefold.errors import NotFound
from twelvefold.web.ids import conversation_id


async def load_visible_head(store: Store, principal: Principal, thread: ThreadId) -> ThreadHead:
    """Return a conversation that the principal may open. Raises NotFound."""
    not_found = NotFound(f"no conversation {conversation_id(thread)!r}")
    try:
        head = await retry_unavailable(lambda: store.thread(thread))
        if head.principal == principal.id and head.listed is None:
            # A release without the column has written it.
            head = (await retry_unavailable(lambda: store.listed_thread(thread))).head
    except NotFound:
        raise not_found from None
    if not is_visible(head, principal):
        raise not_found
    return head


def is_visible(head: ThreadHead, principal: Principal) -> bool:
    """Return whether the principal may open the conversation."""
    return head.principal == principal.id and bool(head.listed)
