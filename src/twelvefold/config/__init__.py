"""Every setting, parsed once and documented once in the class `Settings`.

Below `boot` nothing reads settings: functions take values. docs/decisions/010-settings.md has the
reasons for not using pydantic-settings.
"""

from twelvefold.config.hints import misspelt, unused
from twelvefold.config.models import NamedModel, key_variables, masked_models
from twelvefold.config.parse import masked
from twelvefold.config.settings import Settings, list_variables
from twelvefold.config.variables import MYSQL, Variable, normalise

__all__ = [
    "MYSQL",
    "NamedModel",
    "Settings",
    "Variable",
    "key_variables",
    "list_variables",
    "masked",
    "masked_models",
    "misspelt",
    "normalise",
    "unused",
]
