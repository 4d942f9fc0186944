"""Migrations: up, down, repeated, and after a crash."""

import asyncio
import logging
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from sqlalchemy import text

from tests import servers
from tests.builders import finished
from tests.services.store.builders import append, leased, on_server
from twelvefold.core.events import RequestOptions, RunStarted
from twelvefold.core.ids import RunId, ThreadId
from twelvefold.core.ports import ThreadHead
from twelvefold.errors import StoreFailed, StoreRefused, StoreUnavailable
from twelvefold.services.store import migrate as store_migrate
from twelvefold.services.store import open_store
from twelvefold.services.store.migrate import HEAD, migrate, offline_sql
from twelvefold.services.store.migrations import versions
from twelvefold.services.store.mysql import migration_lock
from twelvefold.services.store.sql_text import split_script

TABLES = [
    *("api_keys", "budget_periods", "budget_reservations", "budgets", "deltas", "events"),
    *(
        "idempotency_keys",
        "open_questions",
        "outbox",
        "processes",
        "rate_buckets",
        "run_slots",
        "runs",
    ),
    *("signal_waits", "signals", "threads", "trace_exports"),
    *("usage_days", "usage_details", "usage_principals"),
]
ALL = sorted(path.name[1:5] for path in Path(versions.__path__[0]).glob("r[0-9]*.py"))


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("mariadb", marks=pytest.mark.mysql),
        pytest.param("mysql9", marks=[pytest.mark.mysql, pytest.mark.slow]),
    ]
)
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without a table."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/{quote('100 % of what?.db')}"
    elif request.param == "mysql9":
        yield from new_database(servers.mysql9())
    else:
        yield from new_database(request.getfixturevalue("mariadb_url"))


@pytest.fixture
def empty_mariadb(mariadb_url: str) -> Iterator[str]:
    yield from new_database(mariadb_url)


def new_database(server: str) -> Iterator[str]:
    name = f"migrated_{secrets.token_hex(6)}"
    asyncio.run(on_server(server, f"CREATE DATABASE {name}"))
    yield urlsplit(server)._replace(path=f"/{name}").geturl()
    asyncio.run(on_server(server, f"DROP DATABASE {name}"))


async def tables(url: str) -> list[str]:
    listing = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
    if not url.startswith("sqlite"):
        listing = "SELECT table_name AS name FROM information_schema.tables "
        listing += "WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'"
    store = await open_store(url)
    async with store.read() as db:
        found = await db.fetch_all(listing)
    await store.close()
    return sorted(row["name"] for row in found)


def own(url: str, *names: str) -> list[str]:
    """Return the names of these tables and of those that every migration leaves."""
    lock = [] if url.startswith("sqlite") else ["twelvefold_migration_lock"]
    return sorted([*names, *lock, "twelvefold_version"])


async def version(url: str) -> str | None:
    store = await open_store(url)
    try:
        schema = await store.schema()
        return schema.level if schema else None
    finally:
        await store.close()


async def run(url: str, script: str) -> None:
    store = await open_store(url)
    await store.run_script(script)
    await store.close()


async def is_fit(url: str) -> bool:
    """Return whether a run can be started and ended."""
    store = await open_store(url)
    lease = await leased(store)
    await append(store, lease, 1, finished(), status="completed")
    loaded = await store.load(lease.run.thread)
    await store.close()
    return loaded.head == 2


async def test_an_empty_database_gets_every_table(empty: str) -> None:
    assert await version(empty) is None

    assert await migrate(empty) == ALL

    assert await version(empty) == HEAD
    assert await tables(empty) == own(empty, *TABLES, "twelvefold_releases")
    assert await is_fit(empty)


async def test_a_repeated_migration_does_nothing(empty: str) -> None:
    await migrate(empty)

    assert await migrate(empty) == []

    assert await is_fit(empty)


async def test_a_downgrade_to_base_leaves_an_empty_database(empty: str) -> None:
    await migrate(empty)

    assert await migrate(empty, revision="base") == ALL[::-1]

    assert await version(empty) is None
    assert await tables(empty) == own(empty)
    assert await migrate(empty, revision="base") == []
    assert await migrate(empty, revision=HEAD) == ALL
    assert await is_fit(empty)


async def test_the_sql_for_a_dba_does_the_same(empty: str) -> None:
    await run(empty, offline_sql(empty))

    assert await version(empty) == HEAD
    assert await migrate(empty) == []
    assert await is_fit(empty)


@pytest.mark.parametrize("done", range(1, 6))
async def test_an_interrupted_migration_can_be_repeated(empty: str, done: int) -> None:
    statements = split_script(offline_sql(empty))
    await run(empty, ";\n".join(statements[:done]))

    assert await migrate(empty) == ALL

    assert await is_fit(empty)


@pytest.mark.timeout(600)  # DDL on MySQL 9: 43 s on two busy cores
async def test_the_second_migration_can_be_repeated_after_any_statement(empty: str) -> None:
    """A DBA can repeat the SQL too, except on SQLite."""
    whole = split_script(offline_sql(empty, since="0001"))
    # Up to the one that notes that it is done.
    statements = whole[: next(n for n, one in enumerate(whole) if "'0002'" in one)]
    by_dba = not empty.startswith("sqlite")
    for done in range(len(statements) + 1):
        await migrate(empty, revision="0001")
        await run(empty, ";\n".join(statements[:done]))
        if by_dba:
            await run(empty, ";\n".join(statements))

        assert await migrate(empty) == ALL[1:]

    assert await is_fit(empty)


async def test_a_run_of_the_release_before_is_read_and_continued(empty: str) -> None:
    await migrate(empty, revision="0001")
    await run(
        empty,
        """
        INSERT INTO threads VALUES ('t', 'ann', 'academy', 1, NULL, NULL, 5);
        INSERT INTO runs VALUES ('t', 1, 'queued', '', 0, 0, 0, 't1', '', '', '1.0', 5, NULL);
        INSERT INTO events VALUES ('t', 1, 1, 'RunStarted', 1,
          '{"items":[],"principal":"ann","workflow":"academy","release":"1.0",
            "asked":{"stream":true}}', 5);
        INSERT INTO outbox VALUES ('m', 't', 'mail', '{"to":"ann@example.org"}', 0, 5, NULL);
        """,
    )

    await migrate(empty)

    store, thread = await open_store(empty), ThreadId("t")
    assert await store.thread(thread) == ThreadHead(
        thread, "ann", "academy", 1, None, 0, 5, {}, listed=None
    )
    waiting = await store.waiting_work(workflows=["academy"], limit=2)
    assert [one[:3] for one in waiting.runs] == [(RunId(thread, 1), 0, "ann")]
    assert [message.id for message in await store.due_messages(2)] == ["m"]
    claimed = await store.claim(RunId(thread, 1), 60)
    assert claimed is not None
    await append(store, claimed[0], 1, finished(), status="completed")
    started, end = [entry.event for entry in (await store.load(thread)).entries]
    assert (started, end) == (
        RunStarted((), "ann", "academy", "1.0", RequestOptions(stream=True)),
        finished(),
    )
    await store.close()


async def test_a_downgrade_keeps_what_the_release_before_reads(empty: str) -> None:
    await migrate(empty)
    await is_fit(empty)

    assert await migrate(empty, revision="0001") == ALL[:0:-1]

    assert await tables(empty) == own(empty, "events", "outbox", "runs", "threads")
    assert await migrate(empty) == ALL[1:]
    store = await open_store(empty)
    (record,) = await store.runs(limit=2)
    assert record.status == "completed"
    await store.close()


async def test_the_sql_for_a_dba_begins_at_the_revision_of_the_database(empty: str) -> None:
    await migrate(empty, revision="0001")

    await run(empty, offline_sql(empty, since="0001"))

    assert await version(empty) == HEAD
    assert await migrate(empty) == []
    assert await is_fit(empty)
    with pytest.raises(StoreRefused, match="cannot migrate from revision 'nonsense'"):
        offline_sql(empty, since="nonsense")


async def test_a_table_of_another_application_is_refused(empty: str) -> None:
    await run(empty, "CREATE TABLE events (id INT, title TEXT)")

    with pytest.raises(StoreRefused, match=r"table events exists already.*rename it"):
        await migrate(empty)

    assert "threads" not in await tables(empty)


async def test_migrations_of_another_application_are_unchanged(empty: str) -> None:
    await run(
        empty,
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL);"
        "INSERT INTO alembic_version VALUES ('their-own')",
    )

    assert await migrate(empty) == ALL

    assert await migrate(empty) == []


async def test_a_database_of_a_newer_release_is_refused(empty: str) -> None:
    await migrate(empty)
    await run(empty, "UPDATE twelvefold_version SET version_num = '9999'")

    with pytest.raises(StoreRefused, match=r"at revision 9999.*run a newer one"):
        await migrate(empty)

    assert await version(empty) == "9999"


@pytest.mark.mysql
async def test_of_several_that_migrate_at_once_one_does(empty_mariadb: str) -> None:
    applied = await asyncio.gather(*(migrate(empty_mariadb) for _ in range(4)))

    assert sorted(applied) == [[], [], [], ALL]


LOCK = "UPDATE twelvefold_migration_lock SET token = 'theirs', expires_at = UNIX_TIMESTAMP() + {}"


@pytest.mark.mysql
async def test_the_lock_of_a_killed_migration_expires(empty_mariadb: str) -> None:
    await migrate(empty_mariadb, revision="0001")
    await run(empty_mariadb, LOCK.format(60))
    migrating = asyncio.ensure_future(migrate(empty_mariadb))
    await asyncio.sleep(0.5)
    assert await version(empty_mariadb) == "0001"

    await run(empty_mariadb, LOCK.format(-1))
    assert await migrating == ALL[1:]


@pytest.mark.mysql
async def test_a_migration_that_lost_its_lock_stops_before_the_next_revision(
    empty_mariadb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check, checks = store_migrate._check_lock, 0

    def taken_over(connection: Any, renew_lock: str, **others: object) -> None:
        nonlocal checks
        checks += 1
        if checks == 3:
            connection.execute(text(LOCK.format(60)))
            connection.commit()
        check(connection, renew_lock, **others)

    monkeypatch.setattr(store_migrate, "_check_lock", taken_over)
    with pytest.raises(StoreUnavailable, match="another process has taken over the migration"):
        await migrate(empty_mariadb)

    assert await version(empty_mariadb) == "0002"


@pytest.mark.mysql
async def test_a_migration_waits_for_another_one_a_bounded_time(
    empty_mariadb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate(empty_mariadb, revision="0001")
    await run(empty_mariadb, LOCK.format(60))
    monkeypatch.setattr(migration_lock, "WAIT_S", 0.1)

    with pytest.raises(StoreUnavailable, match="another process still migrates after"):
        await migrate(empty_mariadb)
    assert await migrate(empty_mariadb, revision="0001") == []


async def test_the_libraries_log_nothing(empty: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        await migrate(empty)
        await migrate(empty)

    assert caplog.records == []


async def test_an_unknown_revision_is_refused(empty: str) -> None:
    with pytest.raises(StoreRefused, match=r"the migration failed: .*nonsense"):
        await migrate(empty, revision="nonsense")


async def test_a_database_in_memory_cannot_be_migrated_from_outside() -> None:
    with pytest.raises(StoreRefused, match="run the SQL of `offline_sql` in its store"):
        await migrate("sqlite://")


async def test_an_unreachable_server_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable, match=r"the migration failed: .*cannot be reached"):
        await migrate("mysql://nobody@127.0.0.1:1/nothing")


@pytest.mark.mysql
async def test_a_missing_privilege_to_make_tables_is_reported(mariadb_url: str) -> None:
    parts = urlsplit(mariadb_url)
    await on_server(
        mariadb_url,
        "CREATE OR REPLACE USER reader@'%' IDENTIFIED BY 'reader'",
        f"GRANT SELECT ON {parts.path[1:]}.* TO reader@'%'",
    )
    url = parts._replace(netloc=f"reader:reader@{parts.hostname}:{parts.port}").geturl()

    assert await migrate(url) == []
    with pytest.raises(StoreFailed, match=r"the migration failed: .*command denied"):
        await migrate(url, revision="base")

    await on_server(mariadb_url, "DROP USER reader@'%'")


@pytest.mark.mysql
async def test_a_missing_privilege_to_create_views_is_named(empty_mariadb: str) -> None:
    parts = urlsplit(empty_mariadb)
    name = f"plain_{secrets.token_hex(4)}"
    rights = "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, REFERENCES"
    await on_server(
        empty_mariadb,
        f"CREATE USER {name} IDENTIFIED BY 'plain'",
        f"GRANT {rights} ON {parts.path[1:]}.* TO {name}",
    )
    url = parts._replace(netloc=f"{name}:plain@{parts.hostname}:{parts.port}").geturl()

    with pytest.raises(StoreRefused, match=r"twelvefold_runs .*denied.* needs .*CREATE VIEW"):
        await migrate(url)

    await on_server(empty_mariadb, f"GRANT CREATE VIEW ON {parts.path[1:]}.* TO {name}")
    assert (await migrate(url))[0] == "0010"
    await on_server(empty_mariadb, f"DROP USER {name}")
