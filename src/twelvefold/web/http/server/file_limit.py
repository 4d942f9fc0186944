"""How many connections the limit on open files allows."""

import resource

from twelvefold.config import Settings

MOST_CONNECTIONS = 2_048
"""Without MAX_CONNECTIONS. Each may hold a head of 64 KiB: for more of them memory is short."""
MOST_FILES = 1_048_576
OTHER_FILES = 64
"""Files of this process that are neither connections of clients nor to services, with a reserve."""
DATABASE_CONNECTIONS = 16
"""Beside the pool of the tools: claims, reads, renewals."""


def raise_file_limit() -> None:
    """Raise the soft limit on open files to the hard one, where that is allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):
        return  # not allowed here: what there is counts


def file_limit() -> int:
    """How many files this process may open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_FILES if soft == resource.RLIM_INFINITY else min(soft, MOST_FILES)


def connection_limit(settings: Settings, files: int) -> int:
    """How many connections to accept where the process may open so many files.

    A part is kept for the database, for a connection to the model for each run in flight, and for
    files: at most half of all.
    """
    runs = settings.max_runs * (2 if settings.web_is_worker else 1)
    reserve = settings.database_pool_size + DATABASE_CONNECTIONS + runs + OTHER_FILES
    room = max(1, files - min(reserve, files // 2))
    return min(settings.max_connections or MOST_CONNECTIONS, room)
