"""The runs before the latest one: as entries, as turns, and in the form of a request.

The part that every later request begins with is prepared once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from msgspec import Struct, field

from twelvefold.core.conversation.attachments import has_attachments, size_in_window
from twelvefold.core.conversation.sendable import Prepared, prepare
from twelvefold.core.conversation.turns import CallResults, Turn, results_of, turns_of
from twelvefold.core.events import Entry, Item, ItemsAdded, RunStarted
from twelvefold.core.ids import CallIds
from twelvefold.core.ports import KnownItems

_SYSTEM_ROLES = ("system", "developer")


@dataclass(frozen=True)
class History:
    """The entries before the latest run, and their turns, computed once.

    `start` is the first entry of the latest run: it may hold results of earlier calls.
    """

    entries: tuple[Entry, ...]
    start: Entry | None = None

    @cached_property
    def turns(self) -> tuple[Turn, ...]:
        start = self.start.position if self.start else 0
        unread = (ids for (at, _), ids in self.results.client_items.items() if at == start)
        return turns_of(self.entries, self.results, {id for ids in unread for id in ids})

    @cached_property
    def results(self) -> CallResults:
        return results_of((*self.entries, self.start) if self.start else self.entries)

    @cached_property
    def has_attachments(self) -> bool:
        """Whether a message that a caller sent, or a result, has an image or a file."""
        return any(map(brings_attachments, self.entries))

    @cached_property
    def sent(self) -> "SentHistory":
        """The part of the turns that every later request begins with."""
        return SentHistory().extended(self.turns)

    def followed_by(self, entries: tuple[Entry, ...], start: Entry) -> "History":
        """Return the history with a further run, and keep the properties that stay valid."""
        history = History(self.entries + entries, start)
        if "has_attachments" in vars(self):
            added = self.has_attachments or any(map(brings_attachments, entries))
            vars(history).update(has_attachments=added)
        if "sent" not in vars(self) or self.results.may_change_earlier_turns:
            return history
        results = results_of((*entries, start))
        if not results.may_change_earlier_turns:
            turns = self.turns + turns_of(entries, results, frozenset())
            sent = self.sent.extended(turns)
            vars(history).update(turns=turns, results=CallResults(), sent=sent)
        return history


class SentHistory(Struct, frozen=True, eq=False):
    """The items of a conversation's first `turns` turns, in the form of a request.

    `size` is their length in bytes of JSON, with a comma after each. `known` holds what the model
    has encoded of them.
    """

    turns: int = 0
    items: tuple[Item, ...] = ()
    size: int = 0
    ids: CallIds = field(default_factory=CallIds)
    known: KnownItems = field(default_factory=lambda: KnownItems(0))

    def extended(self, turns: Sequence[Turn]) -> "SentHistory":
        """Return the history of all these turns, or this one if later items may change the rest.

        Later items do not change a turn that ends with an answer of the model.
        """
        prepared = self.prepare([item for turn in turns[self.turns :] for item in turn.items])
        if prepared is None or prepared.has_open_calls or not _ends_with_answer(prepared.items):
            return self
        items = self.items + prepared.items
        return SentHistory(
            len(turns),
            items,
            self.size + items_size(prepared.items),
            prepared.ids.joined(),
            KnownItems(len(items), dict(self.known.encoded)),
        )

    def prepare(self, items: Iterable[Item]) -> Prepared | None:
        """Return the items after this history in the form of a request.

        None if they do not begin with a message of the user: they might belong to the items before.
        """
        prepared = prepare(items, CallIds(self.ids))
        roles = (item.get("role") for item in prepared.items)
        first = next((role for role in roles if role not in _SYSTEM_ROLES), None)
        return prepared if first == "user" else None


def brings_attachments(entry: Entry) -> bool:
    """Return whether an entry has items of a caller with an image or a file."""
    event = entry.event
    if type(event) is RunStarted or type(event) is ItemsAdded:
        return has_attachments(event.items)
    return False


def items_size(items: Sequence[Item]) -> int:
    """Return the size of the items in the model's window, with a comma after each."""
    return size_in_window(items) - 1 if items else 0


def _ends_with_answer(items: Sequence[Item]) -> bool:
    return bool(items) and items[-1].get("role") == "assistant"
