"""A database of the bench's own, with courses that have a seat for everyone."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncmy

from bench.asking import COURSES, Asking
from bench.mock_model import TOOLS
from bench.table import Stored
from twelvefold import ReadOnly
from twelvefold.services.store import open_store
from twelvefold.services.store.migrate import migrate
from twelvefold.services.store.mysql.url import connect_arguments
from twelvefold.workflows.enrolment.workflow import workflow

SEATS = 1_000_000
# What a turn adds to the journal: its run and its entries; a number takes up to eight bytes.
_RUN_BYTES = (
    "length(thread_id) + length(status) + length(lease_token) + length(`usage`) + length(error)"
    " + length(release_id) + 6 * 8"
)
_EVENT_BYTES = "length(thread_id) + length(type) + length(body) + 4 * 8"


@asynccontextmanager
async def private_database(server_url: str, name: str) -> AsyncIterator[str]:
    """The URL of a migrated and seeded database; it is dropped at the end."""
    await _execute(server_url, f"create database {name} character set utf8mb4")
    try:
        url = urlsplit(server_url)._replace(path=f"/{name}").geturl()
        await prepare(url)
        yield url
    finally:
        await _execute(server_url, f"drop database {name}")


async def prepare(url: str) -> None:
    """The journal's tables, the workflow's tables, and the courses."""
    await migrate(url)
    store = await open_store(url)
    try:
        await store.run_script(workflow.schema)
        assert workflow.seed is not None
        async with store.write() as tx:
            await workflow.seed(tx, [_record(number) for number in range(1, COURSES + 1)])
    finally:
        await store.close()


def asking() -> Asking:
    """What the others send: the same instructions, and no more tools than the run needs.

    Twelvefold offers four to six, as its gates open.
    """
    tools = [
        {
            "type": "function",
            "name": tool.spec.name,
            "description": tool.spec.description,
            "parameters": dict(tool.spec.parameters),
            "strict": tool.spec.strict,
        }
        for tool in workflow.tools
        if tool.name in TOOLS
    ]
    return Asking(workflow.instructions, tools)


async def stored(url: str) -> Stored:
    """What the journal holds of the longest conversation, by turn, and of all on disk."""
    store = await open_store(url)
    try:
        async with store.read() as db:
            longest = await _number(db, "select max(ordinal) as n from runs")
            return Stored(
                early_turn=await _turn_bytes(db, longest, 10),
                late_turn=await _turn_bytes(db, longest, 200),
                on_disk=await _disk_bytes(db)
                // await _number(db, "select count(*) as n from runs"),
            )
    finally:
        await store.close()


async def _turn_bytes(db: ReadOnly, longest: int, ordinal: int) -> int:
    thread = "thread_id = (select thread_id from runs where ordinal = :longest limit 1)"
    run = f"select {_RUN_BYTES} as n from runs where {thread} and ordinal = :ordinal"
    events = f"select sum({_EVENT_BYTES}) as n from events where {thread} and run = :ordinal"
    values = {"longest": longest, "ordinal": ordinal}
    return await _number(db, run, **values) + await _number(db, events, **values)


async def _disk_bytes(db: ReadOnly) -> int:
    tables = "('threads', 'runs', 'events')"
    return await _number(
        db,
        "select sum(data_length + index_length) as n from information_schema.tables"
        f" where table_schema = database() and table_name in {tables}",
    )


async def check_enrolments(url: str) -> None:
    """Every run that says that it is done has written its enrolment, its mail and its end."""
    store = await open_store(url)
    try:
        async with store.read() as db:
            counted = [
                await _number(db, f"select count(*) as n from {rows}")
                for rows in ("runs where status = 'completed'", "enrolments", "outbox")
            ]
    finally:
        await store.close()
    assert len(set(counted)) == 1, f"runs, enrolments and mails differ: {counted}"


async def _number(db: ReadOnly, statement: str, **values: int) -> int:
    row = await db.fetch_one(statement, **values)
    return int(row["n"] or 0) if row else 0


async def _execute(url: str, statement: str) -> None:
    connection = await asyncmy.connect(**connect_arguments(url))
    try:
        await connection.cursor().execute(statement)
    finally:
        await connection.ensure_closed()


def _record(number: int) -> dict[str, object]:
    return {
        **{"clbid": f"CR-{number}-A", "department": "CR", "number": str(number)},
        **{"department_name": "Courses", "name": f"Course {number}", "credits": 1},
        **{"description": ["What everybody should know.", "No knowledge is needed for it."]},
        **{"term": 20262, "status": "O", "enrolled": 0, "max": SEATS},
    }
