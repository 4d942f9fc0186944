"""The journal: threads, runs, events, outbox."""

from alembic import op

from twelvefold.services.store.migrations.ddl import create_tables, reject_foreign_tables

revision = "0001"
down_revision = None

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
    reject_foreign_tables(TABLES)
    create_tables(TABLES, INDEXES)


def downgrade() -> None:
    for table in ("outbox", "events", "runs", "threads"):
        op.execute(f"DROP TABLE IF EXISTS {table}")
