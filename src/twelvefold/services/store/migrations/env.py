"""Alembic's entry point: `twelvefold.services.store.migrate` hands over the connection."""

from alembic import context

from twelvefold.services.store.migrations import VERSION_TABLE

connection = context.config.attributes.get("connection")
if connection is None:
    dialect = context.config.attributes["dialect"]
    context.configure(dialect_name=dialect, literal_binds=True, version_table=VERSION_TABLE)
else:
    # MySQL commits DDL statement by statement; each is written to be run again.
    context.configure(connection=connection, version_table=VERSION_TABLE)
with context.begin_transaction():
    context.run_migrations()
