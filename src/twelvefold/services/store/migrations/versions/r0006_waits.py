"""Runs that wait for time, events and other runs; events that were sent to runs.

`runs.wakes` counts the wake-ups of a run; `runs.wake_at` is when a waiting run is due, NULL for one
that time does not continue. `threads.parent_thread` and `threads.parent_run` are the run that
started the thread's first run, NULL for a caller's thread. `signals` has a row for each event that
was sent or that a run waits for; `payload` is NULL until it is sent.
"""

from alembic import op

from twelvefold.services.store.migrations.ddl import (
    WORDS,
    alter_mysql,
    alter_sqlite,
    create_tables,
    is_sqlite,
    reject_foreign_tables,
)

revision = "0006"
down_revision = "0005"

TABLES = (
    """
    CREATE TABLE IF NOT EXISTS signals (
      id {key} NOT NULL,
      workflow {name} NOT NULL,
      principal {name} NOT NULL,
      event_key {name} NOT NULL,
      payload {text} NULL,
      sender {name} NULL,
      created_at BIGINT NOT NULL,
      sent_at BIGINT NULL,
      PRIMARY KEY (id){signals_indexes}
    ) {table}
    """,
    """
    CREATE TABLE IF NOT EXISTS signal_waits (
      signal_id {key} NOT NULL,
      thread_id {id} NOT NULL,
      ordinal INT NOT NULL,
      PRIMARY KEY (signal_id, thread_id, ordinal){signal_waits_indexes}
    ) {table}
    """,
)
INDEXES = {
    "signals": {"signals_created": "created_at"},
    "signal_waits": {"signal_waits_thread": "thread_id"},
}
COLUMNS = {
    "threads": {"parent_thread": "{id} NULL", "parent_run": "INT NULL"},
    "runs": {"wakes": "BIGINT NULL", "wake_at": "BIGINT NULL"},
}
"""They may be NULL, because an older release may still write rows."""
NEW_INDEXES = {
    "threads": {"threads_parent": "parent_thread"},
    "runs": {"runs_due": "status, workflow, wake_at"},
}


def upgrade() -> None:
    reject_foreign_tables(TABLES)
    create_tables(TABLES, INDEXES)
    dialect = "sqlite" if is_sqlite() else "mysql"
    for table, columns in COLUMNS.items():
        kinds = {name: kind.format(**WORDS[dialect]) for name, kind in columns.items()}
        if is_sqlite():
            alter_sqlite(table, kinds, adds=True)
            for name, of in NEW_INDEXES[table].items():
                op.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {table} ({of})")
        else:
            changes = [f"ADD COLUMN {name} {kind}" for name, kind in kinds.items()]
            changes += [f"ADD KEY {name} ({of})" for name, of in NEW_INDEXES[table].items()]
            alter_mysql(table, next(iter(columns)), ", ".join(changes), adds=True)


def downgrade() -> None:
    for table, columns in COLUMNS.items():
        if is_sqlite():
            for name in NEW_INDEXES[table]:
                op.execute(f"DROP INDEX IF EXISTS {name}")
            alter_sqlite(table, columns, adds=False)
        else:
            # The index first: MariaDB does not drop a column that an index uses.
            changes = [f"DROP KEY {name}" for name in NEW_INDEXES[table]]
            changes += [f"DROP COLUMN {name}" for name in columns]
            alter_mysql(table, next(iter(columns)), ", ".join(changes), adds=False)
    for table in ("signal_waits", "signals"):
        op.execute(f"DROP TABLE IF EXISTS {table}")
