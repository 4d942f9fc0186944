"""How often a run was claimed without progress, which bounds the attempts."""

from twelvefold.services.store.migrations.ddl import alter_mysql, alter_sqlite, is_sqlite

revision = "0004"
down_revision = "0003"

COLUMNS = {"attempts": "INT NULL", "attempts_head": "BIGINT NULL"}
"""They may be NULL, because a release that does not know them may still write rows."""


def upgrade() -> None:
    _alter("ADD COLUMN {0} {1}", adds=True)


def downgrade() -> None:
    _alter("DROP COLUMN {0}", adds=False)


def _alter(change: str, *, adds: bool) -> None:
    if is_sqlite():
        alter_sqlite("runs", COLUMNS, adds=adds)
        return
    changes = ", ".join(change.format(*column) for column in COLUMNS.items())
    alter_mysql("runs", next(iter(COLUMNS)), changes, adds=adds)
