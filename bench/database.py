"""The databases of the bench: the journal of a checkout, and the tables of the tools."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from bench.academy import COURSES, SCHEMA, course_row
from bench.cold_start import twelvefold
from bench.five_commits import SCHEMA as LOOP_SCHEMA
from bench.mysql import execute
from bench.processes import NEUTRAL, ROOT, source_environment

INSERT_COURSE = "insert into courses values (%s, %s, %s, %s, %s)"
WIDTH = (
    "if(data_type like '%int', '8', concat('coalesce(length(`', column_name, '`), 0)'))"
    " order by ordinal_position separator ' + '"
)


@asynccontextmanager
async def private_database(server_url: str, name: str, root: Path = ROOT) -> AsyncIterator[str]:
    """The URL of a database that is prepared; it is dropped at the end."""
    await execute(server_url, f"create database {name} character set utf8mb4")
    try:
        url = urlsplit(server_url)._replace(path=f"/{name}").geturl()
        await prepare(url, root)
        yield url
    finally:
        await execute(server_url, f"drop database {name}")


async def prepare(url: str, root: Path = ROOT) -> None:
    """Create the journal of a checkout, and on MySQL the tables of the tools and of the loop."""
    environment = {**source_environment(root), "DATABASE_URL": url}
    command = [sys.executable, *twelvefold("migrate")]
    await asyncio.to_thread(
        subprocess.run,
        command,
        stdout=subprocess.DEVNULL,
        cwd=NEUTRAL,
        env=environment,
        check=True,
    )
    if not url.startswith("sqlite"):
        courses = [course_row(f"CR-{number}") for number in range(1, COURSES + 1)]
        rows = [tuple(course.values()) for course in courses]
        await execute(url, *SCHEMA, *LOOP_SCHEMA, INSERT_COURSE, many=rows)


async def turn_bytes(url: str, ordinal: int) -> int:
    """Return the bytes that a turn of the longest conversation has added to the journal.

    They are those of its run and of its entries: texts as long as they are, eight bytes a number.
    """
    longest = "(select thread_id from runs order by ordinal desc limit 1)"
    found = 0
    for table, column in (("runs", "ordinal"), ("events", "run")):
        [(width,)] = await execute(
            url,
            "set session group_concat_max_len = 65536",
            f"select group_concat({WIDTH}) from information_schema.columns"
            f" where table_schema = database() and table_name = '{table}'",
        )
        where = f"thread_id = {longest} and {column} = {ordinal}"
        [(size,)] = await execute(url, f"select sum({width}) from {table} where {where}")
        found += int(size)
    return found


async def check(url: str) -> None:
    """Compare the runs that are completed with the rows of their tools."""
    tables = ("runs where status = 'completed'", "enrolments", "mails")
    counts = [(await execute(url, f"select count(*) from {table}"))[0][0] for table in tables]
    assert len(set(counts)) == 1, f"runs, enrolments and mails differ: {counts}"
