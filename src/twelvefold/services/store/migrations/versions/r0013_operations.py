"""Views without texts of deleted conversations.

`error` of `twelvefold_runs` and `reason` of `twelvefold_approvals` are empty for a run that was
deleted, alone or with its conversation.
"""

from alembic import op

from twelvefold.services.store.migrations.ddl import is_sqlite
from twelvefold.services.store.migrations.versions import r0010_views as views

revision = "0013"
down_revision = "0011"

TEXTS = {"twelvefold_runs": "error", "twelvefold_approvals": "reason"}
"""The column of a view that has text of a conversation."""


def upgrade() -> None:
    for name, column in TEXTS.items():
        columns = views.columns()[name]
        shown = f"CASE WHEN COALESCE(r.deleted_at, t.deleted_at) IS NULL THEN {columns[column]}"
        _replace(name, columns | {column: f"{shown} ELSE '' END"})


def downgrade() -> None:
    for name in TEXTS:
        _replace(name, views.columns()[name])


def _replace(name: str, columns: dict[str, str]) -> None:
    if is_sqlite():  # has no CREATE OR REPLACE VIEW
        op.execute(f"DROP VIEW IF EXISTS {name}")
    views.create_view(name, columns)
