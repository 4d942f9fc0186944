"""Logs uncaught exceptions and warnings, which Python would print to standard error.

Python prints messages and source lines, which may contain arguments and keys.
"""

import sys
import threading
import warnings
from types import TracebackType
from typing import TextIO

from twelvefold.observe.log import get_logger

log = get_logger(__name__)


def log_uncaught() -> None:
    """Log uncaught exceptions of all threads, and warnings.

    For a process that runs only Twelvefold: the hooks are never removed.
    """
    sys.excepthook = _log_uncaught
    sys.unraisablehook = _log_unraisable
    threading.excepthook = _log_thread_failure
    warnings.showwarning = _log_warning


def _log_uncaught(
    kind: type[BaseException], error: BaseException, frames: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    log.failure("uncaught_exception", error)


def _log_unraisable(found: "sys.UnraisableHookArgs") -> None:
    if found.exc_value is not None:
        log.failure("ignored_exception", found.exc_value)


def _log_thread_failure(found: threading.ExceptHookArgs) -> None:
    if found.exc_value is not None:
        log.failure("thread_failed", found.exc_value)


def _log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    log.warning("python_warning", kind=category.__name__, where=f"{filename}, line {lineno}")
