"""The one-off commands: migrate, seed, settings, doctor, prune, shell."""

import sys
from collections.abc import Mapping
from pathlib import Path

from twelvefold import __version__
from twelvefold.admin.migrate import migrate as migrate_database
from twelvefold.admin.seed import seed as seed_workflow
from twelvefold.admin.settings import setting_rows
from twelvefold.admin.threads import prune as prune_threads
from twelvefold.boot import embedded_file, journal_sql, read_environment
from twelvefold.cli.command import DONE, FAILED, CommandContext, command, has_colour
from twelvefold.cli.output import print_json, print_table
from twelvefold.cli.run import default_workflow
from twelvefold.config import Settings
from twelvefold.engine import find_prices
from twelvefold.errors import RequestError
from twelvefold.observe.escape import escape

PROGRESS_BAR_WIDTH = 30
LEVEL_COLOURS = {"ok": "32", "warn": "33", "fail": "31"}


@command(prepared=False)
async def migrate(context: CommandContext, *, sql: bool, since: str, finish: bool) -> int:
    """Migrate the database to this release's schema, or print the SQL for it."""
    if sql:
        print(journal_sql(context.settings, since, finish=finish).rstrip())
        for workflow in context.services.workflows.values():
            print(f"\n-- workflow {workflow.name}\n{workflow.schema.strip()}")
        return DONE
    for step in await migrate_database(context.settings, context.services, finish=finish):
        print(f"applied {step}")
    return DONE


@command()
async def seed(context: CommandContext, *, workflow: str | None, file: str | None) -> int:
    """Fill the tables of a workflow, in one transaction."""
    workflows = context.services.workflows
    name = workflow or default_workflow(context.services)
    if name not in workflows:
        raise RequestError(f"no workflow {name!r}; there are {', '.join(workflows)}")
    path = Path(file) if file else None
    records = await seed_workflow(context.services.store, workflows[name], path, _show_progress)
    print(f"{records} records added to the tables of {name}")
    return DONE


def _show_progress(done: int, total: int) -> None:
    if not sys.stderr.isatty() or (done % 100 and done < total):
        return
    filled = PROGRESS_BAR_WIDTH * done // total
    bar = f"{'#' * filled}{'.' * (PROGRESS_BAR_WIDTH - filled)}"
    end = "\n" if done == total else ""
    sys.stderr.write(f"\r[{bar}] {done}/{total}{end}")
    sys.stderr.flush()


def settings(environ: Mapping[str, str], *, as_json: bool) -> int:
    """Print every setting with its current value. Raises SettingsError for invalid ones."""
    variables = read_environment()
    table = []
    for row in setting_rows(environ):
        origin = ("environment" if row.name in variables else ".env") if row.is_set else "default"
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
async def doctor(context: CommandContext, *, as_json: bool) -> int:
    """Check the configuration and the services. The status is 1 if a check failed."""
    from twelvefold.admin.doctor import examine

    colours = LEVEL_COLOURS if has_colour(sys.stdout, context.environ) else {}
    failures = 0
    async for finding in examine(context.settings, context.services, context.environ):
        failures += finding.level == "fail"
        if as_json:
            print_json({"level": finding.level, "what": finding.what, "found": finding.found})
            continue
        level = f"{finding.level:<5}"
        if code := colours.get(finding.level):
            level = f"\x1b[{code}m{level}\x1b[0m"
        print(f"{level} {finding.what:<20} {escape(finding.found)}", flush=True)
    return FAILED if failures else DONE


@command()
async def prune(context: CommandContext, *, older_than_s: float) -> int:
    """Remove conversations that ended long ago, and old events."""
    services = context.services
    removed = await prune_threads(services.store, older_than_s, await find_prices(services))
    print(f"{removed} conversations removed")
    return DONE


@command(with_model=True)
async def shell(context: CommandContext) -> int:
    """Open a Python prompt with the services."""
    from twelvefold.admin.shell import open_shell

    database = embedded_file(context.settings) or "the server of DATABASE_URL"
    hint = "use services, store, workflows, await; Ctrl-D exits"
    await open_shell(context.services, f"Twelvefold {__version__} on {database}: {hint}")
    return DONE
