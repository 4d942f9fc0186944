"""Databases are migrated: a server by a command, an embedded file automatically."""

import asyncio
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.waiting import HANG_S
from twelvefold import Settings, Transaction, Workflow, __version__, open_services
from twelvefold.admin.migrate import migrate, prepare
from twelvefold.boot import SCHEMA, this_release
from twelvefold.core.ports import Release, Schema, Store
from twelvefold.errors import SettingsError, StoreRefused
from twelvefold.services.store.migrate import SERVES
from twelvefold.services.store.migrate import migrate as migrate_store

SOURCE = Path(__file__).resolve().parents[2] / "src"


async def count_sections(store: Store) -> int:
    async with store.read() as db:
        row = await db.fetch_one("select count(*) as found from sections")
    return int(row["found"]) if row else 0


def settings_for(path: Path) -> Settings:
    return Settings(database_url=f"sqlite:///{path}")


async def test_a_new_file_gets_tables_and_the_records_of_its_workflow(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "a.db")

    async with open_services(settings, with_model=False) as services:
        await prepare(settings, services)

        assert await services.store.schema() == Schema(SCHEMA, SCHEMA)
        assert await count_sections(services.store) > 10


async def test_an_existing_file_is_not_seeded_again(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "a.db")
    async with open_services(settings, with_model=False) as services:
        await prepare(settings, services)
        async with services.store.write() as tx:
            await tx.execute("delete from meetings")
            await tx.execute("delete from sections")

        await prepare(settings, services)

        assert await count_sections(services.store) == 0


async def test_a_workflow_added_later_gets_its_tables(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "a.db")
    async with open_services(settings, with_model=False) as services:
        await prepare(settings, services)
        later = Workflow("later", "", (), schema="create table if not exists late (a int);")
        services.workflows["later"] = later  # type: ignore[index] # the services' own dict

        await prepare(settings, services)

        async with services.store.read() as db:
            assert await db.fetch_all("select * from late") == []


async def test_an_error_in_sql_names_its_workflow(tmp_path: Path) -> None:
    async def seed(tx: Transaction, _: object) -> int:
        return await tx.execute("insert into nowhere values (1)")

    settings = settings_for(tmp_path / "a.db")
    async with open_services(settings, with_model=False) as services:
        for late, message in (
            (Workflow("late", "", (), schema="create tabel late (a int);"), "schema: near"),
            (Workflow("late", "", (), seed=seed), "seed: no such table: nowhere"),
        ):
            with pytest.raises(StoreRefused, match=f"workflow late: {message}"):
                await prepare(settings, replace(services, workflows={"late": late}))


async def test_a_workflow_added_later_gets_its_records(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "a.db")
    async with open_services(settings, with_model=False) as services:
        other = Workflow("other", "", ())
        await prepare(settings, replace(services, workflows={"other": other}))

        await prepare(settings, services)

        assert await count_sections(services.store) > 10


async def test_the_next_process_seeds_if_the_first_one_died(
    tmp_path: Path,
) -> None:
    async def crash(tx: Transaction, records: object = None) -> int:
        await tx.execute("insert into late values (1)")
        raise KeyboardInterrupt

    async def insert(tx: Transaction, records: object = None) -> int:
        return await tx.execute("insert into late values (2)")

    settings = settings_for(tmp_path / "a.db")
    table = "create table if not exists late (a int);"
    async with open_services(settings, with_model=False) as services:
        for seed in (crash, insert, insert):
            late = Workflow("late", "", (), schema=table, seed=seed)
            with suppress(KeyboardInterrupt):
                await prepare(settings, replace(services, workflows={"late": late}))

        async with services.store.read() as db:
            assert await db.fetch_all("select a from late") == [{"a": 2}]


async def test_a_second_process_waits_until_the_file_is_seeded(tmp_path: Path) -> None:
    started, order = asyncio.Event(), []

    async def slow_seed(tx: Transaction, records: object = None) -> int:
        started.set()
        await asyncio.sleep(0.3)
        order.append("seeded")
        return 0

    async def prepare_file() -> None:
        settings, slow = settings_for(tmp_path / "a.db"), Workflow("slow", "", (), seed=slow_seed)
        async with open_services(settings, with_model=False) as services:
            await prepare(settings, replace(services, workflows={"slow": slow}))
            order.append("prepared")

    async with asyncio.TaskGroup() as group:
        group.create_task(prepare_file())
        await started.wait()
        await asyncio.to_thread(asyncio.run, prepare_file())

    assert order == ["seeded", "prepared", "prepared"]


def test_processes_that_start_together_can_share_a_new_file(tmp_path: Path) -> None:
    environ = {
        **os.environ,
        "PYTHONPATH": str(SOURCE),
        "DATABASE_URL": f"sqlite:///{tmp_path}/a.db",
    }
    command = [sys.executable, "-m", "twelvefold", "runs", "list", "--json"]
    processes = [
        subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, cwd=tmp_path)
        for _ in range(4)
    ]

    for process in processes:
        _, err = process.communicate(timeout=HANG_S)

        assert (process.returncode, err) == (0, b"")


async def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "none" / "a.db")

    async with open_services(settings, with_model=False) as services:
        with pytest.raises(SettingsError, match=f"directory {tmp_path}/none does not exist"):
            await prepare(settings, services)


async def test_the_file_of_an_incompatible_newer_release_is_not_changed(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "a.db")
    async with open_services(settings, with_model=False) as services:
        await prepare(settings, services)
        async with services.store.write() as tx:
            await tx.execute("update twelvefold_version set version_num = '9999'")

        with pytest.raises(SettingsError, match="the schema is at 9999"):
            await prepare(settings, services)


async def test_an_installed_release_is_recorded_once(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "a.db")
    next_one = replace(settings, release_id="v2")
    async with open_services(settings, with_model=False) as services:
        for one in (settings, settings, next_one, settings):
            await migrate(one, services)
        ledger = await services.store.releases(limit=9)

    assert [one.id for one in ledger] == [__version__, "v2", __version__]
    assert [replace(one, at_us=0) for one in ledger[:2]] == [
        this_release(settings, serves=SCHEMA),
        this_release(next_one, serves=SCHEMA),
    ]


async def test_an_older_release_works_on_a_newer_schema_that_serves_it(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "a.db")
    async with open_services(settings, with_model=False) as services:
        await migrate(settings, services)
        async with services.store.write() as tx:
            await tx.execute("update twelvefold_version set version_num = '9999'")
        await services.store.add_release(Release("v9", "9.0", "", "9999", SCHEMA))

        await prepare(settings, services)
        assert await migrate(settings, services) == ["workflow enrolment"]
        ledger = await services.store.releases(limit=2)

    assert [(one.id, one.level, one.serves) for one in ledger] == [
        (__version__, "9999", SCHEMA),
        ("v9", "9999", SCHEMA),
    ]


async def test_an_older_release_rejects_an_incompatible_newer_schema(
    tmp_path: Path,
) -> None:
    settings = settings_for(tmp_path / "a.db")
    async with open_services(settings, with_model=False) as services:
        await migrate(settings, services)
        async with services.store.write() as tx:
            await tx.execute("update twelvefold_version set version_num = '9999'")
        await services.store.add_release(Release("v9", "9.0", "", "9999", "9998"))

        with pytest.raises(SettingsError, match="the schema is at 9999"):
            await prepare(settings, services)
        with pytest.raises(
            StoreRefused, match="at revision 9999, which this release does not know"
        ):
            await migrate(settings, services)


@pytest.mark.mysql
def test_a_server_is_migrated_only_by_the_command(mysql_url: str) -> None:
    settings = Settings(database_url=mysql_url)

    async def migrate_twice() -> None:
        async with open_services(settings, with_model=False) as services:
            with pytest.raises(SettingsError, match="run `twelvefold migrate`"):
                await prepare(settings, services)

            revisions = [f"{number:04}" for number in range(1, int(SCHEMA) + 1)]
            assert await migrate(settings, services) == [*revisions, "workflow enrolment"]
            assert await migrate(settings, services) == ["workflow enrolment"]
            await prepare(settings, services)

            assert await count_sections(services.store) == 0

    asyncio.run(migrate_twice())


async def _is_finished(settings: Settings) -> bool:
    async with open_services(settings, with_model=False) as services:
        return await services.gate.is_open()


@pytest.mark.mysql
async def test_a_new_database_serves_no_older_release(mysql_url: str) -> None:
    settings = Settings(database_url=mysql_url)
    async with open_services(settings, with_model=False) as services:
        await migrate(settings, services)
        await migrate(settings, services)

    assert await _is_finished(settings)


@pytest.mark.mysql
async def test_an_upgraded_database_serves_the_older_release_until_it_is_finished(
    mysql_url: str,
) -> None:
    settings = Settings(database_url=mysql_url)
    await migrate_store(mysql_url, revision="0005")
    async with open_services(settings, with_model=False) as services:
        await services.store.add_release(Release("old", "0.1.0", "", "0005", "0003"))

        await migrate(settings, services)

        assert await services.store.schema() == Schema(SCHEMA, SERVES)
        assert not await services.gate.is_open()
        await migrate(settings, services, finish=True)
        assert await services.store.schema() == Schema(SCHEMA, SCHEMA)
        await migrate(settings, services)
    assert await _is_finished(settings)


@pytest.mark.mysql
async def test_a_schema_whose_release_is_not_recorded_is_not_finished(mysql_url: str) -> None:
    """The migration was killed before it wrote the ledger; older processes may work."""
    settings = Settings(database_url=mysql_url)
    await migrate_store(mysql_url)

    assert not await _is_finished(settings)


async def test_a_file_of_an_older_release_is_finished_at_once(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "a.db")
    await migrate_store(settings.database_url, revision="0005")
    async with open_services(settings, with_model=False) as services:
        await services.store.add_release(Release("old", "0.1.0", "", "0005", "0003"))

        await prepare(settings, services)

    assert await _is_finished(settings)


async def test_a_file_whose_release_was_not_recorded_is_finished(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "a.db")
    await migrate_store(settings.database_url)
    async with open_services(settings, with_model=False) as services:
        await prepare(settings, services)

    assert await _is_finished(settings)
