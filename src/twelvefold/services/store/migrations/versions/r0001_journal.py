"""The journal: threads, runs, events, outbox."""

import re

from alembic import context, op
from alembic.util import CommandError
from sqlalchemy import inspect

revision = "0001"
down_revision = None

WORDS = {
    "mysql": {
        "id": "VARCHAR(44) CHARACTER SET ascii COLLATE ascii_bin",
        "key": "VARCHAR(80) CHARACTER SET ascii COLLATE ascii_bin",
        "word": "VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin",
        "name": "VARCHAR(255)",
        "text": "LONGTEXT",
        "table": "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
    },
    "sqlite": {
        "id": "VARCHAR(44)",
        "key": "VARCHAR(80)",
        "word": "VARCHAR(32)",
        "name": "VARCHAR(255)",
        "text": "TEXT",
        "table": "WITHOUT ROWID",
    },
}
TABLES = (
    """
    CREATE TABLE IF NOT EXISTS threads (
      id {id} NOT NULL,
      principal {name} NOT NULL,
      workflow {name} NOT NULL,
      head BIGINT NOT NULL,
      forked_from {id} NULL,
      forked_at BIGINT NULL,
      created_at BIGINT NOT NULL,
      PRIMARY KEY (id){threads_indexes}
    ) {table}
    """,
    """
    CREATE TABLE IF NOT EXISTS runs (
      thread_id {id} NOT NULL,
      ordinal INT NOT NULL,
      status {word} NOT NULL,
      lease_token {word} NOT NULL,
      lease_until BIGINT NOT NULL,
      background SMALLINT NOT NULL,
      cancel_asked SMALLINT NOT NULL,
      idempotency_key {name} NULL,
      `usage` VARCHAR(255) NOT NULL,
      error {text} NOT NULL,
      release_id {name} NOT NULL,
      created_at BIGINT NOT NULL,
      finished_at BIGINT NULL,
      PRIMARY KEY (thread_id, ordinal){runs_indexes}
    ) {table}
    """,
    """
    CREATE TABLE IF NOT EXISTS events (
      thread_id {id} NOT NULL,
      position BIGINT NOT NULL,
      run INT NOT NULL,
      type {word} NOT NULL,
      version SMALLINT NOT NULL,
      body {text} NOT NULL,
      at_us BIGINT NOT NULL,
      PRIMARY KEY (thread_id, position)
    ) {table}
    """,
    """
    CREATE TABLE IF NOT EXISTS outbox (
      id {key} NOT NULL,
      thread_id {id} NOT NULL,
      kind {word} NOT NULL,
      body {text} NOT NULL,
      attempts INT NOT NULL,
      due_at BIGINT NOT NULL,
      sent_at BIGINT NULL,
      PRIMARY KEY (id){outbox_indexes}
    ) {table}
    """,
)
INDEXES = {
    "threads": {"threads_forked_from": "forked_from"},
    "runs": {"runs_unfinished": "finished_at, lease_until", "runs_created": "created_at"},
    "outbox": {"outbox_due": "sent_at, due_at", "outbox_thread": "thread_id"},
}


def upgrade() -> None:
    if not context.is_offline_mode():
        _refuse_foreign_tables()
    if op.get_context().dialect.name == "sqlite":
        _upgrade_sqlite()
    else:
        _upgrade_mysql()


def _refuse_foreign_tables() -> None:
    """Ours may be there, from a migration that was cut off; others of the same name may not."""
    database = inspect(op.get_bind())
    for statement in TABLES:
        table, columns = _named(statement)
        if not database.has_table(table):
            continue
        if columns != {column["name"] for column in database.get_columns(table)}:
            raise CommandError(
                f"table {table} is there already and is not the journal's; "
                "rename it, or give the journal a database of its own"
            )


def _named(statement: str) -> tuple[str, set[str]]:
    """The name of the table that a statement makes, and its columns."""
    table = re.findall(r"EXISTS (\w+)", statement)[0]
    return table, set(re.findall(r"^ +`?([a-z_]+)`? ", statement, re.MULTILINE))


def _upgrade_mysql() -> None:
    # Indexes inside the tables: CREATE INDEX IF NOT EXISTS is MariaDB's alone, and every
    # statement has to be one that can be run again after a crash between two of them.
    inline = {
        f"{table}_indexes": "".join(f", KEY {name} ({columns})" for name, columns in of.items())
        for table, of in INDEXES.items()
    }
    for table in TABLES:
        op.execute(table.format(**WORDS["mysql"], **inline))


def _upgrade_sqlite() -> None:
    none = {f"{table}_indexes": "" for table in INDEXES}
    for table in TABLES:
        op.execute(table.format(**WORDS["sqlite"], **none))
    for table, indexes in INDEXES.items():
        for name, columns in indexes.items():
            op.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {table} ({columns})")


def downgrade() -> None:
    for table in ("outbox", "events", "runs", "threads"):
        op.execute(f"DROP TABLE IF EXISTS {table}")
