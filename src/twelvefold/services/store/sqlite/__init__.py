"""The embedded database."""

from urllib.parse import unquote, urlsplit

MEMORY = ":memory:"
"""The path of a database that lives in its one connection."""


def sqlite_path(url: str) -> str:
    """The file of `sqlite:///relative.db` or `sqlite:////absolute.db`; `:memory:` for `sqlite://`."""
    return unquote(urlsplit(url).path.removeprefix("/")) or MEMORY
