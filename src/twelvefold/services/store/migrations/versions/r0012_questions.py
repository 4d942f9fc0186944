"""Questions of tools that wait for an answer, by the person who may give it.

`open_questions` has a row for each such question, from the entry that asks to the one that ends the
wait or the run. `position` is that of the entry, which has the question and its schema.
`expires_at` is in microseconds since 1970, 0: never.
"""

from alembic import op

from twelvefold.services.store.migrations.ddl import create_tables, reject_foreign_tables

revision = "0012"
down_revision = "0011"

TABLES = (
    """
    CREATE TABLE IF NOT EXISTS open_questions (
      thread_id {id} NOT NULL,
      call_id {word} NOT NULL,
      ordinal INT NOT NULL,
      position BIGINT NOT NULL,
      person {name} NOT NULL,
      workflow {name} NOT NULL,
      asked_at BIGINT NOT NULL,
      expires_at BIGINT NOT NULL,
      PRIMARY KEY (thread_id, call_id){open_questions_indexes}
    ) {table}
    """,
)
INDEXES = {"open_questions": {"questions_of_person": "person, asked_at, thread_id, call_id"}}


def upgrade() -> None:
    reject_foreign_tables(TABLES)
    create_tables(TABLES, INDEXES)


def downgrade() -> None:
    op.execute("DROP TABLE IF EXISTS open_questions")
