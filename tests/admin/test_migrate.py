"""Databases are brought up to date: a server's on demand, the embedded file by itself."""

import asyncio
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from twelvefold import Settings, Transaction, Workflow, __version__, open_services
from twelvefold.admin.migrate import migrate, prepare
from twelvefold.boot import SCHEMA, this_release
from twelvefold.core.ports import Release, Schema, Store
from twelvefold.errors import SettingsError, StoreRefused
from twelvefold.services.store.migrate import SERVES

SOURCE = Path(__file__).resolve().parents[2] / "src"


async def sections(store: Store) -> int:
    async with store.read() as db:
        row = await db.fetch_one("select count(*) as found from sections")
    return int(row["found"]) if row else 0


def settings_for(path: Path) -> Settings:
    return Settings(database_url=f"sqlite:///{path}")


async def test_a_new_file_gets_tables_and_the_workflows_own_records(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "a.db")

    async with open_services(settings, with_model=False) as services:
        await prepare(settings, services)

        assert await services.store.schema() == Schema(SCHEMA, SERVES)
        assert await sections(services.store) > 10


async def test_a_file_that_is_there_is_not_seeded_again(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "a.db")
    async with open_services(settings, with_model=False) as services:
        await prepare(settings, services)
        async with services.store.write() as tx:
            await tx.execute("delete from meetings")
            await tx.execute("delete from sections")

        await prepare(settings, services)

        assert await sections(services.store) == 0


async def test_a_workflow_that_comes_later_gets_its_tables(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "a.db")
    async with open_services(settings, with_model=False) as services:
        await prepare(settings, services)
        later = Workflow("later", "", (), schema="create table if not exists late (a int);")
        services.workflows["later"] = later  # type: ignore[index] # the services' own dict

        await prepare(settings, services)

        async with services.store.read() as db:
            assert await db.fetch_all("select * from late") == []


async def test_sql_that_is_wrong_names_its_workflow(tmp_path: Path) -> None:
    async def seed(tx: Transaction, _: object) -> int:
        return await tx.execute("insert into nowhere values (1)")

    settings = settings_for(tmp_path / "a.db")
    async with open_services(settings, with_model=False) as services:
        for late, said in (
            (Workflow("late", "", (), schema="create tabel late (a int);"), "its schema: near"),
            (Workflow("late", "", (), seed=seed), "its seed: no such table: nowhere"),
        ):
            with pytest.raises(StoreRefused, match=f"workflow late: {said}"):
                await prepare(settings, replace(services, workflows={"late": late}))


async def test_a_workflow_that_comes_later_gets_its_records(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "a.db")
    async with open_services(settings, with_model=False) as services:
        other = Workflow("other", "", ())
        await prepare(settings, replace(services, workflows={"other": other}))

        await prepare(settings, services)

        assert await sections(services.store) > 10


async def test_a_process_that_dies_before_the_records_leaves_them_to_the_next(
    tmp_path: Path,
) -> None:
    async def dies(tx: Transaction, records: object = None) -> int:
        await tx.execute("insert into late values (1)")
        raise KeyboardInterrupt

    async def seeds(tx: Transaction, records: object = None) -> int:
        return await tx.execute("insert into late values (2)")

    settings = settings_for(tmp_path / "a.db")
    table = "create table if not exists late (a int);"
    async with open_services(settings, with_model=False) as services:
        for seed in (dies, seeds, seeds):
            late = Workflow("late", "", (), schema=table, seed=seed)
            with suppress(KeyboardInterrupt):
                await prepare(settings, replace(services, workflows={"late": late}))

        async with services.store.read() as db:
            assert await db.fetch_all("select a from late") == [{"a": 2}]


async def test_who_comes_second_waits_for_the_records(tmp_path: Path) -> None:
    begun, order = asyncio.Event(), []

    async def seeds(tx: Transaction, records: object = None) -> int:
        begun.set()
        await asyncio.sleep(0.3)
        order.append("seeded")
        return 0

    async def prepared() -> None:
        settings, slow = settings_for(tmp_path / "a.db"), Workflow("slow", "", (), seed=seeds)
        async with open_services(settings, with_model=False) as services:
            await prepare(settings, replace(services, workflows={"slow": slow}))
            order.append("prepared")

    async with asyncio.TaskGroup() as group:
        group.create_task(prepared())
        await begun.wait()
        await asyncio.to_thread(asyncio.run, prepared())

    assert order == ["seeded", "prepared", "prepared"]


def test_of_many_that_start_on_a_new_file_one_prepares_it(tmp_path: Path) -> None:
    environ = {
        **os.environ,
        "PYTHONPATH": str(SOURCE),
        "DATABASE_URL": f"sqlite:///{tmp_path}/a.db",
    }
    command = [sys.executable, "-m", "twelvefold", "runs", "list"]
    processes = [
        subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, cwd=tmp_path)
        for _ in range(4)
    ]

    for process in processes:
        _, err = process.communicate(timeout=60)

        assert (process.returncode, err) == (0, b"")


async def test_a_file_without_a_directory_is_refused(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "none" / "a.db")

    async with open_services(settings, with_model=False) as services:
        with pytest.raises(SettingsError, match=f"there is no directory {tmp_path}/none"):
            await prepare(settings, services)


async def test_a_file_of_a_newer_release_is_left_alone(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "a.db")
    async with open_services(settings, with_model=False) as services:
        await prepare(settings, services)
        async with services.store.write() as tx:
            await tx.execute("update twelvefold_version set version_num = '9999'")

        with pytest.raises(SettingsError, match="the schema is at 9999"):
            await prepare(settings, services)


async def test_a_release_that_is_put_in_place_is_written_down_once(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "a.db")
    next_one = replace(settings, release_id="v2")
    async with open_services(settings, with_model=False) as services:
        for one in (settings, settings, next_one, settings):
            await migrate(one, services)
        ledger = await services.store.releases(limit=9)

    assert [one.id for one in ledger] == [__version__, "v2", __version__]
    assert [replace(one, at_us=0) for one in ledger[:2]] == [
        this_release(settings),
        this_release(next_one),
    ]


async def test_a_release_is_put_back_on_the_schema_of_a_newer_one(tmp_path: Path) -> None:
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


async def test_a_release_is_not_put_back_on_a_schema_that_does_not_serve_it(tmp_path: Path) -> None:
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
def test_a_server_is_migrated_only_when_told(mysql_url: str) -> None:
    settings = Settings(database_url=mysql_url)

    async def story() -> None:
        async with open_services(settings, with_model=False) as services:
            with pytest.raises(SettingsError, match="run `twelvefold migrate`"):
                await prepare(settings, services)

            assert await migrate(settings, services) == [
                "0001",
                "0002",
                "0003",
                "0004",
                SCHEMA,
                "workflow enrolment",
            ]
            assert await migrate(settings, services) == ["workflow enrolment"]
            await prepare(settings, services)

            assert await sections(services.store) == 0

    asyncio.run(story())
