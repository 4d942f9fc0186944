"""Makes call ids valid and unique in a conversation, as requests need them."""

import re

_CALL_ID = re.compile(r"[!-~]+")
"""Of any length: Kimi parses its ids, and some proxies put a thought signature into them."""
_INVALID_IN_ID = re.compile(r"[^!-~]")


class CallIds:
    """Makes the call ids of a conversation unique; `before` has the ids of its first part."""

    def __init__(self, before: "CallIds | None" = None) -> None:
        self._taken: set[str] = set()
        self._number: dict[str, int] = {}
        self._before = before

    def take(self, wire_id: str) -> str:
        """Return the id if it is valid and free, else a variant that is."""
        valid = wire_id
        if not _CALL_ID.fullmatch(wire_id):
            valid = _INVALID_IN_ID.sub("_", wire_id) or "call"
        free, number = valid, self._last_number(valid)
        while self._is_taken(free):
            number += 1
            free = f"{valid}_{number}"
        self._number[valid] = number
        self._taken.add(free)
        return free

    def joined(self) -> "CallIds":
        """Return one `CallIds` with these ids and those of `before`."""
        before, ids = self._before or CallIds(), CallIds()
        ids._taken = before._taken | self._taken
        ids._number = before._number | self._number
        return ids

    def _last_number(self, valid: str) -> int:
        number = self._number.get(valid)
        if number is None and self._before is not None:
            number = self._before._number.get(valid)
        return number or 1

    def _is_taken(self, id: str) -> bool:
        return id in self._taken or (self._before is not None and id in self._before._taken)
