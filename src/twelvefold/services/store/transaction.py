"""The transactions that tools get: SQL with named parameters over any driver's connection."""

import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from twelvefold.core import (
    Append,
    BlockingWait,
    Entry,
    Event,
    NewRun,
    Row,
    RunStarted,
    SignalKey,
    WaitEnded,
    WaitStarted,
    size_of,
)
from twelvefold.core.answers import encode_value, make_signal_key
from twelvefold.errors import StoreRefused
from twelvefold.observe.trace_context import current_traceparent
from twelvefold.services.store.connection import TRANSACTION_OVER, Connection
from twelvefold.services.store.questions import question_values
from twelvefold.services.store.rows import encode_event, start_child
from twelvefold.services.store.signals import reserve_values, send_signal, wake_receivers
from twelvefold.services.store.sql_text import (
    convert_value,
    reject_commits,
    reject_writes,
    strip_end,
)

if TYPE_CHECKING:
    from sqlalchemy import Executable
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import Session

    from twelvefold.services.store.sqlalchemy_bridge import BridgedTransaction, SQLAlchemyBridge

    GetBridge = Callable[[], SQLAlchemyBridge]


IMPORT_ORM = "orm_session needs `import sqlalchemy.orm` at the top of the tool's module"
ENTRY_COLUMNS = ("position", "type", "version", "body")
"""The columns that differ between the entries of one insert."""


class SQLReadOnly:
    """Implements `twelvefold.core.ports.ToolReadOnly`.

    `get_bridge` is called when a tool first uses SQLAlchemy.
    """

    _reject = staticmethod(reject_writes)

    def __init__(self, connection: Connection, get_bridge: "GetBridge") -> None:
        self._connection = connection
        self._get_bridge = get_bridge
        self._bridged: BridgedTransaction | None = None
        self._is_over = False

    async def fetch_one(self, statement: "str | Executable", /, **values: Any) -> Row | None:
        rows = await self.fetch_all(statement, **values)
        return rows[0] if rows else None

    async def fetch_all(self, statement: "str | Executable", /, **values: Any) -> list[Row]:
        if isinstance(statement, str):
            text, named = self._check(statement, values)
            return await self._connection.fetch(text, named)
        return await (await self._bridge()).fetch(statement, values)

    def raise_if_lost(self) -> None:
        self._connection.raise_if_lost()

    def _check(self, statement: str, values: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return the statement and its values as they are sent. Raises StoreRefused."""
        dialect = self._connection.dialect
        self._reject(statement, dialect)
        named = {name: convert_value(name, value) for name, value in values.items()}
        return strip_end(statement, dialect), named

    async def _bridge(self) -> "BridgedTransaction":
        if self._is_over:
            raise StoreRefused(TRANSACTION_OVER)
        if self._bridged is None:
            self._bridged = await self._get_bridge().open(self._connection, self._reject)
        return self._bridged

    async def close(self) -> None:
        """Close SQLAlchemy's side of the transaction, without a flush."""
        self._is_over = True
        if self._bridged is not None:
            await self._bridged.close()


class SQLTransaction(SQLReadOnly):
    """Implements `twelvefold.core.ports.Transaction`, outside any step."""

    _reject = staticmethod(reject_commits)

    def __init__(
        self, connection: Connection, get_bridge: "GetBridge", statements: Mapping[str, str]
    ) -> None:
        super().__init__(connection, get_bridge)
        self._statements = statements
        self.signalled: set[str] = set()
        self._sent: list[str] = []

    async def execute(self, statement: "str | Executable", /, **values: Any) -> int:
        if isinstance(statement, str):
            text, named = self._check(statement, values)
            return await self._connection.execute(text, named)
        return await (await self._bridge()).execute(statement, values)

    async def send_mail(self, to: str, subject: str, text: str, *, html: str = "") -> None:
        mail = {"to": to, "subject": subject, "text": text, "html": html}
        if traceparent := current_traceparent():
            mail["traceparent"] = traceparent
        body = _encode_json("mail", mail)
        values = {"id": self._new_mail_id(), "thread": self._thread(), "kind": "mail", "body": body}
        self._connection.defer(self._statements["insert_outbox"], values)

    async def signal(self, workflow: str, principal: str, key: str, payload: Any = None) -> bool:
        to = make_signal_key(workflow, principal, key)
        text = encode_value(payload, "the payload")
        is_first = await send_signal(
            self._connection, self._statements, to, text, self._signal_sender()
        )
        if is_first:
            self.signalled.add(workflow)
            self._sent.append(to.id)
        return is_first

    def _signal_sender(self) -> str:
        return ""

    def _new_mail_id(self) -> str:
        return secrets.token_hex(16)

    def _thread(self) -> str:
        return ""

    async def orm_session(self) -> "AsyncSession":
        return (await self._bridge()).session()

    async def flush(self) -> None:
        """Flush the ORM session."""
        if self._bridged is not None:
            await self._bridged.flush()

    async def finish(self) -> None:
        """Flush, and wake the runs that wait for events of this transaction, before the commit.

        Their rows are locked only now: the processes that hold these runs renew their leases.
        """
        await self.flush()
        for signal in self._sent:
            await wake_receivers(self._connection, self._statements, signal)


class SQLStepTransaction(SQLTransaction):
    """Implements `twelvefold.core.ports.StepTransaction`; writes the entries that `change` has.

    `now_us` returns microseconds since 1970.
    """

    def __init__(
        self,
        connection: Connection,
        get_bridge: "GetBridge",
        statements: Mapping[str, str],
        now_us: Callable[[], int],
        change: Append,
    ) -> None:
        super().__init__(connection, get_bridge, statements)
        self._now_us = now_us
        self._change = change
        self._missing = change.adds
        self._has_greenlet = False
        self.mails = 0

    @property
    def is_fenced(self) -> bool:
        return self._connection.is_checked

    def _new_mail_id(self) -> str:
        """Return the same id when the step is repeated, so that its mail is sent once."""
        self.mails += 1
        return f"{self._thread()}.{self._change.head + self._change.adds}.{self.mails}"

    def _thread(self) -> str:
        return self._change.lease.run.thread

    def start_child(self, new: NewRun, started: RunStarted) -> None:
        parent, at_us = self._change.lease.run, self._now_us()
        start_child(self._connection, self._statements, parent, new, started, at_us)

    def _signal_sender(self) -> str:
        return str(self._change.lease.run)

    def call_blocking(self, function: Callable[[], object], wait: BlockingWait) -> object:
        # Only functions that use SQLAlchemy pay for it.
        if "sqlalchemy.orm" not in sys.modules:
            return function()
        from twelvefold.services.store.blocking_session import call_blocking

        self._has_greenlet = True
        return call_blocking(function, wait)

    async def blocking_session(self) -> "Session":
        if not self._has_greenlet:
            raise StoreRefused(IMPORT_ORM).loggable()
        return (await self._bridge()).blocking_session()

    async def record(self, events: Sequence[Event]) -> tuple[Entry, ...]:
        await self.flush()
        if len(events) != self._missing:
            _raise_gap(self._missing, len(events))
        self._missing = 0
        if not events:
            return ()
        run, at_us = self._change.lease.run, self._now_us()
        values: dict[str, Any] = {"thread": run.thread, "run": run.ordinal, "at_us": at_us}
        entries: list[Entry] = []
        insert, names = _insert_entries(self._statements["insert_event"], len(events))
        for position, event in enumerate(events, self._change.head + 1):
            kind, version, body = encode_event(event)
            values |= zip(names[len(entries)], (position, kind, version, body), strict=True)
            entries.append(Entry(position, run.ordinal, event, size_of(body), at_us))
            self._update_waits(entries[-1])
        self._connection.defer(insert, values)
        return tuple(entries)

    def _update_waits(self, entry: Entry) -> None:
        """Write what senders of events and persons find of a wait, or remove it."""
        match entry.event:
            case WaitStarted(question=question) as wait if question:
                self._add_question(wait, entry)
            case WaitStarted(event=event) if event:
                self._add_signal_wait(event)
            case WaitEnded(call=call, reason="answer" | "timeout"):
                question_key = {"thread": self._change.lease.run.thread, "call": call}
                self._connection.defer(self._statements["remove_question"], question_key)
            case _:
                pass

    def _add_question(self, wait: WaitStarted, entry: Entry) -> None:
        change = self._change
        owner = change.workflow, change.principal
        values = question_values(change.lease.run, wait, *owner, entry.position, entry.at_us)
        self._connection.defer(self._statements["add_question"], values)

    def _add_signal_wait(self, event: str) -> None:
        """Let the sender of an event find the run, while it waits for the event."""
        to = SignalKey(self._change.workflow, self._change.principal, event)
        run = self._change.lease.run
        reserved = reserve_values(self._connection, to)
        self._connection.defer(self._statements["reserve_signal"], reserved)
        values = {"signal": to.id, "thread": run.thread, "ordinal": run.ordinal}
        self._connection.defer(self._statements["add_signal_wait"], values)

    async def finish(self) -> None:
        """Prepare the commit. Raises StoreRefused if an announced entry is missing.

        The fence has moved the thread's head by all that were announced.
        """
        await super().finish()
        if self._missing:
            _raise_gap(self._missing, 0)


def _raise_gap(announced: int, written: int) -> NoReturn:
    gap = f"{announced} entries were announced for this step, not {written}"
    raise StoreRefused(gap).loggable()


def _encode_json(name: str, value: object) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError:
        raise StoreRefused(f"the {name} holds half of a surrogate pair, which is no text") from None


@lru_cache(maxsize=64)
def _insert_entries(insert: str, count: int) -> tuple[str, Sequence[Sequence[str]]]:
    """Return an insert of `count` entries in one round trip, and each entry's parameters."""
    head, _, row = insert.partition("VALUES ")
    names = [[f"{column}{number}" for column in ENTRY_COLUMNS] for number in range(count)]
    rows = []
    for own in names:
        one = row
        for column, name in zip(ENTRY_COLUMNS, own, strict=True):
            one = one.replace(f":{column}", f":{name}")
        rows.append(one)
    return f"{head}VALUES {', '.join(rows)}", names
