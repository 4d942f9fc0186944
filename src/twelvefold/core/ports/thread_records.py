"""Values of the port of threads: threads, parts of their journals and pieces of replies."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from msgspec import Struct

from twelvefold.core.events import Entry
from twelvefold.core.ids import RunId, ThreadId
from twelvefold.core.ports.run_records import RunStatus


class ThreadHead(Struct, frozen=True):
    """A thread without its journal. `created_at_us` is microseconds since 1970.

    `forked_at` is 0 for a thread that is no fork. `listed`: whether its principal may list and open
    it; None: an older release wrote it and it is not classified yet. `size` is the approximate
    number of bytes of all its entries, including those of the threads it was forked from, without
    the latest step; None if no release has written it yet.
    """

    id: ThreadId
    principal: str
    workflow: str
    head: int
    forked_from: ThreadId | None
    forked_at: int
    created_at_us: int
    metadata: Mapping[str, str]
    size: int | None = None
    listed: bool | None = True


class Delta(Struct, frozen=True):
    """A piece of a reply that is not complete, at the position that its entry will get.

    `number` counts from 1 at each position. "restarted": the pieces so far are void.
    """

    position: int
    number: int
    kind: Literal["text", "restarted"]
    text: str = ""


class JournalDelta(Struct, frozen=True):
    """New entries and deltas of a thread since the last read, from one snapshot."""

    deltas: tuple[Delta, ...]
    entries: tuple[Entry, ...]


class ThreadRecord(Struct, frozen=True):
    """A thread as stored, with all entries of its lineage up to `head`.

    Entries up to `forked_at` belong to another thread; 0 for a thread that is no fork.
    """

    id: ThreadId
    principal: str
    workflow: str
    head: int
    forked_at: int
    entries: tuple[Entry, ...]
    deleted: bool = False

    @property
    def size(self) -> int:
        """The bytes of all entries."""
        return sum(entry.size for entry in self.entries)


class Segment(NamedTuple):
    """The entries after `after` and up to `to` that are a thread's own."""

    thread: ThreadId
    after: int
    to: int


class LatestRun(Struct, frozen=True):
    """The last run of a thread that was not deleted.

    `responses` counts its responses: the first, and one for each time that it continued after it
    had to wait for a person.
    """

    run: RunId
    responses: int
    status: RunStatus
    cancel_asked: bool


class ListedThread(Struct, frozen=True):
    """A thread as a list has it. `title` is "" for a thread without a user message."""

    head: ThreadHead
    title: str
    latest: LatestRun | None
