"""Selects the server that takes writes, if DATABASE_URL names several.

A failover changes this server. The previous one may still answer reads, from rows that are no
longer current, so reads also go to the server that takes writes.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import asyncmy
from asyncmy.errors import MySQLError

from twelvefold.errors import StoreUnavailable
from twelvefold.services.store.mysql.connection import MySQLConnection
from twelvefold.services.store.mysql.driver import abort
from twelvefold.services.store.mysql.errors import translate_connect_error
from twelvefold.services.store.mysql.login import Connect, connect

Host = Mapping[str, Any]
"""The driver's arguments for one server."""
READ_ONLY = "it is read-only"
RECOVERY_S = 60.0
"""How long a failover may take. A group of MySQL servers replaces a killed primary in 22 s."""
SERVER_STATE = (
    "SELECT @@GLOBAL.read_only AS read_only, @@GLOBAL.innodb_read_only AS innodb_read_only"
)
GROUP_STATE = f"""{SERVER_STATE}, COUNT(*) AS members,
  COALESCE(SUM(member_id = @@GLOBAL.server_uuid AND member_state = 'ONLINE'), 0) AS online,
  COALESCE(SUM(member_state = 'UNREACHABLE'), 0) AS unreachable
  FROM performance_schema.replication_group_members"""
"""For MySQL; needs SELECT on that table."""
GALERA_STATE = f"""{SERVER_STATE}, @@GLOBAL.wsrep_on AS wsrep_on, (
  SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'wsrep_ready'
  ) AS wsrep_ready"""  # noqa: S608 - no value in it
"""For MariaDB. A node outside the cluster rejects statements on tables, but answers this one."""


class ServerState(NamedTuple):
    """What a server reports about itself.

    `members`: of its replication group as this server sees it, 0 without a group. `online`: 1 if
    this server is an ONLINE member. `wsrep_on`: it is a node of Galera.
    """

    read_only: str | int
    innodb_read_only: str | int
    members: int = 0
    online: int = 0
    unreachable: int = 0
    wsrep_on: str | int = 0
    wsrep_ready: str = "ON"

    def obstacle(self) -> str:
        """Return why the server takes no writes, or "" if it does."""
        if _is_on(self.read_only) or _is_on(self.innodb_read_only):
            return READ_ONLY
        if self.members and not self.online:
            # It would accept writes that the group does not have.
            return "it is not an ONLINE member of its group"
        if self.members and self.unreachable * 2 >= self.members:
            return "it cannot reach the majority of its group"
        if _is_on(self.wsrep_on) and not _is_on(self.wsrep_ready):
            return "it is not part of its Galera cluster"
        return ""


class Probe(NamedTuple):
    """Why a server takes no writes, or "", and the statement that read its state."""

    obstacle: str
    statement: str = SERVER_STATE


def _is_on(value: str | int) -> bool:
    """Return whether an option is on: a number, or from MariaDB 12 on a word."""
    return str(value).upper() not in ("0", "OFF")


@dataclass(frozen=True, slots=True)
class HostTimings:
    """Timeouts and intervals of the checks of servers, in seconds.

    `probe_s`: for a connection to a server and its state. `check_interval_s`: how long a pooled
    connection is used without a check of its server. `check_s`: for the response to such a check.
    """

    probe_s: float = 2.0
    check_interval_s: float = 2.0
    check_s: float = 5.0


TIMINGS = HostTimings()


class HostSelector:
    """Finds the server that takes writes: the last one that did, or else the first of the list.

    `current` is that server; None while it is not known.
    """

    def __init__(
        self,
        hosts: Sequence[Host],
        driver: Connect = asyncmy.connect,
        timings: HostTimings = TIMINGS,
    ) -> None:
        self.current: Host | None = None
        self.timings = timings
        self._hosts = list(hosts)
        self._driver = driver
        self._last = self._hosts[0]
        self._statement = SERVER_STATE
        self._lock = asyncio.Lock()
        self._failed_at = 0.0
        self._reasons = ""

    def suspect(self) -> None:
        """Check the current server before it is used again: it may have failed."""
        self.current = None

    async def select(self) -> Host:
        """Return the server that takes writes. Concurrent callers share one search.

        Raises StoreUnavailable with the reason of each server if none does.
        """
        began_at = time.monotonic()
        async with self._lock:
            if self.current is None and self._failed_at < began_at:
                await self._search()
        if self.current is None:
            raise _unavailable(f"no server of DATABASE_URL takes writes: {self._reasons}")
        return self.current

    async def check(self, db: MySQLConnection) -> None:
        """Raise StoreUnavailable if the server of a connection takes no writes."""
        try:
            async with asyncio.timeout(self.timings.check_s):
                rows = await db.fetch(self._statement, {})
                await db.commit()
        except TimeoutError as error:
            self.suspect()
            raise _unavailable(
                f"the database did not answer within {self.timings.check_s:g} s"
            ) from error
        except Exception:
            self.suspect()
            raise
        if obstacle := ServerState(**rows[0]).obstacle():
            self.suspect()
            raise _unavailable(f"the database takes no writes: {obstacle}")

    async def _search(self) -> None:
        """Set `current`. The server that took the last writes is tried first, then all others."""
        first = self._last
        others = [host for host in self._hosts if host is not first]
        probes = [(first, await self.probe(first))]
        if probes[0][1].obstacle:
            found = await asyncio.gather(*(self.probe(host) for host in others))
            probes += zip(others, found, strict=True)
        for host, probe in probes:
            if not probe.obstacle:
                self.current = self._last = host
                self._statement = probe.statement
                return
        self._failed_at = time.monotonic()
        self._reasons = "; ".join(f"{address(host)}: {probe.obstacle}" for host, probe in probes)

    async def probe(self, host: Host) -> Probe:
        """Return whether a server takes writes. Raises no error of the server."""
        probe_s = self.timings.probe_s
        try:
            async with asyncio.timeout(probe_s):
                raw = await connect(host, self._driver, connect_timeout=probe_s)
                try:
                    statement, state = await _read_state(raw)
                    await raw.ensure_closed()
                finally:
                    # An error has no effect: the connection is not used again.
                    with suppress(Exception):
                        abort(raw)
        except TimeoutError:
            return Probe(f"no answer within {probe_s:g} s")
        except Exception as error:
            return Probe(translate_connect_error(error).logged)
        return Probe(state.obstacle(), statement)


async def _read_state(raw: Any) -> tuple[str, ServerState]:
    """Return the state of a server, and the statement that it was read with."""
    cursor = raw.cursor()
    statement = GALERA_STATE if "MariaDB" in raw.get_server_info() else GROUP_STATE
    try:
        await cursor.execute(statement)
    except MySQLError:
        # The account may lack the privilege. If the server is at fault, this fails, too.
        statement = SERVER_STATE
        await cursor.execute(statement)
    names = (column[0] for column in cursor.description)
    return statement, ServerState(**dict(zip(names, await cursor.fetchone(), strict=True)))


class HostReport(NamedTuple):
    """Whether a server takes writes; `is_standby` if it is a replica that works.

    `obstacle`: why it takes none.
    """

    address: str
    obstacle: str

    @property
    def is_standby(self) -> bool:
        return self.obstacle == READ_ONLY


async def report_hosts(hosts: Sequence[Host]) -> list[HostReport]:
    """Return the state of each server, in the order of the list."""
    selector = HostSelector(hosts)
    probes = await asyncio.gather(*(selector.probe(host) for host in hosts))
    return [
        HostReport(address(host), probe.obstacle) for host, probe in zip(hosts, probes, strict=True)
    ]


async def find_writable(hosts: Sequence[Host]) -> Host:
    """Return the server that takes writes; a single one is not checked. Raises StoreUnavailable."""
    return hosts[0] if len(hosts) == 1 else await HostSelector(hosts).select()


def address(host: Host) -> str:
    """Return a server as `host:port`."""
    name = host["host"]
    return f"[{name}]:{host['port']}" if ":" in name else f"{name}:{host['port']}"


def _unavailable(text: str) -> StoreUnavailable:
    # The text has names of hosts and the server's errors at connect, which quote no values.
    error = StoreUnavailable(text).loggable()
    error.recovery_s = RECOVERY_S
    return error
