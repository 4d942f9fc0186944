"""Factor XII, admin processes: one-off commands of the same release; web never changes a table."""

import json

from twelvefold import __version__
from twelvefold.errors import StoreFailed, StoreRefused
from twelvefold.factors.harness import EXIT_BAD_SETTINGS, FakeModelServer, Report, TestBed
from twelvefold.factors.harness.runs import fetch_count

COUNT_TABLES = "select count(*) as n from information_schema.tables where table_schema = database()"


async def check_admin_processes(bed: TestBed, report: Report) -> None:
    url = await bed.databases.create_empty()
    async with FakeModelServer().serve() as model:
        settings = bed.process_settings(url, model)
        if bed.databases.is_embedded:
            await _check_commands(bed, report, settings)
            report.mark_not_claimed(
                "the embedded file is migrated by every command that opens it and has no users; "
                "on a server, web and worker never migrate"
            )
            return
        await _check_no_migration(bed, report, settings)
        await _check_commands(bed, report, settings)
        await _check_without_ddl(bed, report, settings)


async def _check_no_migration(bed: TestBed, report: Report, settings: dict[str, str]) -> None:
    """Expect that web and worker exit on an empty database and create no table."""
    settings = {**settings, "PORT": str(bed.processes.free_port())}
    started = [await bed.processes.start(one, settings=settings) for one in ("web", "worker")]
    for process in started:
        try:
            await process.wait()
        except TimeoutError:
            report.fail(f"{process.name} keeps running on an empty database")
    async with bed.databases.open_services(settings["DATABASE_URL"]) as services:
        tables = await fetch_count(services, COUNT_TABLES)
    statuses = [process.exit_status for process in started]
    report.expect(
        statuses == [EXIT_BAD_SETTINGS] * 2 and not tables,
        f"on an empty database web and worker exited with {EXIT_BAD_SETTINGS} and created no "
        f"table: {started[0].last_line}",
        f"on an empty database web and worker exited with {statuses} ({started[0].last_line}); "
        f"the database has {tables} tables",
    )


async def _check_commands(bed: TestBed, report: Report, settings: dict[str, str]) -> None:
    migrate = await bed.processes.run("migrate", settings=settings)
    applied = migrate.output.splitlines()
    report.expect(
        migrate.exit_status == 0 and bool(applied),
        f"`twelvefold migrate` created the tables: {', '.join(applied)}",
        f"`twelvefold migrate` exited with {migrate.exit_status}: {migrate.last_line}",
    )
    run = await bed.processes.run("run", "book admin", settings=settings)
    listed = await bed.processes.run("runs", "list", "--json", settings=settings)
    release = json.loads(listed.output or "{}").get("release", "")
    statuses = [run.exit_status, listed.exit_status]
    report.expect(
        statuses == [0, 0] and release == __version__,
        f"`run` and `runs list` then worked as one-off processes of release {release}",
        f"`run` and `runs list` exited with {statuses}; the release is {release!r}",
    )


async def _check_without_ddl(bed: TestBed, report: Report, settings: dict[str, str]) -> None:
    """Expect that web and worker only need to read and write rows."""
    try:
        url = await bed.databases.create_user_without_ddl(settings["DATABASE_URL"])
    except (StoreRefused, StoreFailed) as error:
        report.mark_not_claimed(
            f"a user without DDL could not be tested: the database user may not create it ({error})"
        )
        return
    web = await bed.processes.start_web(
        {**settings, "DATABASE_URL": url, "WEB_DRIVES": "background"}
    )
    response = await web.http.post("/v1/responses", model="bookings", input="book limited")
    report.expect(
        response.body.get("status") == "completed",
        "web, as a worker too, completed a run with a database user that has only SELECT, INSERT, "
        "UPDATE and DELETE",
        f"with a database user without DDL a run returned HTTP {response.status}: "
        f"{response.text[:200]}",
    )
