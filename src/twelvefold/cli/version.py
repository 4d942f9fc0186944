"""`twelvefold version`: which release this is, and which ones were put in place before."""

from collections.abc import Mapping, Sequence

from twelvefold import __version__
from twelvefold.boot import SCHEMA, commit, release_of
from twelvefold.cli.command import DONE, CommandContext, begin, command
from twelvefold.cli.output import print_json, print_table, when
from twelvefold.core.ports import Release


def version(environ: Mapping[str, str], *, history: bool, limit: int, as_json: bool) -> int:
    """Print what this release is, or the ledger of the database."""
    if history:
        return _history(environ, limit=limit, as_json=as_json)
    settings = begin(environ, level="warning")
    if as_json:
        print_json(
            {
                "version": __version__,
                "commit": commit(),
                "release": release_of(settings),
                "schema": SCHEMA,
            }
        )
    else:
        built = f"commit {commit()}" if commit() else "a working copy"
        print(
            f"twelvefold {__version__} ({built}), release {release_of(settings)}, schema {SCHEMA}"
        )
    return DONE


@command()
async def _history(desk: CommandContext, *, limit: int, as_json: bool) -> int:
    releases = await desk.services.store.releases(limit=limit)
    if as_json:
        for release in releases:
            print_json(_facts(release))
    else:
        heads = ("RELEASE", "VERSION", "COMMIT", "SCHEMA", "PUT IN PLACE (UTC)")
        print_table(heads, map(_cells, releases))
    return DONE


def _facts(release: Release) -> Mapping[str, object]:
    return {
        "release": release.id,
        "version": release.version,
        "commit": release.commit,
        "schema": release.level,
        "serves": release.serves,
        "at_us": release.at_us,
    }


def _cells(release: Release) -> Sequence[str]:
    return (
        release.id,
        release.version,
        release.commit[:12],
        release.level,
        when(release.at_us),
    )
