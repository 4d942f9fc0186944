"""Secrets in files that are replaced while a process runs, such as a mounted Kubernetes secret."""

import os
import stat
import threading
import time
from collections.abc import Callable

from twelvefold.errors import SettingsError
from twelvefold.observe.log import get_logger

log = get_logger(__name__)
MAX_BYTES = 65_536


class SecretFile:
    """The secret in the file that a variable `…_FILE` names.

    The file is read again when it has changed. While it is missing, empty or not readable, the last
    secret stays in use. Line breaks at the end are not part of it. `parse` raises ValueError for a
    secret that cannot be used. Processes and threads may share one.
    """

    def __init__(self, variable: str, path: str, parse: Callable[[str], str] = str) -> None:
        self.variable = variable
        self._path = path
        self._parse = parse
        self._lock = threading.Lock()
        self._version: object = None
        self._read_at = 0.0
        self._problem = ""
        self._known: list[str] = []

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretFile):
            return NotImplemented
        return (self.variable, self._path) == (other.variable, other._path)

    def __hash__(self) -> int:
        return hash((self.variable, self._path))

    def __repr__(self) -> str:
        return f"SecretFile({self.variable!r}, {self._path!r})"

    @property
    def known(self) -> tuple[str, ...]:
        """The current secret and the one before it, to mask in texts of a server."""
        return tuple(self._known)

    def value(self) -> str:
        """Return the secret. Raises SettingsError if the file never had one."""
        with self._lock:
            if not self._known or self._is_changed():
                self._read()
            return self._current()

    def is_replaced(self, refused: str, tried_at: float) -> bool:
        """Return whether the secret is another one than the one that a server has refused.

        Reads the file, unless it was read since `tried_at` by the monotonic clock, so that many
        refusals at once read it once.
        """
        with self._lock:
            if self._current() == refused and self._read_at <= tried_at:
                self._read()
            return self._current() != refused

    def _current(self) -> str:
        if not self._known:
            raise SettingsError(f"{self.variable}: {self._path}: {self._problem}")
        return self._known[0]

    def _is_changed(self) -> bool:
        # Follows symbolic links, so that the swap of a mounted secret's directory is a change.
        try:
            return _version_of(os.stat(self._path)) != self._version
        except OSError:
            return self._version is not None

    def _read(self) -> None:
        """Read the file. A problem is logged once; it leaves the secret as it was."""
        self._read_at, version = time.monotonic(), None
        try:
            version, secret = _read(self._path)
            secret = self._parse(secret)
        except (OSError, ValueError) as error:
            self._report(_describe(error))
        else:
            self._problem = ""
            if self._known and secret != self._known[0]:
                log.info("secret_replaced", variable=self.variable)
            self._known = [secret, *(one for one in self._known[:1] if one != secret)]
        self._version = version

    def _report(self, problem: str) -> None:
        if self._known and problem != self._problem:
            log.warning("secret_not_read", variable=self.variable, file=self._path, error=problem)
        self._problem = problem


def secret_value(secret: str | SecretFile) -> str:
    """Return a secret of a setting, or the current one of its file."""
    return secret if isinstance(secret, str) else secret.value()


def _read(path: str) -> tuple[object, str]:
    """Return the version of a file and its secret. Raises OSError and ValueError."""
    # Without O_NONBLOCK the open of a pipe waits for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:  # closes it
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a regular file")
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES} bytes, so it is not a secret")
    return _version_of(status), _decode(content)


def _decode(content: bytes) -> str:
    try:
        secret = content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        # From None: the error has the secret.
        raise ValueError("it is not UTF-8 text") from None
    if not secret:
        raise ValueError("it is empty")
    return secret


def _version_of(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size


def _describe(error: Exception) -> str:
    return f"cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
