"""The port of threads: read, list, fork and delete them, and stream the pieces of a reply."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from twelvefold.core.events import Entry, Event
from twelvefold.core.ids import ThreadId
from twelvefold.core.ports.thread_records import (
    Delta,
    JournalDelta,
    ListedThread,
    Segment,
    ThreadHead,
)


class ThreadStore(Protocol):
    """Threads as their readers see them. Every method may raise StoreUnavailable."""

    # --- the end of a journal ------------------------------------------------------------------

    async def follow(
        self,
        thread: ThreadId,
        *,
        after: int,
        deltas_after: tuple[int, int],
        to: int | None = None,
    ) -> JournalDelta:
        """Return the thread's own entries after a position, and deltas after (position, number).

        `to` bounds the entries. Both come from one snapshot, so that a live reader sees each entry
        after the deltas that precede it, as a later reader does.
        """
        ...

    async def marks(self, threads: Collection[ThreadId]) -> dict[ThreadId, tuple[int, int]]:
        """Return each thread's head, and the number of the last delta after it.

        The result of `follow` changes only if this does.
        """
        ...

    async def add_delta(self, thread: ThreadId, delta: Delta) -> None:
        """Publish a piece of a reply. Raises DuplicateRow if its number is taken."""
        ...

    async def last_delta(self, thread: ThreadId, position: int) -> int:
        """Return the number of the last delta at a position; 0 if there is none."""
        ...

    async def first_entry(self, thread: ThreadId, *, after: int) -> Entry | None:
        """Return the thread's own first entry after a position; None if there is none."""
        ...

    # --- parts of a journal --------------------------------------------------------------------

    async def lineage(self, head: ThreadHead) -> tuple[Segment, ...]:
        """Return where the entries of a thread are: those of its origins first, its own last."""
        ...

    async def window(
        self,
        lineage: Sequence[Segment],
        *,
        after: int,
        to: int,
        newest_first: bool = False,
        rows: int = 32,
    ) -> list[Entry]:
        """Return entries after `after` and up to `to`: the first ones, or the last ones first.

        Returns at most `rows` entries, and one entry more than a bound on bytes allows. Empty only
        if there are none.
        """
        ...

    async def answers(self, lineage: Sequence[Segment], *, after: int, to: int) -> list[Entry]:
        """Return some of the answers to approvals after `after` and up to `to`, in order."""
        ...

    async def size_of(self, lineage: Sequence[Segment]) -> int:
        """Return the sum of the bytes of all these entries; the database adds them up."""
        ...

    async def run_at(self, head: ThreadHead) -> int:
        """Return the ordinal of the run of a thread's last entry; 0 without entries."""
        ...

    async def last_start(self, lineage: Sequence[Segment], position: int) -> Entry | None:
        """Return the first entry of the run in progress at a position; None if none was."""
        ...

    async def deleted_runs(self, lineage: Sequence[Segment]) -> frozenset[int]:
        """Return the ordinals of deleted runs, also those of the threads it is a fork of."""
        ...

    async def removed_items(self, lineage: Sequence[Segment]) -> frozenset[str]:
        """Return the ids of removed items."""
        ...

    # --- threads -------------------------------------------------------------------------------

    async def new_thread(
        self, thread: ThreadId, principal: str, workflow: str, metadata: Mapping[str, str]
    ) -> None:
        """Write a thread without runs and entries."""
        ...

    async def thread(self, thread: ThreadId) -> ThreadHead:
        """Return a thread without its journal. Raises NotFound, also if it was deleted."""
        ...

    async def threads(
        self,
        principal: str,
        *,
        limit: int,
        after: ThreadId | None = None,
        newest_first: bool = True,
    ) -> list[ListedThread]:
        """Return the principal's listed threads after `after`, in the order of their ids.

        Classifies at most `limit` threads that an older release wrote before it lists.
        """
        ...

    async def listed_thread(self, thread: ThreadId) -> ListedThread:
        """Return one thread as a list has it. Raises NotFound, also if it is not listed."""
        ...

    async def classify(self, *, limit: int, principal: str = "") -> int:
        """Classify threads of older releases: whether they are listed, and their titles.

        Reads at most `limit` threads, newest first, of one principal if one is given, and leaves
        out threads with a write in progress. Returns how many it classified.
        """
        ...

    async def describe(self, thread: ThreadId, metadata: Mapping[str, str]) -> None:
        """Replace a thread's metadata. Raises NotFound."""
        ...

    async def add_items(
        self,
        thread: ThreadId,
        head: int,
        run: int,
        event: Event,
        *,
        at_us: int = 0,
        thread_size: int = 0,
    ) -> Entry:
        """Append an entry outside any run; `run` is the ordinal of the last run, 0 before any.

        `at_us` is its time, 0 for now. `thread_size`: bytes of all entries up to `head`. Returns
        the same entry again if it was written with these values already. Raises NotFound, or
        Conflict if the thread is not at `head` or its last run is not over.
        """
        ...

    async def fork(self, thread: ThreadId, position: int, new: ThreadId) -> None:
        """Make a thread that continues another one from a position; copies no entry."""
        ...

    async def delete_thread(self, thread: ThreadId) -> None:
        """Hide a thread and request the cancellation of its run. Raises NotFound.

        No run starts on it any more. `load` and `run` still return it: a run in progress ends in
        order, and a fork keeps its history. `prune` removes the journal.
        """
        ...
