"""What of a thread its owner may see: not what was deleted, and not what was not to be kept.

A conversation that was named keeps what was said in it, whatever becomes of the response. Source:
the OpenAI API, where the items of a conversation outlive the responses that they came with.
"""

from collections.abc import Iterable
from dataclasses import replace

from twelvefold.core.events import Asked, Entry, ItemRemoved, ItemsAdded, RunStarted
from twelvefold.core.ids import ThreadId
from twelvefold.core.ports import Principal, Store, ThreadHead, ThreadRecord
from twelvefold.engine.patience import patiently
from twelvefold.errors import NotFound
from twelvefold.web.ids import conversation_id
from twelvefold.web.reading import PATIENCE_S


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


async def kept_of(store: Store, record: ThreadRecord) -> ThreadRecord:
    """The thread without what was deleted. Raises NotFound if nothing of it is left."""
    head = ThreadHead(record.id, "", "", record.head, record.forked_from, record.forked_at, 0, {})
    lineage = await patiently(lambda: store.lineage(head), PATIENCE_S)
    deleted = await patiently(lambda: store.deleted_runs(lineage), PATIENCE_S)
    gone = {
        entry.run
        for entry in record.entries
        if isinstance(entry.event, RunStarted)
        and entry.run in deleted
        and not entry.event.asked.conversation
    }
    left = [entry for entry in record.entries if entry.run not in gone or _is_put_in(entry)]
    began = _began(record)
    if is_unnamed(record) and not any(began[run].store for run in began.keys() - gone):
        raise NotFound(f"no conversation {conversation_id(record.id)!r}")
    return replace(record, entries=tuple(left))


def is_unnamed(record: ThreadRecord) -> bool:
    """Whether it is nothing but responses, of which none was begun in a conversation."""
    began = _began(record)
    put_in = any(_is_put_in(entry) for entry in _own(record))
    return bool(began) and not put_in and not any(one.conversation for one in began.values())


def is_kept(record: ThreadRecord) -> bool:
    """Whether it is more than turns that were not to be kept, in no conversation of a name."""
    return not is_unnamed(record) or any(one.store for one in _began(record).values())


def _began(record: ThreadRecord) -> dict[int, Asked]:
    """What the thread's own runs were asked for."""
    return {
        entry.run: entry.event.asked
        for entry in _own(record)
        if isinstance(entry.event, RunStarted)
    }


def _own(record: ThreadRecord) -> Iterable[Entry]:
    return (entry for entry in record.entries if entry.position > record.forked_at)


def _is_put_in(entry: Entry) -> bool:
    return isinstance(entry.event, ItemsAdded | ItemRemoved)
