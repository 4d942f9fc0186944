"""The pooled connections of a store on MySQL, and how long it waits for them."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from asyncmy.pool import Pool

from twelvefold.core import PoolCount
from twelvefold.errors import StoreFailed, StoreRefused, StoreUnavailable
from twelvefold.observe.log import get_logger
from twelvefold.services.store.mysql.connection import MySQLConnection
from twelvefold.services.store.mysql.driver import abort, read_big_rows, set_host
from twelvefold.services.store.mysql.errors import translate_connect_error
from twelvefold.services.store.mysql.hosts import RECOVERY_S, HostSelector, address
from twelvefold.services.store.mysql.login import RENEWAL_S, ArgumentsWithFile, is_refused
from twelvefold.services.store.mysql.session import Session, prepare_session

log = get_logger(__name__)
RESERVED_CONNECTIONS = 2
"""Connections that no tool gets: this many for claims, and as many for renewals of leases."""
READ_CONNECTIONS = 4
"""Connections for the store's own reads, which are short and wait for no tool."""
IDLE_S = 1800


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long the store waits.

    `connect_s`: for a connection while all are in use or one is made. `answer_s`: for the answer to
    one statement, checked every `check_interval_s`; the server gives up on a lock far sooner, after
    `lock_s` whole seconds. `read_s`: for one of the store's own reads, connection included, because
    a caller waits for it. `close_s`: for running statements when the store is closed, and once more
    after their connections are aborted.
    """

    connect_s: float = 30.0
    answer_s: float = 60.0
    check_interval_s: float = 5.0
    lock_s: int = 5
    read_s: float = 10.0
    close_s: float = 0.4

    def no_connection(self) -> StoreUnavailable:
        """Return the error of a wait for a connection that took too long."""
        text = f"no connection to the database within {self.connect_s:g} s"
        return StoreUnavailable(text).loggable()


class Connections:
    """The pools of one store, by the purpose of their connections.

    `transactions` has autocommit off, so that a step needs no BEGIN. In `renewals` and `reads` each
    statement is a transaction.
    """

    def __init__(
        self,
        connect: Mapping[str, Any],
        pool_size: int,
        timeouts: Timeouts,
        hosts: HostSelector | None = None,
    ) -> None:
        self._timeouts = timeouts
        self._hosts = hosts
        self._recovery_s = RECOVERY_S if hosts else 0.0
        self._host = connect
        # A renewal may wait for a step of its run; short transactions do not wait for that.
        reserved = RESERVED_CONNECTIONS
        self.transactions = Pool(0, pool_size + reserved, pool_recycle=IDLE_S, **connect)
        self.renewals = Pool(0, reserved, pool_recycle=IDLE_S, autocommit=True, **connect)
        self.reads = Pool(0, READ_CONNECTIONS, pool_recycle=IDLE_S, autocommit=True, **connect)
        self._sessions: dict[Any, Session] = {}
        self._in_use: set[MySQLConnection] = set()
        self._check: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def take(self, pool: Pool) -> MySQLConnection:
        """Take a connection of a pool. Raises StoreUnavailable or StoreRefused."""
        if self._is_closed:
            raise StoreRefused("the store is closed").loggable()
        try:
            return await self._take(pool)
        except StoreUnavailable:
            if self._hosts is None or self._hosts.current is not None:
                raise
        # The server has failed or takes no more writes. Nothing was sent yet.
        return await self._take(pool)

    async def _take(self, pool: Pool) -> MySQLConnection:
        if self._hosts is not None and self._hosts.current is None:
            await self._select_host(self._hosts)
        raw = await self._acquire(pool)
        if raw not in self._sessions:
            await self._prepare(raw, pool)
        session = self._sessions[raw]
        db = MySQLConnection(raw, session.write_fence, session.max_packet, self._recovery_s)
        self._watch(db)
        if self._hosts is not None:
            await self._check_host(self._hosts, db, session, pool)
        return db

    def no_answer(self, after_s: float) -> StoreUnavailable:
        """Return the error of a read that took too long: its server may have failed."""
        error = StoreUnavailable(f"the database did not answer within {after_s:g} s").loggable()
        error.recovery_s = self._recovery_s
        return error

    async def _acquire(self, pool: Pool) -> Any:
        try:
            return await self._acquire_raw(pool)
        except TimeoutError as error:
            raise self._timeouts.no_connection() from error
        except Exception as error:
            if self._hosts is not None:
                self._hosts.suspect()
            raise self._connect_error(error) from error

    async def _acquire_raw(self, pool: Pool) -> Any:
        host = self._host
        if pool.freesize and not isinstance(host, ArgumentsWithFile):
            return await pool.acquire()
        async with asyncio.timeout(self._timeouts.connect_s):
            if not isinstance(host, ArgumentsWithFile):
                return await pool.acquire()
            return await _acquire_with_file(pool, host)

    def _connect_error(self, error: Exception) -> StoreUnavailable:
        fault = translate_connect_error(error)
        # The password has worked before: its file is replaced some time after the server's.
        is_in_file = isinstance(self._host, ArgumentsWithFile)
        if is_in_file and is_refused(error) and self._sessions:
            fault.recovery_s = RENEWAL_S
        return fault

    async def _select_host(self, hosts: HostSelector) -> None:
        """Connect to the server that takes writes from now on. Raises StoreUnavailable."""
        host = await hosts.select()
        if host is self._host:
            return
        if self._sessions:
            log.warning("database_switched", previous=address(self._host), host=address(host))
        self._host = host
        for pool in (self.transactions, self.renewals, self.reads):
            set_host(pool, host)
        self._abort_all()

    async def _check_host(
        self, hosts: HostSelector, db: MySQLConnection, session: Session, pool: Pool
    ) -> None:
        """Check the server of a connection that is new or was not checked for a while."""
        now = time.monotonic()
        if now - session.checked_at < hosts.timings.check_interval_s:
            return
        try:
            await hosts.check(db)
        except BaseException:
            db.abort()
            self.give_back(db, pool)
            raise
        session.checked_at = now

    def give_back(self, db: MySQLConnection, pool: Pool) -> None:
        """Return a connection to its pool, unless it was aborted."""
        db.detach()
        self._in_use.discard(db)
        if self._hosts is not None and not db.raw.connected:
            self._hosts.suspect()
        if db.is_on_replica:
            self._abort_idle()
        # The pool may be closed by now, or refuse the connection.
        try:
            pool.release(db.raw)
        except Exception:
            db.abort()

    async def _prepare(self, raw: Any, pool: Pool) -> None:
        """Set up the session of a new connection."""
        read_big_rows(raw)
        db = MySQLConnection(raw, write_fence=0)
        self._watch(db)
        try:
            is_renewal = pool is self.renewals
            session = await prepare_session(db, self._timeouts.lock_s, is_renewal=is_renewal)
        except BaseException as error:
            db.abort()
            self.give_back(db, pool)
            if isinstance(error, StoreUnavailable) or not isinstance(error, Exception):
                raise
            reason = error if isinstance(error, StoreRefused) else repr(error)
            # The text can be logged: these statements have no values.
            raise StoreFailed(f"the database cannot be used: {reason}").loggable() from error
        self._in_use.discard(db)
        connected = {one: session for one, session in self._sessions.items() if one.connected}
        self._sessions = {**connected, raw: session}

    def _watch(self, db: MySQLConnection) -> None:
        """Abort the connection if a statement on it gets no answer in time.

        One timer for all connections: one per statement would cost more than all the rest that the
        store does for it.
        """
        self._in_use.add(db)
        if self._check is None:
            self._start_timer()

    def _start_timer(self) -> None:
        loop = asyncio.get_running_loop()
        self._check = loop.call_later(self._timeouts.check_interval_s, self._abort_silent)

    def _abort_silent(self) -> None:
        latest = time.monotonic() - self._timeouts.answer_s
        for db in self._in_use:
            if 0 < db.sent_at < latest:
                db.abort()
        self._check = None
        if self._in_use:
            self._start_timer()

    async def close(self) -> None:
        """Close all pools; abort connections whose statements do not end in time."""
        self._is_closed = True
        if self._check is not None:
            self._check.cancel()
        pools = (self.transactions, self.renewals, self.reads)
        for pool in pools:
            pool.close()
        if await self._wait_closed(pools):
            return
        for pool in pools:
            pool.terminate()
        # An idle connection would wait for a server that does not answer.
        self._abort_all()
        await self._wait_closed(pools)

    def pool_counts(self) -> list[PoolCount]:
        """Return the pools by their names, with the connections of each."""
        pools = {"steps": self.transactions, "renewals": self.renewals, "reads": self.reads}
        return [
            PoolCount(name, pool.size - pool.freesize, pool.freesize, pool.maxsize)
            for name, pool in pools.items()
        ]

    def _abort_idle(self) -> None:
        """Close the idle connections: their server takes no writes, and its rows may be old.

        New connections may reach another server, also by the same name.
        """
        in_use = {db.raw for db in self._in_use}
        for raw in self._sessions:
            if raw not in in_use:
                with suppress(Exception):
                    abort(raw)

    def _abort_all(self) -> None:
        """Close all connections, those in use included: their statements end with an error."""
        for raw in self._sessions:
            with suppress(Exception):
                abort(raw)

    async def _wait_closed(self, pools: Sequence[Pool]) -> bool:
        try:
            async with asyncio.timeout(self._timeouts.close_s), asyncio.TaskGroup() as group:
                for pool in pools:
                    group.create_task(pool.wait_closed())
        except (TimeoutError, ExceptionGroup):
            return False
        return True


async def _acquire_with_file(pool: Pool, host: ArgumentsWithFile) -> Any:
    """Acquire with the current password; once more if it was refused and the file has another."""
    tried, tried_at = dict(host), time.monotonic()
    set_host(pool, tried)
    try:
        return await pool.acquire()
    except Exception as error:
        if not host.is_renewed(tried["password"], tried_at, error):
            raise
    set_host(pool, host)
    return await pool.acquire()
