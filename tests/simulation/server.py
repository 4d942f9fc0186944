"""A simulated database server: transactions and row locks over one SQLite database.

SQLite has one transaction at a time, MySQL many. The server therefore keeps the statements of
each transaction. To let another one run it rolls the open one back, and executes its statements
again later. A result that is not the same then is answered as a deadlock.
"""

import random
import re
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, Protocol

from asyncmy.errors import OperationalError

from tests.simulation.database import Database
from twelvefold.services.store.connection import DriverResult

EPOCH_US = 1_790_000_000_000_000
"""The server's clock at virtual time 0."""
LOCK_WAIT_S = 5.0
"""innodb_lock_wait_timeout."""
Key = tuple[str, str]
Done = Callable[["DriverResult | BaseException"], None]
Work = Callable[..., DriverResult]


class Clock(Protocol):
    """A virtual timeline, or the running event loop's time."""

    @property
    def now(self) -> float:
        """Seconds."""
        ...

    def later(self, delay_s: float, call: Callable[..., object], *args: Any) -> object:
        """Call after so many seconds."""
        ...


def server_error(code: int, text: str) -> OperationalError:
    return OperationalError(code, text)


LOST = (2013, "Lost connection to MySQL server during query")
DEADLOCK = (1213, "Deadlock found when trying to get lock; try restarting transaction")
LOCKED = (3572, "Statement aborted because lock(s) could not be acquired immediately")
LOCK_WAIT = (1205, "Lock wait timeout exceeded; try restarting transaction")
DISK_FULL = (1114, "The table 'events' is full")
TOO_MANY = (1226, "User 'app' has exceeded the 'max_user_connections' resource")
UNREACHABLE = (2003, "Can't connect to MySQL server on 'db'")


class Session:
    """A client's connection. `owner` is the process; `wait_s` how long it waits for a lock."""

    def __init__(self, owner: object, wait_s: float = LOCK_WAIT_S, *, reads: bool = False) -> None:
        self.owner = owner
        self.wait_s = wait_s
        self.reads = reads
        self.is_closed = False
        self.is_lost = False
        self._log: list[tuple[int, Work, tuple[Any, ...], DriverResult]] = []
        self._locks: set[Key] = set()
        self._waits: Waiter | None = None


class Waiter:
    """A statement that waits for a row lock."""

    def __init__(self, session: Session, key: Key, go_on: Callable[[], None], done: Done) -> None:
        self.session = session
        self.key = key
        self.go_on = go_on
        self.done = done


_LOCKS = re.compile(
    r"\s*(?:UPDATE (?P<updated>threads|runs|outbox)\b"
    r"|INSERT INTO (?P<inserted>threads|runs)\b[^)]*\)\s*VALUES"
    r"|DELETE FROM (?P<deleted>runs)\b"
    r"|(?:INSERT INTO|DELETE FROM) (?P<request>idempotency_keys)\b)"
)


@lru_cache(maxsize=512)
def _lock_of(statement: str) -> tuple[str, str] | None:
    """What a statement locks, and the parameter that names the row."""
    found = _LOCKS.match(statement)
    if found is None:
        return ("thread", "thread") if "/*lock" in statement else None
    if found["request"]:
        return "request", "request_key"
    return ("outbox", "id") if found["updated"] == "outbox" else ("thread", "thread")


class SimulatedServer:
    """`committed` is called with the threads of a commit, `noted` with every statement."""

    def __init__(self, clock: Clock, database: Database, seed: int = 0) -> None:
        database.now_us = self.now_us
        self.db = database.raw
        self.committed: Callable[[set[str]], None] = lambda _: None
        self.noted: Callable[[str], None] = lambda _: None
        self.is_full = False
        self._clock = clock
        self._random = random.Random(f"server {seed}")
        self._holders: dict[Key, Session] = {}
        self._waiters: dict[Key, deque[Waiter]] = {}
        self._open: Session | None = None
        self._replayed_us = 0
        self._sessions: dict[Session, None] = {}

    def now_us(self) -> int:
        return self._replayed_us or EPOCH_US + int(self._clock.now * 1_000_000)

    def look(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return the committed rows, to be checked."""
        self._suspend()
        return self.db.execute(statement, values).fetchall()

    # --- what clients ask ---------------------------------------------------------------------

    def connect(self, session: Session) -> None:
        self._sessions[session] = None

    def execute(
        self, session: Session, done: Done, work: Work, statement: str, values: Any
    ) -> None:
        """Run a statement once its rows are free; `done` is called with the answer or the error."""
        if session.is_closed:
            done(server_error(*LOST))
            return
        keys = () if session.reads else self._keys_of(statement, values)
        held = [key for key in keys if self._holders.get(key, session) is not session]
        if held and "/*lock: nowait*/" in statement:
            done(server_error(*LOCKED))
        elif held:
            go_on = partial(self.execute, session, done, work, statement, values)
            self._wait(Waiter(session, held[0], go_on, done))
        else:
            done(self._locked(session, keys, work, statement, values))

    def _locked(
        self, session: Session, keys: Sequence[Key], work: Work, statement: str, values: Any
    ) -> DriverResult | BaseException:
        for key in keys:
            self._holders[key] = session
        session._locks.update(keys)
        return self._tried(session, work, statement, values)

    def _keys_of(self, statement: str, values: Any) -> Sequence[Key]:
        """The rows that a statement locks, by what its parameters say."""
        lock = _lock_of(statement)
        if lock is None or not isinstance(values, dict):
            return ()
        kind, name = lock
        if name in values:
            return ((kind, str(values[name])),)
        listed = [str(value) for one, value in values.items() if one.startswith(f"{name}s")]
        return [(kind, thread) for thread in listed or self._threads_between(values)]

    def _threads_between(self, values: dict[str, Any]) -> list[str]:
        """The committed threads in the ranges that parameters `first0`, `last0` and so on give."""
        found = []
        for number in range(sum(name.startswith("first") for name in values)):
            first = values[f"first{number}"]
            last = values.get(f"last{number}", first)
            between = "SELECT id FROM threads WHERE id BETWEEN ? AND ?"
            found += [str(thread) for (thread,) in self.look(between, first, last)]
        return found

    def commit(self, session: Session, done: Done) -> None:
        if session.is_closed:
            done(server_error(*LOST))
            return
        if session._log:
            try:
                self._resume(session)
                self.db.execute("COMMIT")
            except _Deadlock:
                done(server_error(*DEADLOCK))
                return
            self._open = None
        threads = {value for kind, value in session._locks if kind == "thread"}
        changed = bool(session._log)
        self._end(session)
        if changed:
            self.committed(threads)
        done(DriverResult((), None, 0, 0))

    def rollback(self, session: Session, done: Done) -> None:
        self._undo(session)
        done(DriverResult((), None, 0, 0))

    def deadlock(self, session: Session, done: Done) -> None:
        """Choose the session as the victim of a deadlock."""
        self._undo(session)
        done(server_error(*DEADLOCK))

    def disconnect(self, session: Session) -> None:
        """Roll back the open transaction of a client that is gone."""
        session.is_closed = True
        waiter = session._waits
        self._undo(session)
        self._sessions.pop(session, None)
        if waiter is not None:
            waiter.done(server_error(*LOST))

    def disconnect_all(self) -> None:
        for session in list(self._sessions):
            self.disconnect(session)

    def run_script(self, script: str) -> None:
        self._suspend()
        self.db.executescript(script)

    # --- transactions -------------------------------------------------------------------------

    def _tried(
        self, session: Session, work: Work, statement: str, values: Any
    ) -> DriverResult | BaseException:
        self.noted(f"{self.now_us()} {statement[:60]} {values}")
        try:
            if session.reads:
                return self._read(work, statement, values)
            self._resume(session)
            if self.is_full and self._does_not_fit(statement):
                return server_error(*DISK_FULL)
            answer = work(self.db, statement, values)
        except _Deadlock:
            return server_error(*DEADLOCK)
        except (sqlite3.Error, sqlite3.Warning, OverflowError, UnicodeEncodeError) as error:
            if not session.reads and not self.db.in_transaction:
                session.is_lost = True
                self._open = None
                self._undo(session)
            return error
        session._log.append((self.now_us(), work, (statement, values), answer))
        return answer

    def _does_not_fit(self, statement: str) -> bool:
        """Rows that are updated in place still fit, and so do some new ones."""
        return statement.lstrip()[:6].upper() == "INSERT" and self._random.random() < 0.7

    def _read(self, work: Work, statement: str, values: Any) -> DriverResult:
        self._suspend()
        if statement.lstrip()[:6].upper() == "SELECT":
            return work(self.db, statement, values)
        self.db.execute("PRAGMA query_only = ON")
        try:
            return work(self.db, statement, values)
        finally:
            self.db.execute("PRAGMA query_only = OFF")

    def _suspend(self) -> None:
        """Roll the open transaction back, to be executed again later."""
        if self._open is not None:
            self.db.execute("ROLLBACK")
            self._open = None

    def _resume(self, session: Session) -> None:
        """Open the session's transaction and bring it to where it was. Raises _Deadlock."""
        if self._open is session:
            return
        self._suspend()
        self.db.execute("BEGIN")
        self._open = session
        same = True
        for self._replayed_us, work, args, before in session._log:
            try:
                same = same and work(self.db, *args).rowcount == before.rowcount
            except sqlite3.Error:
                same = False
        self._replayed_us = 0
        if not same:
            self._undo(session)
            raise _Deadlock

    def _undo(self, session: Session) -> None:
        if self._open is session:
            self._suspend()
        self._end(session)

    def _end(self, session: Session) -> None:
        """Release the locks of a transaction, and leave the queue of another's."""
        if session._waits is not None:
            self._waiters[session._waits.key].remove(session._waits)
            session._waits = None
        session._log.clear()
        locks, session._locks = session._locks, set()
        for key in sorted(locks):
            del self._holders[key]
            if self._waiters.get(key):
                self._clock.later(0, self._hand_over, key)

    # --- waiting ------------------------------------------------------------------------------

    def _wait(self, waiter: Waiter) -> None:
        waiter.session._waits = waiter
        self._waiters.setdefault(waiter.key, deque()).append(waiter)
        self._clock.later(waiter.session.wait_s, self._give_up, waiter)

    def _give_up(self, waiter: Waiter) -> None:
        if waiter.session._waits is waiter:
            # The server undoes the statement; our session of it undoes the transaction.
            self._undo(waiter.session)
            waiter.done(server_error(*LOCK_WAIT))

    def _hand_over(self, key: Key) -> None:
        queue = self._waiters.get(key)
        if queue and key not in self._holders:
            waiter = queue[self._random.randrange(len(queue))]
            queue.remove(waiter)
            waiter.session._waits = None
            waiter.go_on()


class _Deadlock(Exception):
    """A transaction cannot be repeated with the same results."""
