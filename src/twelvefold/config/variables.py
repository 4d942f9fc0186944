"""Environment variables: their descriptions, and a reader that collects all problems."""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from msgspec import Struct

from twelvefold.config.parse import Parse, ProblemsError, integer, masked, text

LOWER_CASE_NAMES = ("https_proxy", "http_proxy", "no_proxy")
"""Also read in lower case, which takes precedence, as in curl."""
TEST_VARIABLES = {"TWELVEFOLD_SERVICES", "TWELVEFOLD_SHARED"}
"""Read by `make` and the tests only. Other variables with the prefix TWELVEFOLD_ are errors."""
INVALID = ""
"""Stands for a value that could not be parsed; an empty variable counts as not set."""


class Variable(Struct, frozen=True):
    """A row of the table of settings. `field` is "" for a part of DATABASE_URL."""

    name: str
    parse: Parse
    meaning: str
    default: str = ""
    secret: bool = False
    field: str = ""


MYSQL = (
    Variable("MYSQL_HOST", text, "the server, if DATABASE_URL is not set", "127.0.0.1"),
    Variable("MYSQL_PORT", integer(1, 65_535), "… its port", "3306"),
    Variable("MYSQL_USER", text, "… the user"),
    Variable("MYSQL_PASSWORD", str, "… the password", secret=True),
    Variable("MYSQL_DATABASE", text, "… the database"),
    Variable("MYSQL_CHARSET", text, "… the character set of connections", "utf8mb4"),
)
MYSQL_NAMES = {variable.name for variable in MYSQL}


def normalise(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that are set, stripped; lower-case proxy variables in upper case."""
    values = {name: value.strip() for name, value in environ.items() if value.strip()}
    return values | {name.upper(): values[name] for name in LOWER_CASE_NAMES if name in values}


def default_text(default: object) -> str:
    """Return a default as the text of its variable."""
    if isinstance(default, tuple):
        return ",".join(default)
    return f"{default:g}" if isinstance(default, float) else str(default or "")


class EnvironReader:
    """Parses variables and collects every problem instead of raising at the first."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.problems: list[str] = []

    def value(self, variable: Variable) -> Any:
        """Return the parsed value, or `INVALID`."""
        found = self._values.get(variable.name, variable.default)
        try:
            return variable.parse(found)
        except ProblemsError as error:
            self.problems += [f"{variable.name}: {problem}" for problem in error.problems]
            return INVALID
        except ValueError as error:
            shown = masked(found) if variable.secret else found
            self.problems.append(f"{variable.name}: {shown!r}: {error}")
            return INVALID

    def mysql_url(self) -> str:
        """Return DATABASE_URL made of the MYSQL_* variables."""
        given = sorted(MYSQL_NAMES & self._values.keys())
        for name in ("MYSQL_USER", "MYSQL_DATABASE"):
            if name not in self._values:
                self.problems.append(f"{name}: is not set, though {given[0]} is")
        parts = {one.name: quote(str(self.value(one)), safe="") for one in MYSQL}
        host = parts["MYSQL_HOST"].replace("%3A", ":")
        login = f"{parts['MYSQL_USER']}:{parts['MYSQL_PASSWORD']}"
        address = f"{f'[{host}]' if ':' in host else host}:{parts['MYSQL_PORT']}"
        charset = parts["MYSQL_CHARSET"]
        return f"mysql://{login}@{address}/{parts['MYSQL_DATABASE']}?charset={charset}"

    def reject_unknown(self, known: Iterable[str]) -> None:
        """Report variables with the prefix TWELVEFOLD_: settings have no prefix."""
        names = list(known)
        for name in sorted(self._values.keys() - TEST_VARIABLES):
            if name.startswith("TWELVEFOLD_"):
                self.problems.append(f"{name}: unknown variable; {_suggest(name, names)}")


def _suggest(name: str, known: list[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name.removeprefix("TWELVEFOLD_"), known, n=1)
    return f"did you mean {close[0]}?" if close else "`twelvefold settings` lists all variables"
