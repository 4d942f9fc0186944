"""Items as they are in the body of a request, encoded once for all requests of a conversation."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec
from msgspec import Struct

from twelvefold.core import Item, KnownItems


class EncodedItems(Struct, frozen=True):
    """Items as elements of a list: `parts` are JSON, without brackets and the commas between them.

    `system` are the texts that belong to the instructions.
    """

    parts: tuple[bytes, ...] = ()
    system: tuple[str, ...] = ()

    def __add__(self, later: "EncodedItems") -> "EncodedItems":
        return EncodedItems(self.parts + later.parts, self.system + later.system)


NO_ITEMS = EncodedItems()


def encode_elements(elements: Sequence[Any], system: Sequence[str] = ()) -> EncodedItems:
    parts = (msgspec.json.encode(elements)[1:-1],) if elements else ()
    return EncodedItems(parts, tuple(system))


def encode_known(
    items: Sequence[Item],
    known: KnownItems,
    key: str,
    encode: Callable[[Sequence[Item]], EncodedItems],
) -> EncodedItems:
    """Return the known items, of which only those are encoded that are new."""
    count, encoded = known.encoded.get(key, (0, NO_ITEMS))
    if count < known.count:
        encoded += encode(items[count : known.count])
        known.encoded[key] = known.count, encoded
    return cast("EncodedItems", encoded)
