"""The text that an operator searches runs for: the beginning of an id, or a part of an error."""

import re

from msgspec.structs import replace

from twelvefold.core.ids import THREAD_ID_LENGTH
from twelvefold.core.ports.operations import RunFilter

_ID = re.compile(
    r"(?:(?P<kind>[a-z]+)[_-](?=[0-9a-f])|(?=[0-9a-f]{8}))"
    rf"(?P<thread>[0-9a-f]{{1,{THREAD_ID_LENGTH}}})(?P<rest>[0-9a-z._]*)"
)
"""An id of the API or the beginning of one; without a prefix at least eight digits."""
_ORDINAL = re.compile(r"[1-9][0-9]{0,8}")
_OF_RUNS = ("resp", "chatcmpl", None)


def with_search(filter: RunFilter, text: str) -> RunFilter:
    """Return the filter with the condition of a search text; "" adds none."""
    text = text.strip()
    found = _ID.fullmatch(text)
    if not found or (found["rest"] and len(found["thread"]) < THREAD_ID_LENGTH):
        return replace(filter, error=text)
    ordinal = _ORDINAL.match(found["rest"]) if found["kind"] in _OF_RUNS else None
    return replace(filter, id_prefix=found["thread"], ordinal=int(ordinal[0]) if ordinal else None)
