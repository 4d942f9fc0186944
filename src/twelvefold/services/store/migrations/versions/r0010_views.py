"""Views for reports: runs, replies, tool calls and approvals as plain columns.

They have no text of a conversation. Times are in UTC; columns that end in `_us` have them as
microseconds since 1970, as the tables do.
"""

from collections.abc import Mapping

from alembic import op
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError

from twelvefold.services.store.migrations.ddl import is_sqlite

revision = "0010"
down_revision = "0009"

RUN = {
    "run_id": "{run_id}",
    "thread_id": "r.thread_id",
    "ordinal": "r.ordinal",
    "workflow": "COALESCE(r.workflow, t.workflow)",
    "principal": "COALESCE(r.principal, t.principal)",
    "release_id": "r.release_id",
}
"""The columns that say which run a row belongs to; the tables are `runs r` and `threads t`."""
RUN_OF_ENTRY = """\
  JOIN runs r ON r.thread_id = e.thread_id AND r.ordinal = e.run
  JOIN threads t ON t.id = e.thread_id"""
CALL = {"call_key": "{call_key}", "call_id": "{call}"}
DENIED = ((1142,), (1044,))
"""The errors of an account that lacks a privilege."""
USAGE = ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens")


def columns() -> dict[str, dict[str, str]]:
    """Return the columns of each view, as expressions."""
    return {
        "twelvefold_runs": {
            **RUN,
            "status": "r.status",
            "error": "r.error",
            "background": "r.background",
            "attempts": "COALESCE(r.attempts, 0)",
            "parent_run_id": "{parent}",
            **{name: _number("NULLIF(r.`usage`, '')", name) for name in USAGE},
            "created_at": _time("r.created_at"),
            "finished_at": _time("r.finished_at"),
            "seconds": "(r.finished_at - r.created_at) / 1000000.0",
            "created_us": "r.created_at",
            "finished_us": "r.finished_at",
        },
        "twelvefold_replies": {
            **RUN,
            "position": "e.position",
            "model": _text("e.body", "model"),
            "model_name": f"COALESCE({_text('e.body', 'named')}, 'default')",
            "ended": f"COALESCE({_text('e.body', 'ended')}, 'completed')",
            "failed_models": "{attempts}",
            **{name: _number("e.body", f"usage.{name}") for name in USAGE},
            "replied_at": _time("e.at_us"),
            "replied_us": "e.at_us",
        },
        "twelvefold_calls": {
            **CALL,
            **RUN,
            "position": "e.position",
            "tool": _text("e.body", "tool"),
            "outcome": "CASE e.type WHEN 'ToolSucceeded' THEN 'succeeded' "
            f"WHEN 'ToolFailed' THEN {_text('e.body', 'failure')} ELSE 'unknown' END",
            "error_type": _text("e.body", "error.type"),
            "model": _text("m.body", "model"),
            "model_name": "CASE WHEN m.body IS NULL THEN NULL "
            f"ELSE COALESCE({_text('m.body', 'named')}, 'default') END",
            "ended_at": _time("e.at_us"),
            "ended_us": "e.at_us",
        },
        "twelvefold_approvals": {
            **CALL,
            **RUN,
            "position": "e.position",
            "approved": "{approved}",
            "answered_by": _text("e.body", "by"),
            "reason": f"COALESCE({_text('e.body', 'reason')}, '')",
            "answered_at": _time("e.at_us"),
            "answered_us": "e.at_us",
        },
    }


TABLES = {
    "twelvefold_runs": "  FROM runs r\n  JOIN threads t ON t.id = r.thread_id",
    "twelvefold_replies": f"  FROM events e\n{RUN_OF_ENTRY}\n WHERE e.type = 'ModelReplied'",
    # The reply that has the call is at the position before the dot of the call's id.
    "twelvefold_calls": f"  FROM events e\n{RUN_OF_ENTRY}\n"
    "  LEFT JOIN events m ON m.thread_id = e.thread_id AND m.position = {reply}\n"
    "       AND m.type = 'ModelReplied'\n"
    " WHERE e.type IN ('ToolSucceeded', 'ToolFailed', 'OutcomeUnknown')",
    "twelvefold_approvals": f"  FROM events e\n{RUN_OF_ENTRY}\n WHERE e.type = 'ApprovalAnswered'",
}


def _text(column: str, path: str) -> str:
    extracted = f"JSON_EXTRACT({column}, '$.{path}')"
    return extracted if is_sqlite() else f"JSON_UNQUOTE({extracted})"


def _number(column: str, path: str) -> str:
    extracted = f"JSON_EXTRACT({column}, '$.{path}')"
    return f"COALESCE(CAST({extracted} AS {'INTEGER' if is_sqlite() else 'SIGNED'}), 0)"


def _time(column: str) -> str:
    if is_sqlite():
        return f"STRFTIME('%Y-%m-%d %H:%M:%f', {column} / 1000000.0, 'unixepoch')"
    # Not FROM_UNIXTIME, whose result depends on the time zone of the session.
    return f"CAST('1970-01-01' AS DATETIME(6)) + INTERVAL {column} MICROSECOND"


def _words() -> dict[str, str]:
    """Return the expressions that differ between the databases."""
    call = _text("e.body", "call")
    approved = "JSON_EXTRACT(e.body, '$.approved')"
    if is_sqlite():
        return {
            "run_id": "'resp_' || r.thread_id || r.ordinal",
            "parent": "'resp_' || t.parent_thread || t.parent_run",
            "call": call,
            "call_key": f"e.thread_id || ':' || {call}",
            "reply": f"CAST({call} AS INTEGER)",
            "attempts": "COALESCE(JSON_ARRAY_LENGTH(e.body, '$.attempts'), 0)",
            "approved": approved,
        }
    return {
        "run_id": "CONCAT('resp_', r.thread_id, r.ordinal)",
        "parent": "CONCAT('resp_', t.parent_thread, t.parent_run)",
        "call": call,
        "call_key": f"CONCAT(e.thread_id, ':', {call})",
        "reply": f"CAST(SUBSTRING_INDEX({call}, '.', 1) AS SIGNED)",
        "attempts": "COALESCE(JSON_LENGTH(e.body, '$.attempts'), 0)",
        "approved": f"CASE WHEN JSON_UNQUOTE({approved}) = 'true' THEN 1 ELSE 0 END",
    }


def create_view(name: str, columns: Mapping[str, str]) -> None:
    """Create a view with these columns, in MySQL also if it exists."""
    try:
        op.execute(_statement(name, columns))
    except DBAPIError as error:
        if error.orig is None or error.orig.args[:1] not in DENIED:
            raise
        raise CommandError(
            f"view {name} cannot be created: {error.orig}; the account of `migrate` needs the "
            "privilege CREATE VIEW"
        ) from error


def _statement(name: str, columns: Mapping[str, str]) -> str:
    create = "CREATE VIEW IF NOT EXISTS" if is_sqlite() else "CREATE OR REPLACE VIEW"
    listed = ",\n       ".join(f"{value} AS {column}" for column, value in columns.items())
    statement = f"{create} {name} AS\nSELECT {listed}\n{TABLES[name]}"
    for word, text in _words().items():
        statement = statement.replace("{" + word + "}", text)
    return statement


def upgrade() -> None:
    for name, of in columns().items():
        create_view(name, of)


def downgrade() -> None:
    for name in reversed(TABLES):
        op.execute(f"DROP VIEW IF EXISTS {name}")
