"""Checks whether a principal may open a conversation: it is its own, stored and not deleted."""

from contextlib import suppress
from functools import partial

from starlette.requests import Request

from twelvefold.core import Principal, RunStarted, Store, ThreadHead, ThreadId
from twelvefold.engine import retry_unavailable
from twelvefold.errors import NotFound
from twelvefold.web.http import principal_of, require_workflow
from twelvefold.web.ids import conversation_id, parse_conversation_id
from twelvefold.web.state import web_of


async def load_path_head(request: Request) -> ThreadHead:
    """Return the conversation that the request's path names.

    Raises NotFound, and ApiError with 403 if the request's key does not allow to change it.
    """
    thread = parse_conversation_id(request.path_params["conversation_id"])
    store, principal = web_of(request).services.store, principal_of(request)
    head = await load_visible_head(store, principal, thread)
    require_workflow(request, head.workflow)
    return head


async def load_visible_head(store: Store, principal: Principal, thread: ThreadId) -> ThreadHead:
    """Return a conversation that the principal may open. Raises NotFound."""
    not_found = NotFound(f"no conversation {conversation_id(thread)!r}")
    try:
        head = await retry_unavailable(partial(store.thread, thread))
        if head.principal == principal.id and head.listed is None:
            # A release without the column has written it.
            head = (await retry_unavailable(partial(store.listed_thread, thread))).head
    except NotFound:
        raise not_found from None
    if not is_visible(head, principal):
        raise not_found
    return head


async def load_journal_head(store: Store, principal: Principal, thread: ThreadId) -> ThreadHead:
    """Return a conversation whose journal the principal may read. Raises NotFound.

    Those that it may open, and those of the runs that its runs have started.
    """
    try:
        return await load_visible_head(store, principal, thread)
    except NotFound as error:
        with suppress(NotFound):
            head = await retry_unavailable(partial(store.thread, thread))
            first = await retry_unavailable(partial(store.first_entry, thread, after=0))
            is_child = first and isinstance(first.event, RunStarted) and first.event.parent
            if is_child and head.principal == principal.id:
                return head
        raise error from None


def is_visible(head: ThreadHead, principal: Principal) -> bool:
    """Return whether the principal may open the conversation."""
    return head.principal == principal.id and bool(head.listed)
