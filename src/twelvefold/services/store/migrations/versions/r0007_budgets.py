"""Budgets of a deployment, and what was spent of them.

`budgets` has the limits, NULL for none. `budget_periods` has what was spent and reserved in a day
or a month that begins at `began_at`. `budget_reservations` has the model calls that are not
settled. Amounts are tokens and micro-dollars.
"""

from alembic import op

from twelvefold.services.store.migrations.ddl import create_tables, reject_foreign_tables

revision = "0007"
down_revision = "0006"

TABLES = (
    """
    CREATE TABLE IF NOT EXISTS budgets (
      id {key} NOT NULL,
      principal {name} NOT NULL,
      key_id {name} NOT NULL,
      workflow {name} NOT NULL,
      time_window {word} NOT NULL,
      policy {word} NOT NULL,
      limit_tokens BIGINT NULL,
      limit_micro_usd BIGINT NULL,
      created_at BIGINT NOT NULL,
      updated_at BIGINT NOT NULL,
      PRIMARY KEY (id)
    ) {table}
    """,
    """
    CREATE TABLE IF NOT EXISTS budget_periods (
      budget_id {key} NOT NULL,
      began_at BIGINT NOT NULL,
      spent_tokens BIGINT NOT NULL,
      spent_micro_usd BIGINT NOT NULL,
      reserved_tokens BIGINT NOT NULL,
      reserved_micro_usd BIGINT NOT NULL,
      PRIMARY KEY (budget_id, began_at)
    ) {table}
    """,
    """
    CREATE TABLE IF NOT EXISTS budget_reservations (
      thread_id {id} NOT NULL,
      ordinal INT NOT NULL,
      position INT NOT NULL,
      attempt {key} NOT NULL,
      budget_id {key} NOT NULL,
      began_at BIGINT NOT NULL,
      tokens BIGINT NOT NULL,
      micro_usd BIGINT NOT NULL,
      created_at BIGINT NOT NULL,
      PRIMARY KEY (thread_id, ordinal, position, attempt, budget_id){budget_reservations_indexes}
    ) {table}
    """,
)
INDEXES = {"budget_reservations": {"budget_reservations_began": "began_at"}}


def upgrade() -> None:
    reject_foreign_tables(TABLES)
    create_tables(TABLES, INDEXES)


def downgrade() -> None:
    for table in ("budget_reservations", "budget_periods", "budgets"):
        op.execute(f"DROP TABLE IF EXISTS {table}")
