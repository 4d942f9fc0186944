"""The table of settings with the values that are in force, secrets masked."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from twelvefold.config import as_named, variables
from twelvefold.config.parse import masked

HUSH = ("HEADERS", "KEY", "PASSWORD", "SECRET", "TOKEN")


@dataclass(frozen=True, slots=True)
class SettingRow:
    """A variable as the operator sees it; `given` is False for a default."""

    name: str
    value: str
    given: bool
    meaning: str


def setting_rows(environ: Mapping[str, str]) -> Iterator[SettingRow]:
    """Every variable of the table, then those of OpenTelemetry that are set."""
    given = as_named(environ)
    for variable in variables():
        found = given.get(variable.name, "")
        value = masked(found) if variable.secret else found
        yield SettingRow(variable.name, value or variable.default, bool(found), variable.meaning)
    for name in sorted(environ):
        if name.startswith("OTEL_") and environ[name].strip():
            value = "****" if name.endswith(HUSH) else masked_url(environ[name])
            yield SettingRow(name, value, True, "read by OpenTelemetry")


def masked_url(value: str) -> str:
    """The value, without the passwords if it is a URL."""
    return masked(value) if "://" in value else value
