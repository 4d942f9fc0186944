"""The least that a durable loop has to do: five fenced transactions, without an engine.

A run is a start, a step per tool call and an end. Each step checks the head and the lease, writes
the tool's rows and its entries, and commits. A conversation is kept in memory as encoded items: the
fence proves that it is still whole. Entries are bytes. There is no fold, no decision, no log, no
renewal of the lease and no repetition after an error.

A step sends two packets: the fence with the tool's statements; after its counts were read, the
entries with COMMIT. `--one-by-one` sends all but the fence in packets of their own.
"""

import secrets
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec
from asyncmy.pool import Pool

from bench import academy
from bench.asking import course, wish
from bench.bare_loop import HEADERS, open_session
from bench.contender import Contender, Options, main
from bench.mysql import POOL_SIZE, connect_arguments

SCHEMA = (
    "create table loop_threads (id char(32) not null primary key, head bigint not null)",
    "create table loop_runs (thread_id char(32) not null, ordinal int not null,"
    " status varchar(16) not null, lease_token char(16) not null, lease_until bigint not null,"
    " primary key (thread_id, ordinal))",
    "create table loop_events (thread_id char(32) not null, position bigint not null,"
    " type varchar(32) not null, body mediumblob not null, at_us bigint not null,"
    " primary key (thread_id, position))",
)
INSERT_THREAD = "insert into loop_threads (id, head) values (%s, %s)"
ADVANCE_THREAD = "update loop_threads set head = %s where id = %s and head = %s"
INSERT_RUN = "insert into loop_runs values (%s, %s, 'running', %s, %s)"
CHECK_LEASE = (
    "update loop_runs set lease_until = lease_until"
    " where thread_id = %s and ordinal = %s and lease_token = %s"
)
END_RUN = (
    "update loop_runs set status = 'completed', lease_token = '', lease_until = 0"
    " where thread_id = %s and ordinal = %s and lease_token = %s"
)
LEASE_US = 60_000_000
Statement = tuple[str, tuple[Any, ...]]
Entry = tuple[str, bytes]


def _positional(statement: str) -> str:
    """Return a statement of the tools with the driver's placeholders, in the same order."""
    for name in ("code", "student", "recipient", "subject"):
        statement = statement.replace(f":{name}", "%s")
    return statement


COURSE = _positional(academy.COURSE)
TAKE_SEAT = _positional(academy.TAKE_SEAT)
ENROL = _positional(academy.ENROL)
SEND_MAIL = _positional(academy.SEND_MAIL)
# With autocommit and BEGIN: without autocommit the status after a COMMIT is 0, which the driver
# ignores if the COMMIT is part of a text. Its pool would close the connection as still in use.
BEGIN: Statement = ("begin", ())
COMMIT: Statement = ("commit", ())


class Event(msgspec.Struct):
    """What the loop reads of an event of a stream."""

    type: str
    item: msgspec.Raw = msgspec.Raw(b"null")


class Item(msgspec.Struct):
    """What the loop reads of an item of a reply."""

    type: str
    call_id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(slots=True)
class Thread:
    """A conversation: its encoded items, and the head that the fence checks."""

    id: str = field(default_factory=lambda: secrets.token_hex(16))
    head: int = 0
    runs: int = 0
    token: str = ""
    items: list[bytes] = field(default_factory=list)


class FiveCommits(Contender):
    """Drives runs on the tables of `SCHEMA`."""

    def __init__(self, session: aiohttp.ClientSession, pool: Any, options: Options) -> None:
        self._session = session
        self._pool = pool
        self._url = f"{options.base_url}/responses"
        self._options = options
        fixed = {"model": options.model, "stream": True, "store": False}
        fixed |= {"instructions": options.asking.instructions, "tools": options.asking.tools}
        self._head = msgspec.json.encode(fixed)[:-1] + b',"input":['
        self._decode_event = msgspec.json.Decoder(Event).decode
        self._decode_item = msgspec.json.Decoder(Item).decode
        self._conversation = Thread()

    async def run(self, number: int) -> None:
        await self._drive(f"{self._options.tag}-{number}", number, Thread())

    async def turn(self, number: int) -> None:
        await self._drive(f"{self._options.tag}-turns", number, self._conversation)

    async def _drive(self, student: str, number: int, thread: Thread) -> None:
        await self._start(thread, wish(course(number)))
        while (call := await self._reply(thread)).type == "function_call":
            await self._step(thread, call, student)
        entries = [("ModelReplied", thread.items[-1]), ("RunFinished", b"{}")]
        end = (END_RUN, (thread.id, thread.runs, thread.token))
        async with self._connection() as cursor:
            await self._fence(cursor, thread, len(entries), end)
            await self._send(cursor, [_insert(thread, entries)], COMMIT)

    async def _reply(self, thread: Thread) -> Item:
        """Request a reply and add its item to the thread."""
        body = b"%s%s]}" % (self._head, b",".join(thread.items))
        async with self._session.post(self._url, data=body, headers=HEADERS) as response:
            assert response.status == 200, await response.text()
            rest = b""
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                thread.items += self._items(lines)
        return self._decode_item(thread.items[-1])

    def _items(self, lines: Sequence[bytes]) -> Iterator[bytes]:
        for line in lines:
            if line.startswith(b"data: "):
                event = self._decode_event(line[6:])
                if event.type == "response.output_item.done":
                    yield bytes(event.item)

    async def _start(self, thread: Thread, text: str) -> None:
        item = msgspec.json.encode({"type": "message", "role": "user", "content": text})
        thread.items.append(item)
        thread.head, thread.runs, thread.token = thread.head + 1, thread.runs + 1, _token()
        new = (INSERT_THREAD, (thread.id, 1))
        advance = (ADVANCE_THREAD, (thread.head, thread.id, thread.head - 1))
        until = time.time_ns() // 1000 + LEASE_US
        run = (INSERT_RUN, (thread.id, thread.runs, thread.token, until))
        event = _insert(thread, [("RunStarted", item)])
        async with self._connection() as cursor:
            if thread.head == 1:
                await self._send(cursor, [BEGIN, new], run, event, COMMIT)
                return
            results = await self._send(cursor, [BEGIN, advance], run, event)
            assert results[1] == 1, "another process has moved the head"
            await self._send(cursor, [COMMIT])

    async def _step(self, thread: Thread, call: Item, student: str) -> None:
        """Run a tool and commit its rows, the reply and the result together."""
        code = msgspec.json.decode(call.arguments)["course_code"]
        result, statements = _tool(call.name, code, student)
        async with self._connection() as cursor:
            found = await self._fence(cursor, thread, 2, *statements)
            output = msgspec.json.encode(result or found[0]).decode()
            answer = {"type": "function_call_output", "call_id": call.call_id, "output": output}
            encoded = msgspec.json.encode(answer)
            entries = [("ModelReplied", thread.items[-1]), ("ToolSucceeded", encoded)]
            await self._send(cursor, [_insert(thread, entries)], COMMIT)
        thread.items.append(encoded)

    async def _fence(
        self, cursor: Any, thread: Thread, adds: int, *statements: Statement
    ) -> list[Any]:
        """Send the fence and the statements behind it, and return the results of these."""
        advance = (ADVANCE_THREAD, (thread.head + adds, thread.id, thread.head))
        lease = (CHECK_LEASE, (thread.id, thread.runs, thread.token))
        _, *fence = results = await self._send(cursor, [BEGIN, advance, lease], *statements)
        assert fence[:2] == [1, 1], "another process has moved the head or taken the lease"
        assert all(fence), "a statement of the tool has changed no row"
        thread.head += adds
        return results[3:]

    async def _send(
        self, cursor: Any, together: Sequence[Statement], *others: Statement
    ) -> list[Any]:
        """Return the first row or the count of each statement."""
        if not self._options.one_by_one:
            return await _send_packet(cursor, [*together, *others])
        packets = [together, *([one] for one in others)]
        return [result for packet in packets for result in await _send_packet(cursor, packet)]

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        connection = await self._pool.acquire()
        try:
            yield connection.cursor()
        except BaseException:
            connection.close()
            raise
        finally:
            self._pool.release(connection)


async def _send_packet(cursor: Any, statements: Sequence[Statement]) -> list[Any]:
    text = ";".join(statement for statement, _ in statements)
    await cursor.execute(text, tuple(value for _, values in statements for value in values))
    results = [await _result(cursor)]
    while await cursor.nextset():
        results.append(await _result(cursor))
    return results


async def _result(cursor: Any) -> Any:
    if not cursor.description:
        return cursor.rowcount
    names = [column[0] for column in cursor.description]
    return dict(zip(names, await cursor.fetchone(), strict=True))


def _insert(thread: Thread, entries: Sequence[Entry]) -> Statement:
    """Return the insert of the thread's last entries."""
    first, at_us = thread.head - len(entries) + 1, time.time_ns() // 1000
    values: list[Any] = []
    for position, (kind, body) in enumerate(entries, first):
        values += (thread.id, position, kind, body, at_us)
    rows = ", ".join(["(%s, %s, %s, %s, %s)"] * len(entries))
    return f"insert into loop_events values {rows}", tuple(values)


def _tool(name: str, code: str, student: str) -> tuple[academy.Json, list[Statement]]:
    """Return the result and the statements of a tool; {} if the result is the row that is read."""
    if name == "get_course":
        return {}, [(COURSE, (code,))]
    if name == "enrol":
        return academy.enrolled(code), [(TAKE_SEAT, (code,)), (ENROL, (student, code))]
    mail = academy.welcome_mail(code, student)
    return mail, [(SEND_MAIL, (mail["recipient"], mail["subject"]))]


def _token() -> str:
    return secrets.token_hex(8)


@asynccontextmanager
async def open_five_commits(options: Options) -> AsyncIterator[Contender]:
    isolation = "set session transaction isolation level read committed"
    arguments = {
        **connect_arguments(options.database_url),
        "init_command": isolation,
        "autocommit": True,
    }
    pool = Pool(0, POOL_SIZE, **arguments)
    async with open_session() as session:
        yield FiveCommits(session, pool, options)
    pool.close()
    await pool.wait_closed()


if __name__ == "__main__":
    main(open_five_commits)
