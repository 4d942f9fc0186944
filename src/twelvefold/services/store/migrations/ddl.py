"""What the revisions have in common: each statement can be run again after a crash behind it.

MySQL commits every statement of DDL, so a revision that was cut off has done some of them.
"""

import re
from collections.abc import Iterable

from alembic import context, op
from alembic.util import CommandError
from sqlalchemy import inspect

WORDS = {
    "mysql": {
        "id": "VARCHAR(44) CHARACTER SET ascii COLLATE ascii_bin",
        "key": "VARCHAR(80) CHARACTER SET ascii COLLATE ascii_bin",
        "word": "VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin",
        "ascii": "VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin",
        "name": "VARCHAR(255)",
        "text": "LONGTEXT",
        "table": "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
    },
    "sqlite": {
        "id": "VARCHAR(44)",
        "key": "VARCHAR(80)",
        "word": "VARCHAR(32)",
        "ascii": "VARCHAR(255)",
        "name": "VARCHAR(255)",
        "text": "TEXT",
        "table": "WITHOUT ROWID",
    },
}
"""The types that the dialects call differently."""
Indexes = dict[str, dict[str, str]]
"""The columns of each index by its name, by table."""


def is_sqlite() -> bool:
    return op.get_context().dialect.name == "sqlite"


def refuse_foreign_tables(tables: Iterable[str]) -> None:
    """Ours may be there, from a migration that was cut off; others of the same name may not."""
    if context.is_offline_mode():
        return
    database = inspect(op.get_bind())
    for statement in tables:
        table, columns = _named(statement)
        if not database.has_table(table):
            continue
        if columns != {column["name"] for column in database.get_columns(table)}:
            raise CommandError(
                f"table {table} is there already and is not the journal's; "
                "rename it, or give the journal a database of its own"
            )


def _named(statement: str) -> tuple[str, set[str]]:
    """The name of the table that a statement makes, and its columns."""
    table = re.findall(r"EXISTS (\w+)", statement)[0]
    return table, set(re.findall(r"^ +`?([a-z_0-9]+)`? ", statement, re.MULTILINE))


def create_tables(tables: Iterable[str], indexes: Indexes) -> None:
    """Make the tables; `{…_indexes}` stands in a table's statement where MySQL has its indexes."""
    # Indexes inside the tables: CREATE INDEX IF NOT EXISTS is MariaDB's alone.
    inline = {
        f"{table}_indexes": "".join(f", KEY {name} ({columns})" for name, columns in of.items())
        for table, of in indexes.items()
    }
    if is_sqlite():
        inline = dict.fromkeys(inline, "")
    for table in tables:
        op.execute(table.format(**WORDS["sqlite" if is_sqlite() else "mysql"], **inline))
    if is_sqlite():
        for table, of in indexes.items():
            for name, columns in of.items():
                op.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {table} ({columns})")


def alter_mysql(table: str, column: str, changes: str, *, adds: bool) -> None:
    """One ALTER TABLE, which is done whole or not at all, unless `column` shows that it was done.

    In plain SQL, so that a DBA can run it, too: ADD COLUMN IF NOT EXISTS is MariaDB's alone.
    """
    there = (
        "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() "  # noqa: S608 - names of ours
        f"AND table_name = '{table}' AND column_name = '{column}'"
    )
    wanted = f"'ALTER TABLE {table} {changes}'"
    chosen = f"IF(({there}) = {int(not adds)}, {wanted}, 'DO 0')"
    for statement in (
        f"SET @twelvefold_change = {chosen}",
        "PREPARE twelvefold_change FROM @twelvefold_change",
        "EXECUTE twelvefold_change",
        "DEALLOCATE PREPARE twelvefold_change",
    ):
        op.execute(statement)


def alter_sqlite(table: str, columns: dict[str, str], *, adds: bool) -> None:
    """Add columns with their types, or drop them, one by one, unless that was done."""
    there: set[str] = set() if adds else set(columns)
    if not context.is_offline_mode():
        there = {column["name"] for column in inspect(op.get_bind()).get_columns(table)}
    for name, kind in columns.items():
        if (name in there) != adds:
            op.execute(
                f"ALTER TABLE {table} "
                + (f"ADD COLUMN {name} {kind}" if adds else f"DROP COLUMN {name}")
            )
