"""The store on SQLite."""

from urllib.parse import unquote, urlsplit

MEMORY = ":memory:"
"""The path of a database in memory, which exists as long as its one connection."""
WORDS = {
    "now_us": "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)",
    "body_bytes": "CAST(body AS BLOB) AS body",
    "lock": "",
    "at_most": "",  # one writer at a time: no lock on rows to keep short
    "nowait": "",
    "straight_join": "CROSS JOIN",  # SQLite keeps the order of tables in a CROSS JOIN
    "by_queue": "INDEXED BY runs_queue",
    "by_lease": "INDEXED BY runs_leases",
    "by_due": "INDEXED BY runs_due",
    "by_created": "INDEXED BY runs_created",
    "by_status": "INDEXED BY runs_by_status",
    "by_workflow": "INDEXED BY runs_by_workflow",
    "by_principal": "INDEXED BY runs_by_principal",
    "by_deleted": "INDEXED BY threads_deleted",
    "by_uncounted": "INDEXED BY runs_uncounted",
    "by_key": "",
    "by_origin": "",
    "by_parent": "",
    "by_person": "INDEXED BY questions_of_person",
    "by_thread": "",
}
"""What replaces `{word}` in the statements."""


def sqlite_path(url: str) -> str:
    """Return the file of `sqlite:///relative.db` or `sqlite:////absolute.db`; `:memory:` for `sqlite://`."""
    return unquote(urlsplit(url).path.removeprefix("/")) or MEMORY
