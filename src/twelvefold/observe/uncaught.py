"""What Python itself would print to standard error, as log lines: uncaught exceptions, warnings.

Python prints messages and source lines, which may hold arguments and keys.
"""

import sys
import threading
import warnings
from types import TracebackType
from typing import TextIO

from twelvefold.observe.log import get_logger

log = get_logger(__name__)


def log_uncaught() -> None:
    """Log what is raised where nothing catches it, in any thread, and what `warnings` shows.

    For a process that is Twelvefold's alone: the hooks stay until its end.
    """
    sys.excepthook = _uncaught
    sys.unraisablehook = _unraisable
    threading.excepthook = _thread_failed
    warnings.showwarning = _warned


def _uncaught(
    kind: type[BaseException], error: BaseException, frames: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    log.failure("uncaught_exception", error)


def _unraisable(found: "sys.UnraisableHookArgs") -> None:
    if found.exc_value is not None:
        log.failure("ignored_exception", found.exc_value)


def _thread_failed(found: threading.ExceptHookArgs) -> None:
    if found.exc_value is not None:
        log.failure("thread_failed", found.exc_value)


def _warned(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    log.warning("python_warning", kind=category.__name__, where=f"{filename}, line {lineno}")
