"""Connections with a password from a file, which may be replaced while the process runs.

Connections that are open when the password changes continue: a server checks it once.
"""

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import asyncmy

from twelvefold.secret_file import SecretFile
from twelvefold.services.store.mysql.errors import parse_error

REFUSED = {1045, 1698, 1862}
"""Access denied, for the account or because it has no password, and: the password has expired."""
RENEWAL_S = 120.0
"""How long a server may refuse the password until its file is replaced. A kubelet replaces the
files of a secret within about a minute and a half."""
Connect = Callable[..., Awaitable[Any]]


class ArgumentsWithFile(Mapping[str, Any]):
    """The driver's arguments for one server, with the current password of a file."""

    def __init__(self, arguments: Mapping[str, Any], password: SecretFile) -> None:
        self._arguments = arguments
        self._password = password
        self["password"]  # raises SettingsError if the file has none

    def __getitem__(self, name: str) -> Any:
        # As bytes: the driver would encode text as Latin-1.
        return self._password.value().encode() if name == "password" else self._arguments[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arguments)

    def __len__(self) -> int:
        return len(self._arguments)

    def is_renewed(self, refused: bytes, tried_at: float, error: Exception) -> bool:
        """Return whether a server has refused the password and the file has another one."""
        return is_refused(error) and self._password.is_replaced(refused.decode(), tried_at)


def is_refused(error: Exception) -> bool:
    """Return whether a server has refused a password."""
    return parse_error(error)[0] in REFUSED


async def connect(
    arguments: Mapping[str, Any], driver: Connect = asyncmy.connect, **more: object
) -> Any:
    """Connect; once more if the password was refused and its file has another one."""
    given, tried_at = {**arguments, **more}, time.monotonic()
    try:
        return await driver(**given)
    except Exception as error:
        if not isinstance(arguments, ArgumentsWithFile):
            raise
        if not arguments.is_renewed(given["password"], tried_at, error):
            raise
    return await driver(**{**arguments, **more})
