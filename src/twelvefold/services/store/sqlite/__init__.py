"""The store on SQLite."""

from urllib.parse import unquote, urlsplit

MEMORY = ":memory:"
"""The path of a database in memory, which exists as long as its one connection."""


def sqlite_path(url: str) -> str:
    """Return the file of `sqlite:///relative.db` or `sqlite:////absolute.db`; `:memory:` for `sqlite://`."""
    return unquote(urlsplit(url).path.removeprefix("/")) or MEMORY
