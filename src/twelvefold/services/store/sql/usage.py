"""Sums of usage in SQL: runs that ended are added to them once, in batches.

The transaction that adds runs to the sums also marks them, so a process that is killed has done
both or neither, and a repetition finds nothing to do. The sums stay when the runs are pruned.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from twelvefold.core import FindPrice, Row, UsageFilter, UsageSum, WaitEnded
from twelvefold.core.usage import RunUsage, decode_run_usage, find_cost, without
from twelvefold.errors import StoreUnavailable
from twelvefold.services.store.connection import Connection
from twelvefold.services.store.sql.base import MAX_LIST, SECOND_US, Database, expand_list
from twelvefold.services.store.sql.entries import entry_of

_RunKey = tuple[str, int]
_COLUMNS = ("runs", "failed", "input_tokens", "output_tokens", "cached_tokens", "micro_usd")
_MOST_TOKENS = "SUM(input_tokens + output_tokens) DESC"


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
        by_day: dict[tuple[str, str], UsageSum] = defaultdict(UsageSum)
        for group, one in sums.items():
            by_day[group.day, group.workflow] = _plus(by_day[group.day, group.workflow], one)
        for (day, workflow), one in sorted(by_day.items(), key=lambda item: item[0]):
            values = {"day": day, "workflow": workflow, **_values(one)}
            db.defer(self._sql["add_usage_of_day"], values)
        for group, one in sorted(sums.items(), key=lambda item: item[0]):
            db.defer(self._sql["add_usage_of_principal"], group._asdict() | _values(one))

    async def usage(self, filter: UsageFilter, *, limit: int) -> Sequence[UsageSum]:
        has_principal = bool(filter.principal) or "principal" in filter.by
        conditions = [
            f"{name} = :{name}" for name in ("workflow", "principal") if getattr(filter, name)
        ]
        order = ["day"] if "day" in filter.by else []
        parts = {
            ":groups": ", ".join(filter.by),
            ":conditions": " AND ".join(conditions) or "1 = 1",
            ":order": ", ".join((*order, _MOST_TOKENS, *filter.by)),
        }
        statement = self._sql["usage_by_principal" if has_principal else "usage_by_day"]
        for name, text in parts.items():
            statement = statement.replace(name, text)
        values = {"first_day": filter.first_day, "last_day": filter.last_day, "limit": limit}
        values |= {"workflow": filter.workflow, "principal": filter.principal}
        async with self._read_connection() as db:
            return [_usage_sum(row) for row in await db.fetch(statement, values)]


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
    # MySQL's sums are decimals.
    sums = {name: None if row[name] is None else int(row[name]) for name in _COLUMNS}
    names = {name: row[name] for name in ("day", "workflow", "principal") if name in row}
    return UsageSum(**names, **sums)  # type: ignore[arg-type]  # only a cost may be None
