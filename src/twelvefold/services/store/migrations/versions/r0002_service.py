"""Deltas of replies, idempotency keys, API keys, deleted threads and dead messages."""

from alembic import op

from twelvefold.services.store.migrations.ddl import (
    Indexes,
    alter_mysql,
    alter_sqlite,
    create_tables,
    is_sqlite,
    reject_foreign_tables,
)

revision = "0002"
down_revision = "0001"

TABLES = (
    """
    CREATE TABLE IF NOT EXISTS deltas (
      thread_id {id} NOT NULL,
      position BIGINT NOT NULL,
      number INT NOT NULL,
      kind {word} NOT NULL,
      body {text} NOT NULL,
      at_us BIGINT NOT NULL,
      PRIMARY KEY (thread_id, position, number)
    ) {table}
    """,
    """
    CREATE TABLE IF NOT EXISTS idempotency_keys (
      principal {name} NOT NULL,
      request_key {ascii} NOT NULL,
      body_hash {key} NOT NULL,
      thread_id {id} NOT NULL,
      ordinal INT NOT NULL,
      created_at BIGINT NOT NULL,
      PRIMARY KEY (principal, request_key){idempotency_keys_indexes}
    ) {table}
    """,
    """
    CREATE TABLE IF NOT EXISTS api_keys (
      id {key} NOT NULL,
      name {name} NOT NULL,
      principal {name} NOT NULL,
      scopes {ascii} NOT NULL,
      sha256 {key} NOT NULL,
      created_at BIGINT NOT NULL,
      valid SMALLINT NULL,
      revoked_at BIGINT NULL,
      PRIMARY KEY (id),
      UNIQUE (sha256),
      UNIQUE (name, valid)
    ) {table}
    """,
)
INDEXES = {
    "idempotency_keys": {
        "idempotency_keys_thread": "thread_id",
        "idempotency_keys_created": "created_at",
    },
}
COLUMNS = {
    "threads": {"metadata": "LONGTEXT NULL", "deleted_at": "BIGINT NULL"},
    "runs": {"deleted_at": "BIGINT NULL"},
    "outbox": {"error": "LONGTEXT NULL", "dead_at": "BIGINT NULL"},
}
"""New columns may be NULL, because a release that does not know them may still write rows."""
OLD_INDEXES = {
    "runs": {"runs_unfinished": "finished_at, lease_until"},
    "outbox": {"outbox_due": "sent_at, due_at"},
}
NEW_INDEXES = {
    "threads": {"threads_principal": "principal"},
    "runs": {"runs_waiting": "status, lease_until"},
    "outbox": {"outbox_waiting": "sent_at, dead_at, due_at"},
}


def upgrade() -> None:
    reject_foreign_tables(TABLES)
    create_tables(TABLES, INDEXES)
    if is_sqlite():
        for table, columns in COLUMNS.items():
            alter_sqlite(table, columns, adds=True)
        _change_sqlite_indexes(NEW_INDEXES, OLD_INDEXES)
        return
    for table, columns in COLUMNS.items():
        added = [f"ADD COLUMN {name} {kind}" for name, kind in columns.items()]
        changed = _change_indexes(table, NEW_INDEXES, OLD_INDEXES)
        alter_mysql(table, next(iter(columns)), ", ".join(added + changed), adds=True)


def downgrade() -> None:
    if is_sqlite():
        _change_sqlite_indexes(OLD_INDEXES, NEW_INDEXES)
        for table, columns in COLUMNS.items():
            alter_sqlite(table, columns, adds=False)
    else:
        for table, columns in COLUMNS.items():
            dropped = [f"DROP COLUMN {name}" for name in columns]
            changed = _change_indexes(table, OLD_INDEXES, NEW_INDEXES)
            alter_mysql(table, next(iter(columns)), ", ".join(dropped + changed), adds=False)
    for table in ("api_keys", "idempotency_keys", "deltas"):
        op.execute(f"DROP TABLE IF EXISTS {table}")


def _change_indexes(table: str, new: Indexes, old: Indexes) -> list[str]:
    added = [f"ADD KEY {name} ({columns})" for name, columns in new.get(table, {}).items()]
    return added + [f"DROP KEY {name}" for name in old.get(table, {})]


def _change_sqlite_indexes(new: Indexes, old: Indexes) -> None:
    for of in old.values():
        for name in of:
            op.execute(f"DROP INDEX IF EXISTS {name}")
    for table, of in new.items():
        for name, columns in of.items():
            op.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {table} ({columns})")
