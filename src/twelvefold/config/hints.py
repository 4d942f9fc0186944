"""Warnings about variables that have no effect."""

from collections.abc import Collection, Iterable, Mapping

from twelvefold.config.settings import list_variables
from twelvefold.config.variables import MYSQL_NAMES

SIMILARITY = 0.87
"""difflib's ratio: accepts one missing letter of eight, rejects a different word of four."""


def misspelt(names: Iterable[str], keys: Collection[str] = ()) -> list[str]:
    """Return a warning for each name that is almost the name of a setting.

    `keys` are the variables that MODELS names for keys.
    """
    known = [variable.name for variable in list_variables()]
    unknown = [name for name in names if name not in known and name not in keys]
    if not unknown:
        return []
    from difflib import get_close_matches

    close = {name: get_close_matches(name, known, n=1, cutoff=SIMILARITY) for name in unknown}
    return [
        f"unknown variable {name}; did you mean {found[0]}?"
        for name, found in close.items()
        if found
    ]


def unused(environ: Mapping[str, str]) -> list[str]:
    """Return a warning for settings that have no effect because of another one."""
    names = sorted(name for name in MYSQL_NAMES if environ.get(name))
    if not environ.get("DATABASE_URL") or not names:
        return []
    return [f"{', '.join(names)}: not used, since DATABASE_URL is set"]
