"""The SQL of the store has nothing that a cluster or a sharded database lacks."""

import re
from pathlib import Path

import pytest

import twelvefold.services.store
from twelvefold.services.store.mysql.store import WORDS
from twelvefold.services.store.sql.base import STATEMENT_FILES
from twelvefold.services.store.sql_text import load_statements

FORBIDDEN = {
    "SKIP LOCKED": "not every database has it",
    "LOCK IN SHARE MODE": "TiDB and Vitess have no shared locks, and two holders deadlock",
    "FOR SHARE": "as LOCK IN SHARE MODE",
    "GET_LOCK": "two nodes of a cluster grant it at once",
    "LOCK TABLES": "a cluster does not replicate it",
}
MULTIPLE_TABLES = re.compile(
    r"UPDATE\s+\w+(?:\s+(?:AS\s+)?(?!SET\b)\w+)?\s*(?:,|\w*\s*JOIN\b)"
    r"|DELETE\s+(?!FROM\b)\w+|DELETE\s+FROM\s+\w+\s*(?:,|USING\b|\w*\s*JOIN\b)",
    re.IGNORECASE,
)
STATEMENTS = {
    f"{file}: {name}": text
    for file in (*STATEMENT_FILES, "mysql.sql")
    for name, text in load_statements(file, WORDS).items()
}


@pytest.mark.parametrize("words", FORBIDDEN)
def test_no_statement_has_a_construct_that_is_not_portable(words: str) -> None:
    assert [name for name, text in STATEMENTS.items() if words in text.upper()] == []


@pytest.mark.parametrize("words", FORBIDDEN)
def test_no_module_of_the_store_sends_a_construct_that_is_not_portable(words: str) -> None:
    root = Path(twelvefold.services.store.__file__).parent
    quoted = re.compile(rf'^(?!\s*(?:#|""")).*"[^"]*{words}', re.MULTILINE)

    found = [path.name for path in root.rglob("*.py") if quoted.search(path.read_text("utf-8"))]

    assert found == []


def test_an_update_or_a_deletion_is_of_one_table() -> None:
    assert [name for name, text in STATEMENTS.items() if MULTIPLE_TABLES.search(text)] == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE threads t JOIN runs r ON r.thread_id = t.id SET t.head = 1",
        "UPDATE threads, runs SET head = 1",
        "DELETE t FROM threads t JOIN runs r ON r.thread_id = t.id",
        "DELETE FROM threads USING threads JOIN runs",
    ],
)
def test_a_statement_over_two_tables_is_found(statement: str) -> None:
    assert MULTIPLE_TABLES.search(statement)
