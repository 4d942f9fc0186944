"""Checks of `twelvefold doctor` for what proxies and clusters change on a MySQL server."""

from collections.abc import AsyncIterator, Callable

from twelvefold.admin.finding import Finding, Level
from twelvefold.boot import VERSION_TABLE, now_us, report_hosts
from twelvefold.config import Settings
from twelvefold.core import Store
from twelvefold.errors import StoreFailed, StoreRefused

CLOCK_S = 2.0
"""A difference of clocks that is reported."""
GALERA = ("wsrep_cluster_size", "wsrep_cluster_status", "wsrep_ready", "wsrep_local_state_comment")
GROUP = (
    *("group_replication_group_name", "group_replication_single_primary_mode"),
    "group_replication_consistency",
)
STALE_READS = ("EVENTUAL", "BEFORE_ON_PRIMARY_FAILOVER")
"""Values of group_replication_consistency with which another member's commit may be unseen."""
MEMBERS_TABLE = "performance_schema.replication_group_members"
CONFLICTS = "transactions that conflict are rolled back when they commit, and retried"


async def probe_hosts(settings: Settings) -> AsyncIterator[Finding]:
    """Yield a finding for each host of a DATABASE_URL with several hosts."""
    for host in await report_hosts(settings):
        found = f"it takes no writes: {host.obstacle}" if host.obstacle else "it takes writes"
        level: Level = "ok" if host.is_standby or not host.obstacle else "warn"
        yield Finding(level, f"host {host.address}", found)


async def probe_server(
    store: Store, *, has_schema: bool, now: Callable[[], int] = now_us
) -> AsyncIterator[Finding]:
    """Yield a finding for each probe. `now` returns microseconds since 1970.

    Raises StoreUnavailable and StoreRefused.
    """
    if has_schema:
        yield await _probe_found_rows(store)
    yield await _probe_clock(store, now)
    async for finding in _probe_galera(store):
        yield finding
    async for finding in _probe_group(store):
        yield finding


async def _probe_found_rows(store: Store) -> Finding:
    """Update a row to the value that it has, which must count as one row.

    A lease and the head of a thread are checked by such counts. The server writes nothing.
    """
    update = f"UPDATE {VERSION_TABLE} SET version_num = version_num"  # noqa: S608 - a constant
    try:
        async with store.write() as tx:
            count = await tx.execute(update)
    except (StoreRefused, StoreFailed) as error:
        return Finding("warn", "found rows", f"not checked: {error}")
    if count == 1:
        return Finding("ok", "found rows", "an update counts the rows that it finds")
    found = (
        f"an update that changes no value counts {count} rows, not 1: a proxy drops the client's "
        "flag FOUND_ROWS; runs would be lost as if another process held them"
    )
    return Finding("fail", "found rows", found)


async def _probe_clock(store: Store, now: Callable[[], int]) -> Finding:
    began_us = now()
    async with store.read() as db:
        row = await db.fetch_one("SELECT UNIX_TIMESTAMP(NOW(6)) * 1000000 AS now_us")
    here_us = (began_us + now()) / 2
    difference_s = (float(row["now_us"] if row else 0) - here_us) / 1_000_000
    if abs(difference_s) < CLOCK_S:
        return Finding("ok", "clock", f"the server's is within {CLOCK_S:g} s of this machine's")
    direction = "ahead of" if difference_s > 0 else "behind"
    found = (
        f"the server's is {abs(difference_s):.1f} s {direction} this machine's; leases and mail "
        "follow the server's, times in the journal and the log this machine's"
    )
    return Finding("warn", "clock", found)


async def _probe_galera(store: Store) -> AsyncIterator[Finding]:
    status = await _show(store, "GLOBAL STATUS", GALERA)
    if status.get("wsrep_cluster_size", "0") == "0":
        return
    state, node = status["wsrep_cluster_status"], status["wsrep_local_state_comment"]
    is_well = (state, node, status["wsrep_ready"]) == ("Primary", "Synced", "ON")
    size = int(status["wsrep_cluster_size"])
    level: Level = "ok" if is_well and size > 2 else "warn" if is_well else "fail"
    found = f"Galera: {size} nodes, {state}, this one is {node}; reads wait for other nodes"
    if size <= 2:
        found += "; with fewer than 3 nodes the cluster stops when one is killed"
    yield Finding(level, "cluster", found)
    yield Finding("ok", "multi-primary", f"every node takes writes: {CONFLICTS}")


async def _probe_group(store: Store) -> AsyncIterator[Finding]:
    variables = await _show(store, "VARIABLES", GROUP)
    if not variables.get("group_replication_group_name"):
        return
    yield await _probe_members(store)
    consistency = variables.get("group_replication_consistency", "")
    if variables.get("group_replication_single_primary_mode") == "OFF":
        yield _judge_multi_primary(consistency)
    elif consistency == "EVENTUAL":
        found = (
            "group_replication_consistency is EVENTUAL: a new primary may return old rows "
            "for a short time; set BEFORE_ON_PRIMARY_FAILOVER"
        )
        yield Finding("warn", "consistency", found)


async def _probe_members(store: Store) -> Finding:
    try:
        async with store.read() as db:
            members = await db.fetch_all(
                "SELECT member_host AS host, member_port AS port, member_state AS state,"  # noqa: S608 - a constant
                f" member_role AS role FROM {MEMBERS_TABLE} ORDER BY host, port"
            )
    except (StoreRefused, StoreFailed):
        found = (
            f"the account may not read {MEMBERS_TABLE}: a server that has left its group and is "
            f"writable would be used; GRANT SELECT ON {MEMBERS_TABLE} to the account"
        )
        return Finding("warn", "cluster", found)
    listed = ", ".join(
        f"{row['host']}:{row['port']} {row['role']} {row['state']}" for row in members
    )
    is_well = len(members) > 2 and all(row["state"] == "ONLINE" for row in members)
    level: Level = "ok" if is_well else "warn"
    return Finding(level, "cluster", f"group of {len(members)}: {listed}")


def _judge_multi_primary(consistency: str) -> Finding:
    found = f"every server of the group takes writes: {CONFLICTS}"
    if consistency not in STALE_READS:
        return Finding("ok", "multi-primary", found)
    advice = (
        f"{found}; group_replication_consistency is {consistency}: a process on another server may "
        "not see a lease that was just granted; set BEFORE, or use one primary"
    )
    return Finding("warn", "multi-primary", advice)


async def _show(store: Store, what: str, names: tuple[str, ...]) -> dict[str, str]:
    """Return variables or a status of the server; those that it does not have are missing."""
    listed = ", ".join(f"'{name}'" for name in names)
    async with store.read() as db:
        rows = await db.fetch_all(f"SHOW {what} WHERE Variable_name IN ({listed})")
    return {row["Variable_name"]: str(row["Value"]) for row in rows}
