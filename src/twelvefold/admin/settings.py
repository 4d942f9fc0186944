"""The table of settings with their current values, secrets masked."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from twelvefold.config import list_variables, masked, masked_models, normalise

SECRET_SUFFIXES = ("HEADERS", "KEY", "PASSWORD", "SECRET", "TOKEN")


@dataclass(frozen=True, slots=True)
class SettingRow:
    """A variable with the value to show; `is_set` is False for a default."""

    name: str
    value: str
    is_set: bool
    meaning: str


def setting_rows(environ: Mapping[str, str]) -> Iterator[SettingRow]:
    """Return every variable of the table, then those of OpenTelemetry that are set."""
    values = normalise(environ)
    for variable in list_variables():
        text = values.get(variable.name, "")
        mask = masked_models if variable.field == "models" else masked
        value = mask(text) if text and variable.secret else text
        yield SettingRow(variable.name, value or variable.default, bool(text), variable.meaning)
    for name in sorted(environ):
        if name.startswith("OTEL_") and environ[name].strip():
            value = "****" if name.endswith(SECRET_SUFFIXES) else _mask_url(environ[name])
            yield SettingRow(name, value, True, "of OpenTelemetry, for traces")


def _mask_url(value: str) -> str:
    return masked(value) if "://" in value else value
