"""Caches threads at the end of a run that this process drove, so that the next run does not read
and fold the whole journal.

A cached thread may be out of date: another process may have continued it. The start of a run
checks the thread's head; for a claimed run the process reads the entries that follow.
"""

from collections import OrderedDict

from twelvefold.core import Thread, ThreadId

CACHE_SHARE = 4
"""The cache takes at most this part of the memory budget for runs: a quarter."""
_COPIES = 2
"""A thread counts twice: as entries, and as items in the form of a request."""
_LEAST_BYTES = 1024


class ThreadCache:
    """Keeps threads of at most `limit` bytes in total; evicts the least recently used first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._threads: OrderedDict[ThreadId, Thread] = OrderedDict()
        self._size = 0

    @property
    def size(self) -> int:
        """The total size of all threads, in bytes."""
        return self._size

    def get(self, id: ThreadId) -> Thread | None:
        """Return a thread as it was when it was put here, or None."""
        if id in self._threads:
            self._threads.move_to_end(id)
        return self._threads.get(id)

    def put(self, id: ThreadId, thread: Thread) -> None:
        """Keep a thread, unless it alone is larger than the limit."""
        self.drop(id)
        self._threads[id] = thread
        self._size += _size_of(thread)
        while self._size > self._limit:
            self.drop(next(iter(self._threads)))

    def drop(self, id: ThreadId) -> bool:
        """Remove a thread; return whether it was cached."""
        thread = self._threads.pop(id, None)
        if thread is not None:
            self._size -= _size_of(thread)
        return thread is not None


def _size_of(thread: Thread) -> int:
    return _COPIES * thread.size + _LEAST_BYTES
