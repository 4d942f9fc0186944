"""Every statement runs on one shard, or is named with the reason why not."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.services.store.shards import KEYS, LOOKUPS, UNSHARDED, Shards, shards_of
from twelvefold.core.ids import FAMILY_LENGTH
from twelvefold.services.store.sql.base import STATEMENT_FILES
from twelvefold.services.store.sql_text import load_statements

DOCS = Path(__file__).parents[3] / "docs"
SCALE = (DOCS / "scale.md").read_text()
SCATTER = {
    "Find work": (
        *("waiting_runs", "queued_part", "expired_part", "due_part", "unfilled_runs"),
        *("mail_is_due", "due_messages"),
    ),
    "Find spans to export": ("due_trace_exports",),
    "Count the queue": ("queued_runs", "queued_runs_of", "unserved_runs"),
    "Count for metrics": ("run_count", "outbox_counts"),
    "Lists of an operator": (
        *("runs", "messages", "dead_messages"),
        *("keys_by_time", "keys_by_status", "keys_by_workflow", "keys_by_principal", "keys_by_id"),
        *("keys_below", "join_errors", "has_asked"),
        *("unsent_messages", "dead_messages_after", "sent_messages_after"),
    ),
    "Wake the runs that wait for a budget": ("waiting_until",),
    "The list of a principal": (
        *("listed_threads", "listed_threads_upwards", "continuations", "unclassified_of"),
        *("threads_to_classify", "first_entries", "threads_with_removals"),
    ),
    "The questions of a person": ("open_questions", "open_questions_upwards"),
    "Follow the streams of a process": ("marks",),
    "Clear the titles of forks": ("forks",),
    "The runs below a run": ("descendants", "children", "children_of_run"),
    "Count the usage": (
        *("uncounted_runs", "lock_uncounted", "mark_counted", "starters", "ended_waits"),
    ),
    "Charge the model calls of runs that are over": ("lost_reservations",),
    "The slots of a principal or an API key": ("run_slots",),
    "Upgrade": ("unclassified", "lock_unclassified", "unlisted_questions"),
    "Prune": (
        *(
            "aged_threads",
            "deleted_threads",
            "old_threads",
            "old_children",
            "kept_threads",
            "lock_threads",
        ),
        *("cancelled_waiting", "delete_old_requests", "delete_old_messages", "delete_old_signals"),
        *("delete_runs",),
        *("delete_old_trace_exports", "delete_old_questions"),
        *("delete_events", "delete_deltas", "delete_requests", "delete_outbox"),
        *("delete_threads", "still_in_use"),
    ),
}
"""Statements that may run on several shards, by the reason."""
OF_ONE_FAMILY = {"child_states", "deleted_runs", "removed_items", "forget_titles"}
"""Statements with a list of threads of one family, except for forks that an older release made."""


def statements() -> dict[str, str]:
    named: dict[str, str] = {}
    for file in (*STATEMENT_FILES, "mysql.sql", "sqlite.sql"):
        for name, statement in load_statements(file, {}).items():
            named[f"{file.partition('.')[0]} {name}"] = statement
    return named


@pytest.mark.parametrize("name", statements())
def test_a_statement_runs_on_one_shard_or_has_a_reason(name: str) -> None:
    bare = name.partition(" ")[2]
    shards = shards_of(statements()[name])

    several = {one for names in SCATTER.values() for one in names}
    assert (shards is not Shards.ONE) == (bare in several | OF_ONE_FAMILY)
    if bare in OF_ONE_FAMILY:
        assert shards is Shards.LISTED


def test_the_documentation_has_the_statements_on_several_shards() -> None:
    section = SCALE.partition("## Shards")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([A-Z][^|]*) \| (`[^|]*`) \|", section, re.MULTILINE)

    documented = {reason: tuple(re.findall(r"`(\w+)`", names)) for reason, names in rows}

    assert documented == SCATTER


def blocks() -> list[Any]:
    section = SCALE.partition("## Vitess and TiDB")[2].partition("\n## ")[0]
    return [json.loads(text) for text in re.findall(r"```json\n(.*?)```", section, re.S)]


def test_the_vschema_has_the_keys_of_the_sharded_tables() -> None:
    sharded, _ = blocks()
    columns: dict[str, list[Mapping[str, Any]]] = {
        name: table["column_vindexes"] for name, table in sharded["tables"].items()
    }

    assert {name: of[0]["column"] for name, of in columns.items()} == KEYS
    assert {of[0]["name"] for of in columns.values()} == {"family"}
    assert sharded["vindexes"]["family"]["params"]["offsets"] == f"[{FAMILY_LENGTH}]"
    lookups = {name: tuple(of[1]["columns"]) for name, of in columns.items() if of[1:]}
    assert lookups == LOOKUPS
    assert sharded["vindexes"]["requests"]["params"]["from"] == ",".join(*lookups.values())


def test_the_vschema_has_the_other_tables() -> None:
    _, unsharded = blocks()

    tables = {
        name for name in UNSHARDED if name not in ("information_schema.tables", "sqlite_master")
    }
    assert set(unsharded["tables"]) == tables | {"idempotency_lookup"}


@pytest.mark.parametrize(
    ("statement", "shards"),
    [
        ("SELECT 1 FROM runs WHERE thread_id = :thread AND status = 'queued'", Shards.ONE),
        ("SELECT 1 FROM api_keys WHERE name = :name", Shards.ONE),
        ("SELECT 1 FROM budgets b JOIN runs r ON r.thread_id = b.thread_id", Shards.ALL),
        ("SELECT 1 FROM runs r JOIN threads t ON t.id = r.thread_id WHERE t.id = :a", Shards.ONE),
        ("SELECT 1 FROM runs WHERE thread_id IN (:threads)", Shards.LISTED),
        ("SELECT 1 FROM runs WHERE status = :status", Shards.ALL),
        ("SELECT 1 FROM runs WHERE thread_id > :thread", Shards.ALL),
        ("SELECT 1 FROM runs WHERE thread_id = :thread OR status = :status", Shards.ALL),
        ("SELECT 1 FROM runs r JOIN threads t ON t.head = r.ordinal WHERE t.id = :a", Shards.ALL),
        ("SELECT (SELECT 1 FROM threads) FROM runs WHERE thread_id = :thread", Shards.ALL),
        (
            "SELECT 1 FROM runs WHERE thread_id = :thread UNION ALL SELECT 1 FROM deltas",
            Shards.ALL,
        ),
        ("UPDATE runs SET thread_id = :thread WHERE status = 'queued'", Shards.ALL),
        ("DELETE FROM outbox WHERE thread_id = :thread", Shards.ALL),
        ("SELECT 1 FROM idempotency_keys WHERE request_key = :request_key", Shards.ALL),
        ("INSERT INTO runs (thread_id, ordinal) VALUES (:thread, 1)", Shards.ONE),
        ("INSERT INTO runs (thread_id, ordinal) VALUES ('', 1)", Shards.ALL),
        ("INSERT INTO runs (thread_id, ordinal) SELECT :thread, head FROM threads", Shards.ALL),
    ],
)
def test_a_statement_s_shards_are_found(statement: str, shards: Shards) -> None:
    assert shards_of(statement) is shards


def test_a_new_table_needs_a_key() -> None:
    with pytest.raises(KeyError, match="quotas"):
        shards_of("SELECT 1 FROM quotas WHERE thread_id = :thread")
