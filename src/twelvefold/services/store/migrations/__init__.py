"""The revisions of the store's tables, where Alembic looks for them."""

VERSION_TABLE = "twelvefold_version"
"""Not Alembic's default name, which migrations of other tables in the database may use."""
