"""Indexes for lists and for the queue, and the columns that they need.

`threads.listed`: 1 for a thread that its principal may list and open, 0 for one that was not stored
as a conversation or was deleted, NULL for one of an older release. `threads.title`: its first user
message in one line. `threads.size`: bytes of its journal without its last step. `runs.workflow` and
`runs.principal`: those of its thread. `runs.began`: the position of its first entry.
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
"""They may be NULL, because an older release may still write rows."""
NEW_INDEXES = {
    "threads": {"threads_listed": "listed, principal", "threads_deleted": "deleted_at"},
    "runs": {
        "runs_queue": "status, workflow, principal, lease_until",
        "runs_leases": "status, workflow, lease_until",
    },
}
"""`runs_queue` has the queued runs of a workflow by principal. `runs_leases` has runs with an
expired lease before those that a process holds, which an index by principal would mix."""
OLD_INDEXES = {"threads": {}, "runs": {"runs_waiting": "status, lease_until"}}
"""Without this index an older release sorts all queued runs when it looks for work."""


def upgrade() -> None:
    for table, columns in COLUMNS.items():
        if is_sqlite():
            _drop_sqlite_indexes(OLD_INDEXES[table])
            alter_sqlite(table, _add_types(columns, "sqlite"), adds=True)
            _add_sqlite_indexes(table, NEW_INDEXES[table])
        else:
            added = [
                f"ADD COLUMN {name} {kind}" for name, kind in _add_types(columns, "mysql").items()
            ]
            changes = added + _change_indexes(NEW_INDEXES[table], OLD_INDEXES[table])
            alter_mysql(table, next(iter(columns)), ", ".join(changes), adds=True)


def downgrade() -> None:
    for table, columns in COLUMNS.items():
        if is_sqlite():
            _drop_sqlite_indexes(NEW_INDEXES[table])
            alter_sqlite(table, columns, adds=False)
            _add_sqlite_indexes(table, OLD_INDEXES[table])
        else:
            # The indexes first: MariaDB does not drop a column that an index uses.
            changes = _change_indexes(OLD_INDEXES[table], NEW_INDEXES[table])
            changes += [f"DROP COLUMN {name}" for name in columns]
            alter_mysql(table, next(iter(columns)), ", ".join(changes), adds=False)


def _add_types(columns: dict[str, str], dialect: str) -> dict[str, str]:
    return {name: kind.format(**WORDS[dialect]) for name, kind in columns.items()}


def _change_indexes(added: dict[str, str], dropped: dict[str, str]) -> list[str]:
    return [f"ADD KEY {name} ({columns})" for name, columns in added.items()] + [
        f"DROP KEY {name}" for name in dropped
    ]


def _add_sqlite_indexes(table: str, indexes: dict[str, str]) -> None:
    for name, columns in indexes.items():
        op.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {table} ({columns})")


def _drop_sqlite_indexes(indexes: dict[str, str]) -> None:
    for name in indexes:
        op.execute(f"DROP INDEX IF EXISTS {name}")
