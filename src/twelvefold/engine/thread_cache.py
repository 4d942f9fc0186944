"""Threads as they were at the end of a run that this process drove, so that the next run need not
read and fold the whole journal.

A cached thread may be out of date: another process may have continued it. A run that starts is
fenced by the thread's head; a run that was claimed reads the entries that follow.
"""

from collections import OrderedDict

from twelvefold.core import Thread, ThreadId

CACHE_SHARE = 4
"""The cache takes at most this part of the memory budget for runs: a quarter."""
_COPIES = 2
"""A thread counts twice: as entries, and as what is sent of them to the model."""
_LEAST_BYTES = 1024


class ThreadCache:
    """Keeps threads of at most `limit` bytes together; the least recently used leave it first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._threads: OrderedDict[ThreadId, Thread] = OrderedDict()
        self._size = 0

    @property
    def size(self) -> int:
        """The bytes of all threads."""
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
        """Forget a thread; return whether it was here."""
        thread = self._threads.pop(id, None)
        if thread is not None:
            self._size -= _size_of(thread)
        return thread is not None


def _size_of(thread: Thread) -> int:
    return _COPIES * thread.size + _LEAST_BYTES
