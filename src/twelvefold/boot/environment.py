"""What a process takes from its machine: the environment, the clock and random ids."""

import os
import secrets
import time

from twelvefold.core import ThreadId, family_of


def read_environment() -> dict[str, str]:
    """Return a copy of the process's environment."""
    return dict(os.environ)


def now_us() -> int:
    """Return the time of this machine's clock in microseconds since 1970."""
    return time.time_ns() // 1_000


class RandomIds:
    """Ids that cannot be guessed. Families and the threads of a family sort by creation time."""

    def thread(self) -> ThreadId:
        return self._thread(f"{_now_digits()}{secrets.token_hex(4)}")

    def thread_in_family(self, of: ThreadId) -> ThreadId:
        return self._thread(family_of(of))

    def _thread(self, family: str) -> ThreadId:
        return ThreadId(f"{family}{_now_digits()}{secrets.token_hex(6)}")


def _now_digits() -> str:
    """Return the milliseconds since 1970 as 12 hex digits."""
    return f"{time.time_ns() // 1_000_000:012x}"
