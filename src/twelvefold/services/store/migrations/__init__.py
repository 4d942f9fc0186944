"""The revisions of the journal's tables, as Alembic finds them."""

VERSION_TABLE = "twelvefold_version"
"""Not Alembic's default name: the tables beside ours may have migrations of their own."""
