"""Checks of a caller's input: whether the journal can store it, and has room for it."""

from typing import TypeVar, cast

from twelvefold.core.budget import Limits, find_reached_limit
from twelvefold.core.events import Event, decode, encode, size_of
from twelvefold.core.failures import full_sentence
from twelvefold.errors import ConversationTooLarge, RequestError, StoreRefused

INPUT_BYTES = 4 * 1024 * 1024
"""The largest input of one turn; well under the 16 MiB that a MySQL statement may have."""
AnyEvent = TypeVar("AnyEvent", bound=Event)


def check_storable(event: AnyEvent) -> tuple[AnyEvent, int]:
    """Return an event as the journal will return it, and its size there in bytes.

    Raises RequestError if the journal cannot store it.
    """
    try:
        kind, version, body = encode(event)
        decoded = cast("AnyEvent", decode(kind, version, body))
    except (UnicodeEncodeError, TypeError, RecursionError) as error:
        raise RequestError(f"the input cannot be stored as text: {error}") from error
    except StoreRefused as error:
        raise RequestError(f"the input is no list of items: {error.__cause__}") from error
    size = size_of(body)
    if size > INPUT_BYTES:
        raise RequestError(f"the input is {size} bytes long; {INPUT_BYTES} is the most")
    # The caller's own value where both are equal: no second copy of a long input stays in memory.
    return (event if event == decoded else decoded), size


def check_room(
    entries_before: int, size_before: int, size: int, limits: Limits, *, entries: int = 1
) -> None:
    """Raise ConversationTooLarge if a conversation has no room for more entries.

    It holds `entries_before` and `size_before` bytes; `entries` with `size` bytes are to be added.
    """
    reason = find_reached_limit(entries_before + entries - 1, size_before + size, limits)
    if reason is not None:
        raise ConversationTooLarge(full_sentence(reason, limits))
