"""The limit on open files, and the connections that it allows."""

import resource

from twelvefold.config import Settings

DEFAULT_MAX_CONNECTIONS = 2_048
"""The limit if MAX_CONNECTIONS is not set. Each connection may hold a head of 64 KiB in memory."""
MAX_FILES = 1_048_576
OTHER_FILES = 64
"""Open files of this process that are not connections, with a reserve."""
DATABASE_CONNECTIONS = 16
"""Database connections beside the pool of the tools: claims, reads, lease renewals."""


def raise_file_limit() -> None:
    """Raise the soft limit on open files to the hard limit if the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):
        return  # not allowed; the current limit applies


def file_limit() -> int:
    """Return how many files this process may open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_FILES if soft == resource.RLIM_INFINITY else min(soft, MAX_FILES)


def connection_limit(settings: Settings, files: int) -> int:
    """Return how many connections to accept if the process may open `files` files.

    Reserves files for the database, for a connection to the model of each run in flight, and for
    other files; at most half of all.
    """
    runs = settings.max_runs * (2 if settings.web_is_worker else 1)
    reserve = settings.database_pool_size + DATABASE_CONNECTIONS + runs + OTHER_FILES
    room = max(1, files - min(reserve, files // 2))
    return min(settings.max_connections or DEFAULT_MAX_CONNECTIONS, room)
