"""The journal on MySQL 8+ and MariaDB 10.6+, through asyncmy: a pooled connection a transaction.

Reads of ours have connections of their own, where each statement stands for itself.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, NamedTuple

from asyncmy.pool import Pool

from twelvefold.errors import StoreFailed, StoreRefused, StoreUnavailable
from twelvefold.services.store.mysql.connection import MySQLConnection
from twelvefold.services.store.mysql.driver import cut, read_big_rows
from twelvefold.services.store.mysql.errors import connect_fault
from twelvefold.services.store.mysql.fair_places import FairPlaces
from twelvefold.services.store.mysql.server import VARIABLES, problems
from twelvefold.services.store.sql.runs import LONG_STEP_S, SQLStore, wall_clock_us
from twelvefold.services.store.sql_text import split_script

WORDS = {
    # NOW(6) of a session in UTC: no hour of it comes twice.
    "now_us": "CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)",
    "body_bytes": "CAST(body AS BINARY) AS body",
    "lock": "FOR UPDATE",
    "share": "LOCK IN SHARE MODE",
    "at_most": "LIMIT 1000",
    "skip_locked": "FOR UPDATE SKIP LOCKED",
    # In the order that is written: MySQL may think better of beginning with all the threads.
    "straight_join": "STRAIGHT_JOIN",
    "by_queue": "FORCE INDEX (runs_queue)",
    "by_lease": "FORCE INDEX (runs_leases)",
    "by_deleted": "FORCE INDEX (threads_deleted)",
    "by_key": "FORCE INDEX (PRIMARY)",
    "by_origin": "FORCE INDEX (threads_forked_from)",
    "by_thread": "FORCE INDEX (outbox_thread)",
}
TABLES = ("threads", "runs", "events", "deltas", "outbox", "idempotency_keys", "api_keys")
CLOSE_S = 0.4
"""How long to wait for what is under way when the store is closed, and again once it is cut."""
RESERVED_CONNECTIONS = 2
"""Connections that tools never have: so many to claim by, as many to keep leases by."""
RENEWAL_WAIT = f"SET SESSION innodb_lock_wait_timeout = {LONG_STEP_S:.0f}"
"""Runs that are in a long step renew their leases at its end; the others' renewals wait here."""
READERS = 4
"""Connections beside the pool, for our own reads: they are short, and wait for no tool."""
WAIT_S = 30.0
"""How long to wait for a connection while all of the pool are in use, or one is made."""
NO_CONNECTION = "no connection to the database within {:g} s"
ANSWER_S = 60.0
"""How long to wait for the answer to one statement; the server gives up on a lock far sooner."""
READ_S = 10.0
"""How long a read of ours may take, connection included: somebody waits for what it finds."""
POLL_INTERVAL_S = 5.0
IDLE_S = 1800
SESSION = (
    "SET SESSION time_zone = '+00:00', innodb_lock_wait_timeout = 5",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
)


SESSION_VARIABLES = "'wsrep_on', 'max_allowed_packet'"


class _Session(NamedTuple):
    """What a connection's session is like, as long as it lasts."""

    touch: int
    max_packet: int


class MySQLStore(SQLStore):
    """Obeys `twelvefold.core.ports.Store`."""

    def __init__(
        self, connect: Mapping[str, Any], pool_size: int, now_us: Callable[[], int] = wall_clock_us
    ) -> None:
        super().__init__("mysql.sql", WORDS, now_us)
        # Autocommit is off: a commit a step, and no statement is spent on BEGIN.
        self._pool = Pool(0, pool_size + RESERVED_CONNECTIONS, pool_recycle=IDLE_S, **connect)
        # Tools may have so many of those for as long as they like; nobody else waits for them.
        self._places = asyncio.Semaphore(pool_size)
        # A renewal waits a moment for a step of its run; what is short does not wait for that.
        self._spare = Pool(0, RESERVED_CONNECTIONS, pool_recycle=IDLE_S, autocommit=True, **connect)
        self._renewal_places = asyncio.Semaphore(RESERVED_CONNECTIONS)
        # A read is one round trip, and leaves no transaction that would have to be ended.
        self._readers = Pool(0, READERS, pool_recycle=IDLE_S, autocommit=True, **connect)
        # Who waits for a full pool cannot give up while another makes a connection: wait before it.
        self._reading_places = FairPlaces(READERS)
        self._sessions: dict[Any, _Session] = {}
        self._in_use: set[MySQLConnection] = set()
        self._look: asyncio.TimerHandle | None = None
        self._is_closed = False

    def _transaction(self) -> "_Transaction":
        return _Transaction(self, self._pool)

    def _lasting(self) -> "_Transaction":
        return _Transaction(self, self._pool, self._places)

    @asynccontextmanager
    async def _renewing(self) -> AsyncIterator[MySQLConnection]:
        async with self._renewal_places:
            db = await self.take(self._spare)
            try:
                yield db
            finally:
                self.give_back(db, self._spare)

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[MySQLConnection]:
        try:
            async with asyncio.timeout(READ_S), self._reading_places:
                db = await self.take(self._readers)
                try:
                    yield db
                finally:
                    self.give_back(db, self._readers)
        except TimeoutError as error:
            silent = f"the database did not answer within {READ_S:g} s"
            raise StoreUnavailable(silent).loggable() from error

    @asynccontextmanager
    async def _read_only(self) -> AsyncIterator[MySQLConnection]:
        async with self._lasting() as db:
            await db.execute("START TRANSACTION READ ONLY", {})
            db.may_write = False
            yield db

    # --- connections --------------------------------------------------------------------------

    async def take(self, pool: Pool) -> MySQLConnection:
        """A connection of the pool. Raises StoreUnavailable or StoreRefused."""
        if self._is_closed:
            raise StoreRefused("the store is closed").loggable()
        try:
            if pool.freesize:
                raw = await pool.acquire()
            else:
                async with asyncio.timeout(WAIT_S):
                    raw = await pool.acquire()
        except TimeoutError as error:
            raise StoreUnavailable(NO_CONNECTION.format(WAIT_S)).loggable() from error
        except Exception as error:
            raise connect_fault(error) from error
        if raw not in self._sessions:
            await self._prepare(raw, pool)
        session = self._sessions[raw]
        db = MySQLConnection(raw, session.touch, session.max_packet)
        self._watch(db)
        return db

    def give_back(self, db: MySQLConnection, pool: Pool) -> None:
        """Let others use it, unless it was cut."""
        db.leave()
        self._in_use.discard(db)
        # The pool may have been closed meanwhile, or dislike what it gets back: that is cut.
        try:
            pool.release(db.raw)
        except Exception:
            db.cut()

    async def _prepare(self, raw: Any, pool: Pool) -> None:
        read_big_rows(raw)
        db = MySQLConnection(raw, touch=0)
        self._watch(db)
        try:
            for statement in (*SESSION, RENEWAL_WAIT) if pool is self._spare else SESSION:
                await db.execute(statement, {})
            session = await _session_of(db)
            await db.commit()
        except BaseException as error:
            db.cut()
            self.give_back(db, pool)
            if isinstance(error, StoreUnavailable) or not isinstance(error, Exception):
                raise
            said = error if isinstance(error, StoreRefused) else repr(error)
            # The statements were ours, with no values in them.
            raise StoreFailed(f"the database cannot be used: {said}").loggable() from error
        self._in_use.discard(db)
        alive = {one: session for one, session in self._sessions.items() if one.connected}
        self._sessions = {**alive, raw: session}

    def _watch(self, db: MySQLConnection) -> None:
        """Cut the connection if a statement on it stays without an answer.

        One timer for all: one for each statement costs more than the rest of what we do to it.
        """
        self._in_use.add(db)
        if self._look is None:
            self._look = asyncio.get_running_loop().call_later(POLL_INTERVAL_S, self._cut_silent)

    def _cut_silent(self) -> None:
        latest = time.monotonic() - ANSWER_S
        for db in self._in_use:
            if 0 < db.asked_at < latest:
                db.cut()
        loop = asyncio.get_running_loop()
        self._look = loop.call_later(POLL_INTERVAL_S, self._cut_silent) if self._in_use else None

    # --- administration -----------------------------------------------------------------------

    async def check(self) -> list[str]:
        names = ", ".join(f"'{name}'" for name in VARIABLES)
        tables = ", ".join(f"'{table}'" for table in TABLES)
        async with self._reading() as db:
            rows = await db.fetch(f"SHOW VARIABLES WHERE Variable_name IN ({names})", {})
            others = await db.fetch(
                "SELECT table_name AS name FROM information_schema.tables WHERE engine <> 'InnoDB' "  # noqa: S608 - names of ours
                f"AND table_schema = DATABASE() AND table_name IN ({tables})",
                {},
            )
        variables = {row["Variable_name"]: row["Value"] for row in rows}
        return list(problems(variables, [row["name"] for row in others]))

    async def run_script(self, script: str) -> None:
        async with self._transaction() as db:
            db.is_spoilt = True  # by what a script may SET, which is not for others
            for statement in split_script(script):
                await db.run(statement)
                await db.commit()

    async def close(self) -> None:
        self._is_closed = True
        if self._look is not None:
            self._look.cancel()
        pools = (self._pool, self._spare, self._readers)
        for pool in pools:
            pool.close()
        if await _are_closed(pools):
            return
        for pool in pools:
            pool.terminate()
        for raw in self._sessions:
            # An idle connection would wait for a server that does not answer.
            with suppress(Exception):
                cut(raw)
        await _are_closed(pools)


class _Transaction:
    """Commits when the body ends, else rolls back; cuts the connection when it is cancelled.

    A class, since a generator in its place costs a tenth of what a step's transaction does.
    """

    def __init__(
        self, store: MySQLStore, pool: Pool, places: asyncio.Semaphore | None = None
    ) -> None:
        self._store = store
        self._pool = pool
        self._places = places

    async def __aenter__(self) -> MySQLConnection:
        if self._places is not None:
            await _place(self._places)
        try:
            self._db = await self._store.take(self._pool)
        except BaseException:
            self._leave()
            raise
        return self._db

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                await self._db.commit()
            elif issubclass(kind, asyncio.CancelledError | GeneratorExit):
                self._db.cut()
            else:
                await self._db.rollback()
        finally:
            self._store.give_back(self._db, self._pool)
            self._leave()

    def _leave(self) -> None:
        if self._places is not None:
            self._places.release()


async def _place(places: asyncio.Semaphore) -> None:
    """One of the places that tools share. Raises StoreUnavailable."""
    if not places.locked():
        await places.acquire()
        return
    try:
        async with asyncio.timeout(WAIT_S):
            await places.acquire()
    except TimeoutError as error:
        raise StoreUnavailable(NO_CONNECTION.format(WAIT_S)).loggable() from error


async def _are_closed(pools: Sequence[Pool]) -> bool:
    try:
        async with asyncio.timeout(CLOSE_S), asyncio.TaskGroup() as group:
            for pool in pools:
                group.create_task(pool.wait_closed())
    except (TimeoutError, ExceptionGroup):
        return False
    return True


async def _session_of(db: MySQLConnection) -> _Session:
    rows = await db.fetch(f"SHOW VARIABLES WHERE Variable_name IN ({SESSION_VARIABLES})", {})
    variables = {row["Variable_name"]: row["Value"] for row in rows}
    is_galera = variables.get("wsrep_on") == "ON"
    if is_galera:
        # SELECT, UPDATE and DELETE wait for what other nodes have committed: who finds no row to
        # update would take a lease for lost that another node has just granted.
        await db.execute("SET SESSION wsrep_sync_wait = 3", {})
    return _Session(int(is_galera), int(variables.get("max_allowed_packet", 0)))
