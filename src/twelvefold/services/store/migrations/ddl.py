"""DDL of the revisions. Each statement can be repeated after a crash.

MySQL commits every DDL statement, so an interrupted revision has run some of its statements.
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
"""Types whose names differ between the dialects."""
Indexes = dict[str, dict[str, str]]
"""The columns of each index by its name, by table."""


def is_sqlite() -> bool:
    return op.get_context().dialect.name == "sqlite"


def reject_foreign_tables(tables: Iterable[str]) -> None:
    """Raise CommandError if a table of another application has one of the names.

    A table of the store may exist already, from an interrupted migration.
    """
    if context.is_offline_mode():
        return
    database = inspect(op.get_bind())
    for statement in tables:
        table, columns = _parse_create(statement)
        if not database.has_table(table):
            continue
        if columns != {column["name"] for column in database.get_columns(table)}:
            raise CommandError(
                f"table {table} exists already and is not the journal's; "
                "rename it, or give the journal a separate database"
            )


def _parse_create(statement: str) -> tuple[str, set[str]]:
    """Return the name of the table that a statement creates, and its columns."""
    table = re.findall(r"EXISTS (\w+)", statement)[0]
    return table, set(re.findall(r"^ +`?([a-z_0-9]+)`? ", statement, re.MULTILINE))


def create_tables(tables: Iterable[str], indexes: Indexes) -> None:
    """Create the tables; in MySQL `{…_indexes}` in a table's statement becomes its indexes."""
    # Inside the table, because only MariaDB has CREATE INDEX IF NOT EXISTS.
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


def alter_mysql(table: str, column: str, changes: str, *, adds: bool, index: str = "") -> None:
    """Run one ALTER TABLE, which is atomic, unless `column` shows that it was run already.

    With `index` it is a column of this index. In plain SQL, so that a DBA can run it too: only
    MariaDB has ADD COLUMN IF NOT EXISTS.
    """
    column_count = (
        f"SELECT COUNT(*) FROM information_schema.{'statistics' if index else 'columns'} "  # noqa: S608 - constants of this package
        f"WHERE table_schema = DATABASE() AND table_name = '{table}' AND column_name = '{column}'"
        + (f" AND index_name = '{index}'" if index else "")
    )
    change = f"'ALTER TABLE {table} {changes}'"
    chosen = f"IF(({column_count}) = {int(not adds)}, {change}, 'DO 0')"
    for statement in (
        f"SET @twelvefold_change = {chosen}",
        "PREPARE twelvefold_change FROM @twelvefold_change",
        "EXECUTE twelvefold_change",
        "DEALLOCATE PREPARE twelvefold_change",
    ):
        op.execute(statement)


def alter_sqlite(table: str, columns: dict[str, str], *, adds: bool) -> None:
    """Add columns with their types, or drop them, one by one, unless that was done already."""
    existing: set[str] = set() if adds else set(columns)
    if not context.is_offline_mode():
        existing = {column["name"] for column in inspect(op.get_bind()).get_columns(table)}
    for name, kind in columns.items():
        if (name in existing) != adds:
            op.execute(
                f"ALTER TABLE {table} "
                + (f"ADD COLUMN {name} {kind}" if adds else f"DROP COLUMN {name}")
            )
