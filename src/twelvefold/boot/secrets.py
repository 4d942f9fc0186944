"""The secrets of the settings that are in files."""

from dataclasses import replace

from twelvefold.config import NamedModel, Settings
from twelvefold.config.parse import header, url_with_password
from twelvefold.errors import SettingsError
from twelvefold.secret_file import SecretFile


def database_password(settings: Settings) -> SecretFile | None:
    """Return the file with the password of DATABASE_URL, None if the URL has it."""
    return _open("DATABASE_PASSWORD_FILE", settings.database_password_file)


def with_password(settings: Settings) -> Settings:
    """Return the settings with the current password of the database in DATABASE_URL."""
    if (file := database_password(settings)) is None:
        return settings
    url = url_with_password(settings.database_url, file.value())
    return replace(settings, database_url=url, database_password_file="")


def smtp_password(settings: Settings) -> SecretFile | None:
    """Return the file with the password of SMTP_URL, None if the URL has it."""
    return _open("SMTP_PASSWORD_FILE", settings.smtp_password_file)


def broker_password(settings: Settings) -> SecretFile | None:
    """Return the file with the password of BROKER_URL, None if the URL has it."""
    return _open("BROKER_PASSWORD_FILE", settings.broker_password_file)


def openai_key(settings: Settings) -> SecretFile | None:
    """Return the file with the key of the default model, None if there is none."""
    return _open_key("OPENAI_API_KEY_FILE", settings.openai_api_key_file)


def key_of(named: NamedModel) -> SecretFile | None:
    """Return the file with the key of a named model, None if there is none."""
    return _open_key(f"MODELS: {named.name}: key_file", named.key_file)


def check_keys(settings: Settings) -> None:
    """Raise SettingsError with a line for each file that has no key: models open theirs later."""
    problems: list[str] = []
    for file in (openai_key(settings), *map(key_of, settings.models)):
        try:
            _ = file and file.value()
        except SettingsError as error:
            problems += error.problems
    if problems:
        raise SettingsError(*problems)


def _open(variable: str, path: str) -> SecretFile | None:
    return SecretFile(variable, path) if path else None


def _open_key(variable: str, path: str) -> SecretFile | None:
    return SecretFile(variable, path, lambda key: header(key.strip())) if path else None
