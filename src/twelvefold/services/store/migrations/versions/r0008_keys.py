"""API keys that expire, are rotated and are limited; shares of principals and keys.

`api_keys.expires_at` NULL: the key does not expire. `old_sha256` is the hash of the secret before
the last rotation, which is valid until `old_until`. `workflows` and `tools` are JSON arrays of the
names that the key allows, NULL for all. `last_used_at` is up to some minutes old.
`rate_per_minute`, `max_runs` and `priority` are NULL where the settings decide.

`rate_buckets` has a row for each key and principal whose requests are limited: its bucket of tokens
is full at `full_at`. `run_slots` has the slots of those whose runs are limited, each with the run
that has taken it. `runs.key_id` is the API key that started the run, `runs.priority` that of the
key.
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

revision = "0008"
down_revision = "0007"

TABLES = (
    """
    CREATE TABLE IF NOT EXISTS rate_buckets (
      owner {key} NOT NULL,
      full_at BIGINT NOT NULL,
      PRIMARY KEY (owner)
    ) {table}
    """,
    """
    CREATE TABLE IF NOT EXISTS run_slots (
      owner {key} NOT NULL,
      number INT NOT NULL,
      token {key} NOT NULL,
      thread_id {id} NOT NULL,
      ordinal INT NOT NULL,
      taken_until BIGINT NOT NULL,
      PRIMARY KEY (owner, number)
    ) {table}
    """,
)
COLUMNS = {
    "api_keys": {
        "expires_at": "BIGINT NULL",
        "last_used_at": "BIGINT NULL",
        "old_sha256": "{key} NULL",
        "old_until": "BIGINT NULL",
        "workflows": "{text} NULL",
        "tools": "{text} NULL",
        "rate_per_minute": "BIGINT NULL",
        "max_runs": "BIGINT NULL",
        "priority": "SMALLINT NULL",
    },
    "runs": {"key_id": "{key} NULL", "priority": "SMALLINT NULL"},
}
"""They may be NULL, because an older release may still write rows."""


def upgrade() -> None:
    reject_foreign_tables(TABLES)
    create_tables(TABLES, {})
    dialect = "sqlite" if is_sqlite() else "mysql"
    for table, columns in COLUMNS.items():
        kinds = {name: kind.format(**WORDS[dialect]) for name, kind in columns.items()}
        if is_sqlite():
            alter_sqlite(table, kinds, adds=True)
        else:
            changes = [f"ADD COLUMN {name} {kind}" for name, kind in kinds.items()]
            changes += ["ADD KEY api_keys_old (old_sha256)"] if table == "api_keys" else []
            alter_mysql(table, next(iter(columns)), ", ".join(changes), adds=True)
    if is_sqlite():
        op.execute("CREATE INDEX IF NOT EXISTS api_keys_old ON api_keys (old_sha256)")


def downgrade() -> None:
    if is_sqlite():
        op.execute("DROP INDEX IF EXISTS api_keys_old")
    for table, columns in COLUMNS.items():
        if is_sqlite():
            alter_sqlite(table, columns, adds=False)
        else:
            # The index first: MariaDB does not drop a column that an index uses.
            changes = ["DROP KEY api_keys_old"] if table == "api_keys" else []
            changes += [f"DROP COLUMN {name}" for name in columns]
            alter_mysql(table, next(iter(columns)), ", ".join(changes), adds=False)
    for table in ("run_slots", "rate_buckets"):
        op.execute(f"DROP TABLE IF EXISTS {table}")
