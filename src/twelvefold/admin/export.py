"""A thread's journal as JSON Lines, which the model's cassette plays again."""

import json
from collections.abc import Iterable, Iterator

from twelvefold.core.events import Entry, encode


def export_lines(entries: Iterable[Entry]) -> Iterator[str]:
    """One JSON object an entry: position, run, type, version, at_us, and the body as it stands."""
    for entry in entries:
        kind, version, body = encode(entry.event)
        head = {
            "position": entry.position,
            "run": entry.run,
            "type": kind,
            "version": version,
            "at_us": entry.at_us,
        }
        yield f'{json.dumps(head)[:-1]}, "body": {body}}}'
