"""The part of a conversation that every later request begins with; it is prepared once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from twelvefold.core.conversation.call_ids import CallIds
from twelvefold.core.conversation.sendable import Prepared, prepare
from twelvefold.core.conversation.turns import Turn
from twelvefold.core.events import Item
from twelvefold.core.ports import KnownItems

_SYSTEM_ROLES = ("system", "developer")


@dataclass(frozen=True, slots=True, eq=False)
class SentHistory:
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
        prepared = self.prepare(item for turn in turns[self.turns :] for item in turn.items)
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


def items_size(items: Sequence[Item]) -> int:
    """Return the bytes of JSON of the items, with a comma after each."""
    return len(msgspec.json.encode(items)) - 1 if items else 0


def _ends_with_answer(items: Sequence[Item]) -> bool:
    return bool(items) and items[-1].get("role") == "assistant"
