"""The ledger of deployed releases: rows are added and never changed."""

from alembic import op

from twelvefold.services.store.migrations.ddl import create_tables, reject_foreign_tables

revision = "0003"
down_revision = "0002"

TABLES = (
    """
    CREATE TABLE IF NOT EXISTS twelvefold_releases (
      number INT NOT NULL,
      release_id {name} NOT NULL,
      version {key} NOT NULL,
      commit_id {key} NOT NULL,
      level {word} NOT NULL,
      serves {word} NOT NULL,
      at_us BIGINT NOT NULL,
      PRIMARY KEY (number)
    ) {table}
    """,
)


def upgrade() -> None:
    reject_foreign_tables(TABLES)
    create_tables(TABLES, {})


def downgrade() -> None:
    op.execute("DROP TABLE IF EXISTS twelvefold_releases")
