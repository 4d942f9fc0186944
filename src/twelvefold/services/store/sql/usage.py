"""Sums of usage in SQL: runs that ended are added to them once, in batches.

The transaction that adds runs to the sums also marks them, so a process that is killed has done
both or neither, and a repetition finds nothing to do. The sums stay when the runs are pruned.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, NamedTuple

from twelvefold.core import FindPrice, Row, UsageFilter, UsageSum, WaitEnded
from twelvefold.core.usage import RunUsage, decode_run_usage, find_cost, without
from twelvefold.errors import StoreUnavailable
from twelvefold.services.store.connection import Connection
from twelvefold.services.store.rows import entry_of
from twelvefold.services.store.sql.base import MAX_LIST, SECOND_US, Database, expand_list

_RunKey = tuple[str, int]
_COLUMNS = ("runs", "failed", "input_tokens", "output_tokens", "cached_tokens", "micro_usd")
_ADDED = {
    "add_usage_of_day": ("day", "workflow"),
    "add_usage_of_principal": ("day", "principal"),
    "add_usage_detail": ("workflow", "day", "principal"),
}
"""The statements that add to the sums, and the keys of their tables."""
_MOST_TOKENS = "SUM(0e0 + input_tokens + output_tokens) DESC"


class _Group(NamedTuple):
    """What runs are summed by."""

    day: str
    principal: str
    workflow: str


class UsageSums(Database):
    """Implements `twelvefold.core.ports.UsageStore`."""

    async def count_usage(self, price: FindPrice) -> int:
        found = await self._fetch("uncounted_runs", limit=MAX_LIST)
        if not found:
            return 0
        async with self._transaction() as db:
            statement, values = in_runs(self._sql["lock_uncounted"], found)
            rows = await db.fetch(statement, values)
            if rows:
                of_children = await self._usage_of_children(db, rows)
                await self._mark(db, rows)
                self._add(db, _sum(rows, of_children, price))
        return len(rows)

    async def _mark(self, db: Connection, rows: Sequence[Row]) -> None:
        statement, values = in_runs(self._sql["mark_counted"], rows)
        if await db.execute(statement, values) != len(rows):
            raise StoreUnavailable("another process has just counted these runs").loggable()

    async def _usage_of_children(
        self, db: Connection, rows: Iterable[Row]
    ) -> Mapping[_RunKey, Sequence[RunUsage]]:
        """Return what is counted in the rows of these runs, and in those that they started."""
        threads = sorted({row["thread_id"] for row in rows})
        statement, values = expand_list(self._sql["starters"], "threads", threads)
        starters = [row["parent_thread"] for row in await db.fetch(statement, values)]
        found: dict[_RunKey, list[RunUsage]] = defaultdict(list)
        if starters:
            statement, values = expand_list(self._sql["ended_waits"], "threads", starters)
            for row in await db.fetch(statement, values):
                key = row.pop("thread_id"), row["run"]
                event = entry_of(**row).event
                if isinstance(event, WaitEnded):
                    found[key].append(RunUsage.of(event.usage, event.usage_by_model))
        return found

    def _add(self, db: Connection, sums: Mapping[_Group, UsageSum]) -> None:
        """Send the sums with the commit, in the order of their keys: other orders may deadlock."""
        for name, columns in _ADDED.items():
            statement = self._sql[name].replace(":added", self._sql["usage_added"])
            parts: dict[tuple[str, ...], UsageSum] = defaultdict(UsageSum)
            for group, one in sums.items():
                key = tuple(getattr(group, column) for column in columns)
                parts[key] = _plus(parts[key], one)
            for key, one in sorted(parts.items(), key=itemgetter(0)):
                values = dict(zip(columns, key, strict=True)) | _values(one)
                db.defer(statement, values)

    async def usage(self, filter: UsageFilter, *, limit: int) -> Sequence[UsageSum]:
        filters = {
            name: value for name in ("workflow", "principal") if (value := getattr(filter, name))
        }
        names = {*filters, *filter.by}
        statement = self._sql[_choose_sums(names)]
        order = filter.by if "day" in filter.by else (_MOST_TOKENS, *filter.by)
        parts = {
            ":groups": ", ".join(filter.by),
            ":conditions": " AND ".join(f"{name} = :{name}" for name in filters) or "1 = 1",
            ":order": ", ".join(order),
            ":sums": self._sql["usage_sums"],
        }
        for name, text in parts.items():
            statement = statement.replace(name, text)
        values = {"first_day": filter.first_day, "last_day": filter.last_day, "limit": limit}
        async with self._read_connection() as db:
            return [_usage_sum(row) for row in await db.fetch(statement, values | filters)]


def _choose_sums(names: Collection[str]) -> str:
    """Return the statement that reads the smallest table with these columns."""
    if "principal" not in names:
        return "usage_of_days"
    return "usage_details" if "workflow" in names else "usage_of_principals"


def in_runs(statement: str, runs: Iterable[Row]) -> tuple[str, dict[str, Any]]:
    """Replace `:runs` by a condition for the keys of these rows; return it and the parameters."""
    values: dict[str, Any] = {}
    parts = []
    for number, row in enumerate(runs):
        values |= {f"thread{number}": row["thread_id"], f"ordinal{number}": row["ordinal"]}
        parts.append(f"(thread_id = :thread{number} AND ordinal = :ordinal{number})")
    return statement.replace(":runs", " OR ".join(parts)), values


def _sum(
    rows: Iterable[Row], of_children: Mapping[_RunKey, Sequence[RunUsage]], price: FindPrice
) -> Mapping[_Group, UsageSum]:
    sums: dict[_Group, UsageSum] = defaultdict(UsageSum)
    for row in rows:
        counted = of_children.get((row["thread_id"], row["ordinal"]), ())
        usage = without(decode_run_usage(row["usage"]), counted)
        group = _Group(_day_of(row["finished_at"]), row["principal"], row["workflow"])
        sums[group] = _plus(sums[group], _sum_of_run(row["status"], usage, price))
    return sums


def _sum_of_run(status: str, usage: RunUsage, price: FindPrice) -> UsageSum:
    return UsageSum(
        runs=1,
        failed=int(status == "failed"),
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cached_tokens=usage.cached_tokens,
        micro_usd=find_cost(usage, price),
    )


def _plus(one: UsageSum, other: UsageSum) -> UsageSum:
    costs = [cost for cost in (one.micro_usd, other.micro_usd) if cost is not None]
    return UsageSum(
        runs=one.runs + other.runs,
        failed=one.failed + other.failed,
        input_tokens=one.input_tokens + other.input_tokens,
        output_tokens=one.output_tokens + other.output_tokens,
        cached_tokens=one.cached_tokens + other.cached_tokens,
        micro_usd=sum(costs) if costs else None,
    )


def _values(one: UsageSum) -> dict[str, int | None]:
    return {name: getattr(one, name) for name in _COLUMNS}


def _day_of(at_us: int) -> str:
    return datetime.fromtimestamp(at_us // SECOND_US, UTC).date().isoformat()


def _usage_sum(row: Row) -> UsageSum:
    # Sums are doubles.
    sums = {name: None if row[name] is None else int(row[name]) for name in _COLUMNS}
    names = {name: row[name] for name in ("day", "workflow", "principal") if name in row}
    return UsageSum(**names, **sums)  # type: ignore[arg-type]  # only a cost may be None
