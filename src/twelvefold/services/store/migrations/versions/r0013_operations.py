"""Indexes for the queue and for the list of keys, and views without texts of deleted conversations.

`runs_queue` has the key of a run, so that the runs of a key whose slots are all taken are left out
without reading their rows. `error` of `twelvefold_runs` and `reason` of `twelvefold_approvals` are
empty for a run that was deleted, alone or with its conversation.
"""

from typing import NamedTuple

from alembic import op

from twelvefold.services.store.migrations.ddl import alter_mysql, is_sqlite
from twelvefold.services.store.migrations.versions import r0010_views as views

revision = "0013"
down_revision = "0012"


class _Index(NamedTuple):
    table: str
    name: str
    columns: str
    before: str
    """The columns that it had; "" for a new index."""
    added: str
    """A column that only the new one has."""


QUEUE = "status, workflow, principal, lease_until"
INDEXES = (
    _Index("runs", "runs_queue", f"{QUEUE}, key_id", QUEUE, "key_id"),
    _Index("api_keys", "api_keys_created", "created_at, id", "", "created_at"),
)
TEXTS = {"twelvefold_runs": "error", "twelvefold_approvals": "reason"}
"""The column of a view that has text of a conversation."""


def upgrade() -> None:
    for index in INDEXES:
        _change(index, index.before, index.columns, adds=True)
    for name, column in TEXTS.items():
        columns = views.columns()[name]
        shown = f"CASE WHEN COALESCE(r.deleted_at, t.deleted_at) IS NULL THEN {columns[column]}"
        _replace(name, columns | {column: f"{shown} ELSE '' END"})


def downgrade() -> None:
    for name in TEXTS:
        _replace(name, views.columns()[name])
    for index in INDEXES:
        _change(index, index.columns, index.before, adds=False)


def _change(index: _Index, before: str, after: str, *, adds: bool) -> None:
    table, name = index.table, index.name
    if not is_sqlite():
        changes = [f"DROP KEY {name}"] if before else []
        changes += [f"ADD KEY {name} ({after})"] if after else []
        alter_mysql(table, index.added, ", ".join(changes), adds=adds, index=name)
        return
    op.execute(f"DROP INDEX IF EXISTS {name}")
    if after:
        op.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {table} ({after})")


def _replace(name: str, columns: dict[str, str]) -> None:
    if is_sqlite():  # has no CREATE OR REPLACE VIEW
        op.execute(f"DROP VIEW IF EXISTS {name}")
    views.create_view(name, columns)
