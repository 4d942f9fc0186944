"""API keys that expire, are rotated, and are limited to workflows and tools.

`api_keys.expires_at` NULL: the key does not expire. `old_sha256` is the hash of the secret before
the last rotation, which is valid until `old_until`. `workflows` and `tools` are JSON arrays of the
names that the key allows, NULL for all. `last_used_at` is up to some minutes old.
"""

from alembic import op

from twelvefold.services.store.migrations.ddl import WORDS, alter_mysql, alter_sqlite, is_sqlite

revision = "0008"
down_revision = "0006"

COLUMNS = {
    "expires_at": "BIGINT NULL",
    "last_used_at": "BIGINT NULL",
    "old_sha256": "{key} NULL",
    "old_until": "BIGINT NULL",
    "workflows": "{text} NULL",
    "tools": "{text} NULL",
}
"""They may be NULL, because an older release may still write rows."""


def upgrade() -> None:
    dialect = "sqlite" if is_sqlite() else "mysql"
    kinds = {name: kind.format(**WORDS[dialect]) for name, kind in COLUMNS.items()}
    if is_sqlite():
        alter_sqlite("api_keys", kinds, adds=True)
        op.execute("CREATE INDEX IF NOT EXISTS api_keys_old ON api_keys (old_sha256)")
        return
    changes = [f"ADD COLUMN {name} {kind}" for name, kind in kinds.items()]
    changes.append("ADD KEY api_keys_old (old_sha256)")
    alter_mysql("api_keys", "expires_at", ", ".join(changes), adds=True)


def downgrade() -> None:
    if is_sqlite():
        op.execute("DROP INDEX IF EXISTS api_keys_old")
        alter_sqlite("api_keys", COLUMNS, adds=False)
        return
    # The index first: MariaDB does not drop a column that an index uses.
    changes = ["DROP KEY api_keys_old", *(f"DROP COLUMN {name}" for name in COLUMNS)]
    alter_mysql("api_keys", "expires_at", ", ".join(changes), adds=False)
