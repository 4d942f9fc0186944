"""Alembic's entry point; `twelvefold.services.store.migrate` passes the connection."""

from alembic import context

from twelvefold.services.store.migrations import VERSION_TABLE

connection = context.config.attributes.get("connection")
if connection is None:
    dialect = context.config.attributes["dialect"]
    context.configure(dialect_name=dialect, literal_binds=True, version_table=VERSION_TABLE)
else:
    # MySQL commits each DDL statement; each can be repeated.
    context.configure(
        connection=connection,
        version_table=VERSION_TABLE,
        on_version_apply=context.config.attributes["before_next"],
    )
with context.begin_transaction():
    context.run_migrations()
