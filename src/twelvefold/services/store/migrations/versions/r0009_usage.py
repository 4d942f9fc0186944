"""Processes with their heartbeats, usage by day, and indexes for the list of runs.

`processes` has a row for each web process and worker. The tables of usage have sums over runs that
ended: `usage_days` by day and workflow, `usage_principals` by day and principal, `usage_details` by
all three. `runs.counted` is 1 once a run is part of these sums, NULL before.
"""

from alembic import op

from twelvefold.services.store.migrations.ddl import (
    alter_mysql,
    alter_sqlite,
    create_tables,
    is_sqlite,
    reject_foreign_tables,
)

revision = "0009"
down_revision = "0008"

TABLES = (
    """
    CREATE TABLE IF NOT EXISTS processes (
      id {word} NOT NULL,
      kind {word} NOT NULL,
      release_id {name} NOT NULL,
      host {name} NOT NULL,
      pid BIGINT NOT NULL,
      runs INT NOT NULL,
      started_at BIGINT NOT NULL,
      heartbeat_at BIGINT NOT NULL,
      PRIMARY KEY (id){processes_indexes}
    ) {table}
    """,
    """
    CREATE TABLE IF NOT EXISTS usage_days (
      day {word} NOT NULL,
      workflow {name} NOT NULL,
      runs BIGINT NOT NULL,
      failed BIGINT NOT NULL,
      input_tokens BIGINT NOT NULL,
      output_tokens BIGINT NOT NULL,
      cached_tokens BIGINT NOT NULL,
      micro_usd BIGINT NULL,
      PRIMARY KEY (day, workflow){usage_days_indexes}
    ) {table}
    """,
    """
    CREATE TABLE IF NOT EXISTS usage_principals (
      day {word} NOT NULL,
      principal {name} NOT NULL,
      runs BIGINT NOT NULL,
      failed BIGINT NOT NULL,
      input_tokens BIGINT NOT NULL,
      output_tokens BIGINT NOT NULL,
      cached_tokens BIGINT NOT NULL,
      micro_usd BIGINT NULL,
      PRIMARY KEY (day, principal){usage_principals_indexes}
    ) {table}
    """,
    """
    CREATE TABLE IF NOT EXISTS usage_details (
      day {word} NOT NULL,
      workflow {name} NOT NULL,
      principal {name} NOT NULL,
      runs BIGINT NOT NULL,
      failed BIGINT NOT NULL,
      input_tokens BIGINT NOT NULL,
      output_tokens BIGINT NOT NULL,
      cached_tokens BIGINT NOT NULL,
      micro_usd BIGINT NULL,
      PRIMARY KEY (workflow, day, principal){usage_details_indexes}
    ) {table}
    """,
)
INDEXES: dict[str, dict[str, str]] = {
    "processes": {},
    "usage_days": {},
    "usage_principals": {"usage_of_principal": "principal, day"},
    "usage_details": {"usage_details_of_principal": "principal, day"},
}
NEW_INDEXES = {
    "runs_by_status": "status, created_at, thread_id, ordinal, workflow, principal",
    "runs_by_workflow": "workflow, created_at",
    "runs_by_principal": "principal, created_at, thread_id, ordinal, workflow",
    "runs_uncounted": "counted, finished_at",
}
"""Indexes of `runs`. A run's status changes a few times; the other columns change once, if at all.

In two of them columns that filter follow the order of the list, so that no row is read in vain."""


def upgrade() -> None:
    reject_foreign_tables(TABLES)
    create_tables(TABLES, INDEXES)
    if is_sqlite():
        alter_sqlite("runs", {"counted": "SMALLINT NULL"}, adds=True)
        for name, columns in NEW_INDEXES.items():
            op.execute(f"CREATE INDEX IF NOT EXISTS {name} ON runs ({columns})")
        return
    changes = ["ADD COLUMN counted SMALLINT NULL"]
    changes += [f"ADD KEY {name} ({columns})" for name, columns in NEW_INDEXES.items()]
    alter_mysql("runs", "counted", ", ".join(changes), adds=True)


def downgrade() -> None:
    if is_sqlite():
        for name in NEW_INDEXES:
            op.execute(f"DROP INDEX IF EXISTS {name}")
        alter_sqlite("runs", {"counted": "SMALLINT NULL"}, adds=False)
    else:
        # The indexes first: MariaDB does not drop a column that an index uses.
        changes = [f"DROP KEY {name}" for name in NEW_INDEXES]
        changes.append("DROP COLUMN counted")
        alter_mysql("runs", "counted", ", ".join(changes), adds=False)
    for table in INDEXES:
        op.execute(f"DROP TABLE IF EXISTS {table}")
