"""The responses of a run: each ends where the run waits for a person."""

from collections.abc import Sequence

from twelvefold.core import Entry, ItemRemoved, ItemsAdded
from twelvefold.web.projection.output import makes_wait


def split_parts(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Split a run's entries into those of its responses: after each entry that makes it wait."""
    parts: list[list[Entry]] = []
    waits = True
    for entry in entries:
        if isinstance(entry.event, ItemsAdded | ItemRemoved):
            continue
        if waits:
            parts.append([])
        parts[-1].append(entry)
        waits = makes_wait(entry.event)
    return parts


def next_part(entries: Sequence[Entry]) -> int:
    """Return which response of a run an answer of a person starts or continues.

    Other waits may have ended since the question; what they wrote is of that response, too.
    """
    parts = split_parts(entries)
    is_over = makes_wait(parts[-1][-1].event)
    return len(parts) if is_over else len(parts) - 1
