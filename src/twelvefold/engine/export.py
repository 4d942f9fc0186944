"""The journal of a conversation as lines of JSON, with those of the runs that its runs started."""

import json
from collections.abc import AsyncIterator, Iterable, Iterator
from functools import partial

from twelvefold.core import ChildrenStarted, Entry, RunId, Store, ThreadId, encode
from twelvefold.engine.retry import retry_unavailable
from twelvefold.errors import NotFound


async def export_thread(store: Store, thread: ThreadId) -> AsyncIterator[str]:
    """Yield the lines of a thread, then those of the threads of the runs below it.

    Holds one thread in memory. Raises NotFound before the first line.
    """
    async for line in _export(store, thread, ""):
        yield line


async def _export(store: Store, thread: ThreadId, name: str) -> AsyncIterator[str]:
    entries = (await retry_unavailable(partial(store.load, thread))).entries
    for line in export_lines(entries, name):
        yield line
    for child in _threads_below(entries):
        try:
            async for line in _export(store, child, f"conv_{child}"):
                yield line
        except NotFound:  # it was deleted
            continue


def _threads_below(entries: Iterable[Entry]) -> list[ThreadId]:
    started = (e.event for e in entries if isinstance(e.event, ChildrenStarted))
    return [RunId.parse(run).thread for event in started for run in event.runs]


def export_lines(entries: Iterable[Entry], thread: str = "") -> Iterator[str]:
    """Return one JSON object per entry: position, run, type, version, at_us and the stored body.

    With `thread`, the id of the conversation of a run below, each line has it, too. The cassette
    model replays the lines without one.
    """
    for entry in entries:
        kind, version, body = encode(entry.event)
        head: dict[str, object] = {"thread": thread} if thread else {}
        head |= {
            "position": entry.position,
            "run": entry.run,
            "type": kind,
            "version": version,
            "at_us": entry.at_us,
        }
        yield f'{json.dumps(head)[:-1]}, "body": {body}}}'
