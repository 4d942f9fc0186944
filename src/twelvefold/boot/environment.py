"""What a process takes from its machine: the environment, the clock and random ids."""

import os
import secrets
import time

from twelvefold.core import ThreadId


def read_environment() -> dict[str, str]:
    """Return a copy of the process's environment."""
    return dict(os.environ)


def now_us() -> int:
    """Return the time of this machine's clock in microseconds since 1970."""
    return time.time_ns() // 1_000


class RandomIds:
    """Ids that cannot be guessed and sort by their creation time in milliseconds."""

    def thread(self) -> ThreadId:
        return ThreadId(f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(16)}")
