"""Indexes for lists and for the queue, and the columns that they need.

`threads.listed`: 1 for a conversation that its principal may list and open, 0 for one that was not
kept or was deleted, NULL for one that an older release wrote. `threads.title`: its first user
message in one line. `threads.size`: bytes of its journal, as of its last step but one.
`runs.workflow` and `runs.principal`: those of its thread. `runs.began`: the position of its first
entry.
"""

from alembic import op

from twelvefold.services.store.migrations.ddl import WORDS, alter_mysql, alter_sqlite, is_sqlite

revision = "0005"
down_revision = "0004"

COLUMNS = {
    "threads": {"listed": "SMALLINT NULL", "title": "{name} NULL", "size": "BIGINT NULL"},
    "runs": {
        "workflow": "{name} NULL",
        "principal": "{name} NULL",
        "began": "BIGINT NULL",
    },
}
"""They may be NULL: an older release may still write rows."""
NEW_INDEXES = {
    "threads": {"threads_listed": "listed, principal", "threads_deleted": "deleted_at"},
    "runs": {
        "runs_queue": "status, workflow, principal, lease_until",
        "runs_leases": "status, workflow, lease_until",
    },
}
"""`runs_queue` has the queued runs of a workflow by principal, `runs_leases` those whose lease has
expired before those that a process holds. An index by principal mixes these two."""
OLD_INDEXES = {"threads": {}, "runs": {"runs_waiting": "status, lease_until"}}
"""An older release that waits for work sorts the queued runs without its index."""


def upgrade() -> None:
    for table, columns in COLUMNS.items():
        if is_sqlite():
            _drop_sqlite_indexes(OLD_INDEXES[table])
            alter_sqlite(table, _typed(columns, "sqlite"), adds=True)
            _add_sqlite_indexes(table, NEW_INDEXES[table])
        else:
            added = [f"ADD COLUMN {name} {kind}" for name, kind in _typed(columns, "mysql").items()]
            changes = added + _changed_indexes(NEW_INDEXES[table], OLD_INDEXES[table])
            alter_mysql(table, next(iter(columns)), ", ".join(changes), adds=True)


def downgrade() -> None:
    for table, columns in COLUMNS.items():
        if is_sqlite():
            _drop_sqlite_indexes(NEW_INDEXES[table])
            alter_sqlite(table, columns, adds=False)
            _add_sqlite_indexes(table, OLD_INDEXES[table])
        else:
            # The indexes first: MariaDB drops no column that an index has.
            changes = _changed_indexes(OLD_INDEXES[table], NEW_INDEXES[table])
            changes += [f"DROP COLUMN {name}" for name in columns]
            alter_mysql(table, next(iter(columns)), ", ".join(changes), adds=False)


def _typed(columns: dict[str, str], dialect: str) -> dict[str, str]:
    return {name: kind.format(**WORDS[dialect]) for name, kind in columns.items()}


def _changed_indexes(added: dict[str, str], dropped: dict[str, str]) -> list[str]:
    return [f"ADD KEY {name} ({columns})" for name, columns in added.items()] + [
        f"DROP KEY {name}" for name in dropped
    ]


def _add_sqlite_indexes(table: str, indexes: dict[str, str]) -> None:
    for name, columns in indexes.items():
        op.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {table} ({columns})")


def _drop_sqlite_indexes(indexes: dict[str, str]) -> None:
    for name in indexes:
        op.execute(f"DROP INDEX IF EXISTS {name}")
