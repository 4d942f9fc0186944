"""`twelvefold version`: this release, and the releases that were installed on the database."""

from collections.abc import Mapping, Sequence

from twelvefold import __version__
from twelvefold.boot import SCHEMA, commit, release_of
from twelvefold.cli.command import DONE, CommandContext, command, configure
from twelvefold.cli.output import format_time, print_json, print_table
from twelvefold.core import Release


def version(environ: Mapping[str, str], *, history: bool, limit: int, as_json: bool) -> int:
    """Print this release, or the releases recorded in the database."""
    if history:
        return _print_history(environ, limit=limit, as_json=as_json)
    settings = configure(environ, level="warning")
    release = release_of(settings)
    if as_json:
        facts = {"version": __version__, "commit": commit(), "release": release, "schema": SCHEMA}
        print_json(facts)
    else:
        built = f"commit {commit()}" if commit() else "a working copy"
        print(f"twelvefold {__version__} ({built}), release {release}, schema {SCHEMA}")
    return DONE


@command()
async def _print_history(context: CommandContext, *, limit: int, as_json: bool) -> int:
    releases = await context.services.store.releases(limit=limit)
    if as_json:
        for release in releases:
            print_json(_release_json(release))
    else:
        heads = ("RELEASE", "VERSION", "COMMIT", "SCHEMA", "INSTALLED (UTC)")
        print_table(heads, map(_release_cells, releases))
    return DONE


def _release_json(release: Release) -> Mapping[str, object]:
    return {
        "release": release.id,
        "version": release.version,
        "commit": release.commit,
        "schema": release.level,
        "serves": release.serves,
        "at_us": release.at_us,
    }


def _release_cells(release: Release) -> Sequence[str]:
    return (
        release.id,
        release.version,
        release.commit[:12],
        release.level,
        format_time(release.at_us),
    )
