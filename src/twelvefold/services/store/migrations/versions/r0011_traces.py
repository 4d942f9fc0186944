"""Runs with spans that may not have been exported.

`trace_exports` has a row for each time that a run ended or began to wait, until a collector has the
spans up to `position`. It is empty where traces are off. `due_at` is when another process may
export them, in microseconds since 1970.
"""

from alembic import op

from twelvefold.services.store.migrations.ddl import create_tables, reject_foreign_tables

revision = "0011"
down_revision = "0010"

TABLES = (
    """
    CREATE TABLE IF NOT EXISTS trace_exports (
      thread_id {id} NOT NULL,
      ordinal INT NOT NULL,
      position INT NOT NULL,
      created_at BIGINT NOT NULL,
      due_at BIGINT NOT NULL,
      PRIMARY KEY (thread_id, ordinal, position){trace_exports_indexes}
    ) {table}
    """,
)
INDEXES = {"trace_exports": {"trace_exports_due": "due_at"}}


def upgrade() -> None:
    reject_foreign_tables(TABLES)
    create_tables(TABLES, INDEXES)


def downgrade() -> None:
    op.execute("DROP TABLE IF EXISTS trace_exports")
