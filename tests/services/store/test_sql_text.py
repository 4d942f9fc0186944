"""SQL as text: parameters, ends of statements, and statements that tools may not run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twelvefold.errors import StoreRefused
from twelvefold.services.store.mysql.store import WORDS
from twelvefold.services.store.sql.base import STATEMENT_FILES
from twelvefold.services.store.sql_text import (
    Dialect,
    load_statements,
    reject_commits,
    reject_writes,
    split_script,
    strip_end,
    to_positional,
)

DIALECTS: list[Dialect] = ["mysql", "sqlite"]


def within(quote: str) -> st.SearchStrategy[str]:
    """Quoted text, with escaped characters."""
    plain = st.characters(exclude_characters=quote + "\\", codec="utf-8")
    escaped = st.characters(codec="utf-8").map(lambda character: "\\" + character)
    inner = st.lists(plain | escaped | st.just(2 * quote)).map("".join)
    return inner.map(lambda text: quote + text + quote)


LINE = st.text(st.characters(exclude_characters="\n", codec="utf-8"))
PASSED_OVER = st.one_of(
    within("'"),
    within('"'),
    st.text(st.characters(exclude_characters="`", codec="utf-8")).map(lambda text: f"`{text}`"),
    LINE.map(lambda text: f"-- {text}\n"),
    LINE.map(lambda text: f"#{text}\n"),
    st.text(st.characters(codec="utf-8"))
    .filter(lambda text: "*/" not in f"{text}*"[:-1] and not text.startswith(("!", "M", "/")))
    .map(lambda text: f"/*{text}*/"),
)
DEFAULT_OPTIONS = st.text(st.sampled_from("abz =(),.%\n\t129@"), min_size=1)
NAME = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)


@given(st.lists(st.tuples(PASSED_OVER, st.just("")) | st.tuples(DEFAULT_OPTIONS, NAME)))
def test_only_names_outside_of_quotes_and_comments_are_rewritten(
    parts: list[tuple[str, str]],
) -> None:
    written = " ".join(f"{text} :{name}" if name else text for text, name in parts)
    wanted = " ".join(f"{text} <{name}>" if name else text for text, name in parts)

    text, order_values = to_positional(written)

    assert text % order_values({name: f"<{name}>" for _, name in parts}) == wanted


@given(st.lists(st.tuples(DEFAULT_OPTIONS, PASSED_OVER), min_size=1))
def test_a_script_is_split_only_outside_of_quotes_and_comments(
    parts: list[tuple[str, str]],
) -> None:
    statements = [f"x{plain} {passed_over}" for plain, passed_over in parts]

    assert split_script("\n;".join(statements)) == [one.strip() for one in statements]


@pytest.mark.parametrize(
    ("script", "statements"),
    [
        ("", []),
        (" ;; \n-- nothing;\n;/* at; all */", []),
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT ';'; SELECT 2 -- two;\n;", ["SELECT ';'", "SELECT 2 -- two;"]),
        ("SELECT 5--1; SELECT 2", ["SELECT 5--1", "SELECT 2"]),
    ],
)
def test_a_script_has_no_empty_statements(script: str, statements: list[str]) -> None:
    assert split_script(script) == statements


def test_a_missing_name_is_a_key_error() -> None:
    for statement in ("SELECT :one", "SELECT :one, :two"):
        _, order_values = to_positional(statement)

        with pytest.raises(KeyError, match="one"):
            order_values({"two": 2})


PARTS = {"join_errors", "has_asked", "usage_sums", "usage_added"}
"""Parts of statements that are assembled."""


def test_every_statement_of_a_file_has_a_name_and_no_comment() -> None:
    statements = {
        name: text
        for file in STATEMENT_FILES
        for name, text in load_statements(file, WORDS).items()
    }

    assert {"insert_event", "claim", "kept_threads"} <= statements.keys()
    assert len(statements) == sum(len(load_statements(file, WORDS)) for file in STATEMENT_FILES)
    for name, statement in statements.items():
        verbs = ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE")
        assert name in PARTS or statement.split()[0] in verbs
        assert "--" not in statement
        assert "{" not in statement


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("statement", "sent"),
    [
        ("SELECT 1", "SELECT 1"),
        ("SELECT ';' -- a", "SELECT ';' -- a"),
        ("SELECT 1 ; ;\n-- a; b", "SELECT 1"),
        ("SELECT 1 -- a; b\n;", "SELECT 1 -- a; b"),
        ("SELECT 1 /* '; */; -- 'a", "SELECT 1 /* '; */"),
    ],
)
def test_the_end_of_a_statement_is_not_sent(statement: str, sent: str, dialect: Dialect) -> None:
    assert strip_end(statement, dialect) == sent


READS = (
    *("select 1", " SELECT 1; ", "(SELECT 1) UNION (SELECT 2)", "VALUES (1)"),
    *("-- why\nSELECT 1", "/* why */ SELECT ';', \"COMMIT\"", "SELECT `delete` FROM t"),
    *("WITH a AS (SELECT 1) SELECT * FROM a", "EXPLAIN SELECT 1", "SELECT 1 -- ; and so on"),
    "WITH a AS (SELECT 'DELETE'), b (c) AS (SELECT 2) SELECT * FROM a, b",
)
WRITES = (
    *(
        "INSERT INTO t VALUES (1)",
        "update t set a = 1",
        "DELETE FROM t",
        "REPLACE INTO t VALUES (1)",
    ),
    *("WITH a AS (SELECT 1) DELETE FROM t", "EXPLAIN ANALYZE DELETE FROM t"),
    "SELECT 1 INTO OUTFILE '/tmp/x'",
)
NEITHER = (
    *(
        "COMMIT",
        "commit ;",
        "BEGIN",
        "ROLLBACK",
        "START TRANSACTION",
        "SET autocommit = 1",
        "XA END 'x'",
    ),
    *(
        "CREATE TABLE t (a INT)",
        "CREATE TEMPORARY TABLE t (a INT)",
        "DROP TABLE t",
        "LOCK TABLES t READ",
    ),
    *(
        "CALL p()",
        "DO SLEEP(1)",
        "PRAGMA x",
        "ATTACH 'x' AS y",
        "USE other",
        "KILL 1",
        "",
        " -- \n",
    ),
    *(
        "/* x */COMMIT",
        "-- SELECT\nCOMMIT",
        "SELECT 1; COMMIT",
        "SELECT 1;;SELECT 2",
        "IF 1 THEN COMMIT",
    ),
)
FOR_MYSQL = (
    *(
        "/*!50000 COMMIT*/",
        "/*M!100000 COMMIT*/",
        "SELECT 1 /*! INTO OUTFILE 'x' */",
        "# x\nCOMMIT",
    ),
    *("SELECT 5--1; COMMIT", "SELECT 5--\u00a0; COMMIT", "SELECT 'a\\'; COMMIT; -- '"),
)
FOR_SQLITE = ("--select\nCOMMIT", "SELECT 'a\\'; COMMIT; -- '", "SELECT 1 /* ; */; COMMIT /*")


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("statement", READS)
def test_a_read_is_allowed_in_every_transaction(statement: str, dialect: Dialect) -> None:
    reject_writes(statement, dialect)
    reject_commits(statement, dialect)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("statement", WRITES)
def test_a_write_needs_a_transaction(statement: str, dialect: Dialect) -> None:
    reject_commits(statement, dialect)

    with pytest.raises(StoreRefused, match=r"not a read|writes rows somewhere"):
        reject_writes(statement, dialect)


@pytest.mark.parametrize(
    ("statement", "dialect"),
    [(statement, dialect) for statement in NEITHER for dialect in DIALECTS]
    + [(statement, "mysql") for statement in FOR_MYSQL[:-1]]
    + [(statement, "sqlite") for statement in FOR_SQLITE],
)
def test_any_other_statement_is_refused(statement: str, dialect: Dialect) -> None:
    for reject in (reject_commits, reject_writes):
        with pytest.raises(StoreRefused):
            reject(statement, dialect)


def test_a_backslash_escapes_a_quote_in_mysql_alone() -> None:
    statement = "SELECT 'it\\'s; COMMIT; -- '"

    reject_commits(statement, "mysql")
    with pytest.raises(StoreRefused):
        reject_commits(statement, "sqlite")


@pytest.mark.parametrize(
    "statement", ["SAVEPOINT a", "RELEASE SAVEPOINT a", "ROLLBACK TO SAVEPOINT a"]
)
def test_savepoints_are_allowed(statement: str) -> None:
    reject_commits(statement, "mysql")
    with pytest.raises(StoreRefused):
        reject_writes(statement, "mysql")


def test_the_refusal_names_the_word_and_the_alternative() -> None:
    with pytest.raises(
        StoreRefused, match=r"^DROP neither reads nor writes rows.*workflow's schema$"
    ):
        reject_commits("/* tidy up */ drop table t", "mysql")
    with pytest.raises(StoreRefused, match=r"^there is a ; within the statement"):
        reject_commits("SELECT 1; SELECT 2", "mysql")
    with pytest.raises(StoreRefused, match="half of a surrogate pair"):
        reject_commits("SELECT '\ud83d'", "mysql")
