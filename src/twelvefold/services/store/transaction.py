"""What a tool gets as its `Transaction`: SQL with named parameters over any driver's connection."""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import msgspec

from twelvefold.core.events import Entry, Event, encode, size_of
from twelvefold.core.ports import Append, Row
from twelvefold.errors import StoreFailed, StoreRefused, TooLarge
from twelvefold.services.store.parameters import value_for
from twelvefold.services.store.sql_text import Dialect, refuse_commits, refuse_writes

if TYPE_CHECKING:
    from sqlalchemy import Executable
    from sqlalchemy.ext.asyncio import AsyncSession

    from twelvefold.services.store.sqlalchemy_bridge import Joined, SQLAlchemyBridge


BUSY = "a statement of this transaction is still under way: wait for it before the next"
MIGRATE = "`twelvefold migrate` makes the tables of a release, and those of its workflows"
NO_ANSWER = "the database did not answer the tool's statement in time"
OWN = ("position", "type", "version", "body")
"""The parameters that entries of one insert do not share."""
OVER = "the transaction is over: a tool may use it only until it returns"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a driver says to a statement of its own kind, as DB-API 2.0 has it."""

    rows: Sequence[Sequence[Any]]
    description: Sequence[Sequence[Any]] | None
    rowcount: int
    lastrowid: int


class Connection(Protocol):
    """A driver's connection for the length of one transaction; its errors are ours already.

    One statement runs at a time; a second one is refused. When the transaction is lost or over,
    every further statement raises: it would run outside of the fence.
    """

    dialect: Dialect
    touch: int
    """1 where a row that was only read is not guarded until the commit (Galera), else 0."""

    async def fetch(self, statement: str, values: Mapping[str, Any]) -> list[Row]:
        """All rows of a statement."""
        ...

    async def execute(self, statement: str, values: Mapping[str, Any]) -> int:
        """The number of rows that a statement matched."""
        ...

    async def ask(self, statement: str, values: Sequence[Any]) -> Answer:
        """Run a statement with the driver's own placeholders."""
        ...

    async def ask_many(self, statement: str, values: Sequence[Sequence[Any]]) -> Answer:
        """Run a statement with the driver's own placeholders once for each row of values."""
        ...

    def raise_if_lost(self) -> None:
        """Raise the error that ended the transaction, or StoreRefused while a statement runs."""
        ...


def as_rows(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[Row]:
    """Rows by column name. Raises StoreRefused where one column would hide another."""
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise StoreRefused(f"two columns are called {twice!r}; name one of them anew with AS")
    return [dict(zip(names, row, strict=True)) for row in rows]


class SQLReadOnly:
    """Obeys `twelvefold.core.ports.ToolReadOnly`. `guest` gives SQLAlchemy when it is needed."""

    _refuse = staticmethod(refuse_writes)

    def __init__(self, connection: Connection, guest: "Callable[[], SQLAlchemyBridge]") -> None:
        self._connection = connection
        self._guest = guest
        self._joined: Joined | None = None
        self._is_over = False

    async def fetch_one(self, statement: "str | Executable", /, **values: Any) -> Row | None:
        rows = await self.fetch_all(statement, **values)
        return rows[0] if rows else None

    async def fetch_all(self, statement: "str | Executable", /, **values: Any) -> list[Row]:
        if isinstance(statement, str):
            return await self._connection.fetch(statement, self._checked(statement, values))
        return await (await self._join()).fetch(statement, values)

    def raise_if_lost(self) -> None:
        self._connection.raise_if_lost()

    def _checked(self, statement: str, values: Mapping[str, Any]) -> dict[str, Any]:
        self._refuse(statement, self._connection.dialect)
        return {name: value_for(name, value) for name, value in values.items()}

    async def _join(self) -> "Joined":
        if self._is_over:
            raise StoreRefused(OVER)
        if self._joined is None:
            self._joined = await self._guest().join(self._connection, self._refuse)
        return self._joined

    async def leave(self) -> None:
        """Let SQLAlchemy go; what it has not sent by now is not sent."""
        self._is_over = True
        if self._joined is not None:
            await self._joined.leave()


class SQLTransaction(SQLReadOnly):
    """Obeys `twelvefold.core.ports.Transaction`, outside any step."""

    _refuse = staticmethod(refuse_commits)

    def __init__(
        self,
        connection: Connection,
        guest: "Callable[[], SQLAlchemyBridge]",
        statements: Mapping[str, str],
    ) -> None:
        super().__init__(connection, guest)
        self._statements = statements

    async def execute(self, statement: "str | Executable", /, **values: Any) -> int:
        if isinstance(statement, str):
            return await self._connection.execute(statement, self._checked(statement, values))
        return await (await self._join()).execute(statement, values)

    async def send_mail(self, to: str, subject: str, text: str, *, html: str = "") -> None:
        body = _json("mail", {"to": to, "subject": subject, "text": text, "html": html})
        values = {"id": self._mail_id(), "thread": self._thread(), "kind": "mail", "body": body}
        await self._connection.execute(self._statements["insert_outbox"], values)

    def _mail_id(self) -> str:
        return secrets.token_hex(16)

    def _thread(self) -> str:
        return ""

    async def orm_session(self) -> "AsyncSession":
        return (await self._join()).session()

    async def flush(self) -> None:
        """Send what the ORM session still holds back."""
        if self._joined is not None:
            await self._joined.flush()


class SQLStepTransaction(SQLTransaction):
    """Obeys `twelvefold.core.ports.StepTransaction`; writes the entries that `change` announced.

    `now_us` gives microseconds since 1970.
    """

    def __init__(
        self,
        connection: Connection,
        guest: "Callable[[], SQLAlchemyBridge]",
        statements: Mapping[str, str],
        now_us: Callable[[], int],
        change: Append,
    ) -> None:
        super().__init__(connection, guest, statements)
        self._now_us = now_us
        self._change = change
        self._missing = change.adds
        self._mails = 0

    def _mail_id(self) -> str:
        """The same when the step is tried again, so that one mail stays one."""
        self._mails += 1
        return f"{self._thread()}.{self._change.head + self._change.adds}.{self._mails}"

    def _thread(self) -> str:
        return self._change.lease.run.thread

    async def record(self, events: Sequence[Event]) -> tuple[Entry, ...]:
        await self.flush()
        if len(events) != self._missing:
            _refuse_gap(self._missing, len(events))
        self._missing = 0
        if not events:
            return ()
        run, at_us = self._change.lease.run, self._now_us()
        values: dict[str, Any] = {"thread": run.thread, "run": run.ordinal, "at_us": at_us}
        entries: list[Entry] = []
        insert, names = _insert_events(self._statements["insert_event"], len(events))
        for position, event in enumerate(events, self._change.head + 1):
            kind, version, body = encoded(event)
            values |= zip(names[len(entries)], (position, kind, version, body), strict=True)
            entries.append(Entry(position, run.ordinal, event, size_of(body), at_us))
        try:
            await self._connection.execute(insert, values)
        except StoreRefused as refused:
            raise_as_failed(refused)
        return tuple(entries)

    async def finish(self) -> None:
        """What has to be done before the commit. Raises StoreRefused if an entry is missing.

        The head has moved by those that were announced.
        """
        await self.flush()
        if self._missing:
            _refuse_gap(self._missing, 0)


def raise_as_failed(refused: StoreRefused) -> NoReturn:
    """Raise what the driver says of a statement of ours, which is never at fault itself.

    What we refuse ourselves, which has no cause, and what is too large stay as they are.
    """
    if refused.__cause__ is None or isinstance(refused, TooLarge):
        raise refused
    raise StoreFailed(f"the database refuses a statement of ours: {refused}").loggable(
        f"the database refuses a statement of ours: {refused.logged}"
    ) from refused


def encoded(event: Event) -> tuple[str, int, str]:
    """The event as (type, version, body). Raises StoreRefused for what is no text."""
    try:
        return encode(event)
    except UnicodeEncodeError:
        raise StoreRefused(
            f"a {type(event).__name__} holds half of a surrogate pair, which is no text"
        ) from None


def _refuse_gap(announced: int, written: int) -> NoReturn:
    gap = f"{announced} entries were announced for this step, not {written}"
    raise StoreRefused(gap).loggable()


def _json(name: str, value: object) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError:
        raise StoreRefused(f"the {name} holds half of a surrogate pair, which is no text") from None


@lru_cache(maxsize=64)
def _insert_events(insert: str, count: int) -> tuple[str, Sequence[Sequence[str]]]:
    """The insert for so many entries in one round trip, and the parameters of each."""
    head, _, row = insert.partition("VALUES ")
    names = [[f"{column}{number}" for column in OWN] for number in range(count)]
    rows = []
    for own in names:
        one = row
        for column, name in zip(OWN, own, strict=True):
            one = one.replace(f":{column}", f":{name}")
        rows.append(one)
    return f"{head}VALUES {', '.join(rows)}", names
