"""On which shards a statement runs, by its tables and the parameters that select their rows.

Reads the SQL of `queries/` only: its tables have short aliases, and names are qualified where two
tables have the column.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

KEYS = {
    "threads": "id",
    "runs": "thread_id",
    "events": "thread_id",
    "deltas": "thread_id",
    "outbox": "id",
    "idempotency_keys": "thread_id",
    "trace_exports": "thread_id",
    "open_questions": "thread_id",
}
"""The column of each sharded table whose first digits are the family."""
LOOKUPS = {"idempotency_keys": ("request_key", "principal")}
"""Columns that find a row's shard through a lookup table."""
UNSHARDED = {
    *("api_keys", "twelvefold_releases", "twelvefold_version", "twelvefold_migration_lock"),
    *("signals", "signal_waits", "processes", "usage_days", "usage_principals", "usage_details"),
    *("budgets", "budget_periods", "budget_reservations", "rate_buckets", "run_slots"),
    *("information_schema.tables", "sqlite_master"),
}
IN_FAMILY = "forked_from"
"""A column with a thread of the same family."""
_COMMENT = re.compile(r"/\*!?.*?\*/|\{(?!straight_join)\w+\}", re.DOTALL)
_TABLE = re.compile(r"\b(?:FROM|JOIN|INTO|UPDATE)\s+([\w.]+)(?:\s+(?:AS\s+)?(\w+))?")
_DERIVED = re.compile(r"\b(?:FROM|JOIN)\s+<(\d+)>\s*(\w+)")
_EQUAL = re.compile(r"(?<![\w.])(?:(\w+)\.)?(\w+)\s*=\s*(:\w+|\w+\.\w+)")
_LISTED = re.compile(r"(?<![\w.])(?:(\w+)\.)?(\w+)\s+IN\s+\(:\w+\)")
_NO_ALIAS = {"WHERE", "SET", "ON", "LEFT", "JOIN", "ORDER", "GROUP", "LIMIT", "UNION", "VALUES"}
_INSERT = re.compile(r"INSERT INTO (\w+) \(([^)]*)\)\s*(?:VALUES \((.*)\)|(SELECT .*))", re.DOTALL)


class Shards(IntEnum):
    """On how many shards a statement runs at most."""

    ONE = 1
    LISTED = 2
    """Those of a list of threads."""
    ALL = 3


@dataclass
class _Scope:
    """One SELECT, or a whole statement of another kind. `<0>` stands for its first subquery."""

    text: str
    subqueries: list[str] = field(default_factory=list)


def shards_of(statement: str) -> Shards:
    """Return on which shards a named statement runs. Raises KeyError for an unknown table."""
    text = _COMMENT.sub(" ", statement).replace("{straight_join}", "JOIN")
    if found := _INSERT.match(text):
        table, columns, values, query = found.groups()
        if table in UNSHARDED:
            return Shards.ONE
        selected = query and _scope(query).text.partition("FROM")[0].removeprefix("SELECT ")
        row = dict(zip(_split_list(columns), _split_list(values or selected), strict=True))
        if not row[KEYS[table]].startswith(":"):
            return Shards.ALL
        text = query or ""
    return _statement(text, {})


def _statement(text: str, outer: Mapping[str, Shards]) -> Shards:
    scope = _scope(text)
    named = dict(outer)
    if recursive := re.match(r"\s*WITH RECURSIVE (\w+) .*?AS <(\d+)>", scope.text, re.DOTALL):
        name, query = recursive[1], scope.subqueries[int(recursive[2])]
        named[name] = _statement(re.split(r"\bUNION\b", query)[0], outer)
    parts = re.split(r"\bUNION(?: ALL)?\b", scope.text)
    return max(_select(part, scope.subqueries, named) for part in parts)


def _select(text: str, subqueries: list[str], outer: Mapping[str, Shards]) -> Shards:
    derived = {alias: int(number) for number, alias in _DERIVED.findall(text)}
    known = dict(outer)
    for alias, number in derived.items():
        known[alias] = _statement(subqueries[number], outer)
    tables = dict(_tables(text))
    for alias, table in tables.items():
        if table not in KEYS and table not in UNSHARDED:
            known[alias] = outer[table]
    _resolve(text, {a: t for a, t in tables.items() if t in KEYS}, known)
    # Not before `_resolve`: the threads that such a table names are on any shard.
    known |= {alias: Shards.ONE for alias, table in tables.items() if table in UNSHARDED}
    used = {int(number) for number in re.findall(r"<(\d+)>", text)} - set(derived.values())
    nested = [_statement(subqueries[number], known) for number in used]
    return max([Shards.ONE, *(known[name] for name in (*tables, *derived)), *nested])


def _tables(text: str) -> Iterator[tuple[str, str]]:
    for table, alias in _TABLE.findall(text):
        yield (table if not alias or alias.upper() in _NO_ALIAS else alias), table


def _resolve(text: str, tables: Mapping[str, str], known: dict[str, Shards]) -> None:
    """Add the shards of each table to `known`."""
    condition = re.sub(r"\bSET\b.*?\bWHERE\b", "WHERE", text, flags=re.DOTALL)
    condition = condition[condition.find("FROM") :] if "FROM" in condition else condition
    if re.search(r"\bOR\b", condition):
        condition = ""
    pending = dict(tables)
    while pending:
        found = {
            alias: shards
            for alias, table in pending.items()
            if (shards := _of_table(condition, alias, table, known, alone=len(tables) == 1))
        }
        if not found:
            known |= dict.fromkeys(pending, Shards.ALL)
            return
        known |= found
        pending = {alias: table for alias, table in pending.items() if alias not in found}


def _of_table(
    condition: str, alias: str, table: str, known: Mapping[str, Shards], *, alone: bool
) -> Shards | None:
    owners = {alias, ""} if alone else {alias}
    by_parameter: set[str] = set()
    for owner, column, value in _equalities(condition):
        if owner not in owners:
            continue
        if value.startswith(":"):
            by_parameter.add(column)
        elif column == KEYS[table]:
            other, _, of = value.partition(".")
            if other in known and of in (*KEYS.values(), IN_FAMILY):
                return known[other]
    if KEYS[table] in by_parameter or set(LOOKUPS.get(table, [KEYS[table]])) <= by_parameter:
        return Shards.ONE
    listed = {column for owner, column in _LISTED.findall(condition) if owner in owners}
    return Shards.LISTED if KEYS[table] in listed else None


def _equalities(condition: str) -> Iterator[tuple[str, str, str]]:
    for owner, column, value in _EQUAL.findall(condition):
        yield owner, column, value
        if not value.startswith(":"):
            other, _, of = value.partition(".")
            yield other, of, f"{owner}.{column}"


def _scope(text: str) -> _Scope:
    """Return the text without parentheses, but with `IN (:list)`, and its subqueries."""
    scope = _Scope("")
    depth = start = 0
    for at, char in enumerate(text):
        if char == "(":
            depth += 1
            start = at + 1 if depth == 1 else start
        elif char == ")":
            depth -= 1
            if not depth:
                scope.text += _close(text[start:at], scope.subqueries)
        elif not depth:
            scope.text += char
    return scope


def _close(inner: str, subqueries: list[str]) -> str:
    if re.match(r"\s*:\w+\s*\Z", inner):
        return f"({inner.strip()})"
    if re.match(r"\s*(SELECT|WITH|:\w+s\s)", inner):
        subqueries.append(inner)
        return f"<{len(subqueries) - 1}>"
    nested = _scope(inner)
    for query in nested.subqueries:
        subqueries.append(query)
    return " ".join(f"<{len(subqueries) - n - 1}>" for n in range(len(nested.subqueries))) or "()"


def _split_list(text: str) -> list[str]:
    return [part.strip().strip("`") for part in text.split(",")]
