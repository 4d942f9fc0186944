"""The one-off commands: migrate, seed, settings, doctor, prune, shell."""

import sys
from collections.abc import Mapping
from pathlib import Path

from twelvefold import __version__
from twelvefold.admin.migrate import migrate as migrate_database
from twelvefold.admin.prune import prune as prune_threads
from twelvefold.admin.seed import seed as seed_workflow
from twelvefold.admin.settings import setting_rows
from twelvefold.boot import embedded_file, environment, journal_sql
from twelvefold.cli.command import DONE, FAILED, CommandContext, command, has_colour
from twelvefold.cli.output import print_json, print_table
from twelvefold.cli.run import default_workflow
from twelvefold.config import Settings
from twelvefold.errors import RequestError
from twelvefold.observe.escape import escape

BAR = 30


@command(prepared=False)
async def migrate(desk: CommandContext, *, sql: bool, since: str) -> int:
    """Bring the database to this release's schema, or print the SQL that would."""
    if sql:
        print(journal_sql(desk.settings, since).rstrip())
        for workflow in desk.services.workflows.values():
            print(f"\n-- workflow {workflow.name}\n{workflow.schema.strip()}")
        return DONE
    for step in await migrate_database(desk.settings, desk.services):
        print(f"applied {step}")
    return DONE


@command()
async def seed(desk: CommandContext, *, workflow: str | None, file: str | None) -> int:
    """Fill a workflow's tables, all or nothing."""
    name = workflow or default_workflow(desk.services)
    if name not in desk.services.workflows:
        known = ", ".join(desk.services.workflows)
        raise RequestError(f"no workflow {name!r}; there are {known}")
    found = desk.services.workflows[name]
    path = Path(file) if file else None
    records = await seed_workflow(desk.services.store, found, path, _progress)
    print(f"{records} records are new in the tables of {name}")
    return DONE


def _progress(done: int, total: int) -> None:
    if not sys.stderr.isatty() or (done % 100 and done < total):
        return
    filled = BAR * done // total
    end = "\n" if done == total else ""
    sys.stderr.write(f"\r[{'#' * filled}{'.' * (BAR - filled)}] {done}/{total}{end}")
    sys.stderr.flush()


def settings(environ: Mapping[str, str], *, as_json: bool) -> int:
    """List every setting with the value in force; what is wrong with them is told below."""
    outside = environment()
    table = []
    for row in setting_rows(environ):
        origin = ("environment" if row.name in outside else ".env") if row.given else "default"
        if as_json:
            print_json(
                {"name": row.name, "value": row.value, "from": origin, "meaning": row.meaning}
            )
        table.append((row.name, row.value, origin, row.meaning))
    if not as_json:
        print_table(("NAME", "VALUE", "FROM", "MEANING"), table)
    Settings.from_environ(environ)
    return DONE


@command(prepared=False)
async def doctor(desk: CommandContext, *, as_json: bool) -> int:
    """Look at everything that is attached; 1 if anything is not fit."""
    from twelvefold.admin.doctor import examine

    colours = (
        {"ok": "32", "warn": "33", "fail": "31"} if has_colour(sys.stdout, desk.environ) else {}
    )
    unfit = 0
    async for finding in examine(desk.settings, desk.services, desk.environ):
        unfit += finding.level == "fail"
        if as_json:
            print_json({"level": finding.level, "what": finding.what, "found": finding.found})
            continue
        level = f"{finding.level:<5}"
        if code := colours.get(finding.level):
            level = f"\x1b[{code}m{level}\x1b[0m"
        print(f"{level} {finding.what:<20} {escape(finding.found)}", flush=True)
    return FAILED if unfit else DONE


@command()
async def prune(desk: CommandContext, *, older_than_s: float) -> int:
    """Remove conversations that have been over, or have waited for a person, for long."""
    pruned = await prune_threads(desk.services.store, older_than_s)
    print(f"{pruned} conversations removed")
    return DONE


@command(with_model=True)
async def shell(desk: CommandContext) -> int:
    """A Python prompt with the services opened."""
    from twelvefold.admin.shell import open_shell

    where = embedded_file(desk.settings) or "the server of DATABASE_URL"
    names = "services, store, workflows are at hand; await works; Ctrl-D ends"
    await open_shell(desk.services, f"Twelvefold {__version__} on {where}: {names}")
    return DONE
