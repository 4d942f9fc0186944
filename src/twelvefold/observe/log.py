"""Logs: an event's name and fields, one line each, through the standard library's logging.

Whoever runs the process decides what becomes of the lines; nothing here opens a file. Field
values are facts about the work, never a prompt, a reply, an argument or a key. An exception, as a
field or as a traceback, is written as `observe.exceptions` has it: without its message.
"""

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal, TextIO
from unicodedata import bidirectional

from twelvefold.observe.escape import escape, escape_json
from twelvefold.observe.exceptions import stack, summary

LogFormat = Literal["json", "text"]
LogLevel = Literal["debug", "info", "warning", "error"]
Threshold = LogLevel | Literal["none"]
"""Below which level nothing is logged; "none": nothing at all."""
LEVELS: dict[Threshold, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "none": logging.CRITICAL + 1,
}
OURS = "twelvefold"
_BOUND: ContextVar[dict[str, object] | None] = ContextVar("twelvefold_log_fields", default=None)
_RIGHT_TO_LEFT = ("R", "AL", "AN")
_QUOTED = re.compile(r'[ "\\]')
_COLOURS = {"debug": "2", "info": "36", "warning": "33", "error": "31", "critical": "31"}


class Log:
    """A logger that takes fields by name: `log.info("tool_succeeded", tool=name, took_ms=3)`."""

    __slots__ = ("_logger",)

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def debug(self, event: str, /, **fields: object) -> None:
        self._write(logging.DEBUG, event, fields)

    def info(self, event: str, /, **fields: object) -> None:
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, /, **fields: object) -> None:
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, /, **fields: object) -> None:
        self._write(logging.ERROR, event, fields)

    def exception(self, event: str, /, **fields: object) -> None:
        """An error with the traceback of the exception that is being handled."""
        self._write(logging.ERROR, event, fields, raised=True)

    def failure(self, event: str, error: BaseException, /, **fields: object) -> None:
        """An error with the traceback of an exception that was handled before."""
        self._write(logging.ERROR, event, fields, raised=error)

    def _write(
        self,
        level: int,
        event: str,
        fields: dict[str, object],
        *,
        raised: BaseException | bool = False,
    ) -> None:
        if self._logger.isEnabledFor(level):
            shown = {name: _without_message(value) for name, value in fields.items()}
            self._logger.log(level, event, exc_info=raised, extra={"fields": shown})


def get_logger(name: str) -> Log:
    """The log of a module: `log = get_logger(__name__)`."""
    return Log(logging.getLogger(name))


@contextmanager
def bind(**fields: object) -> Iterator[None]:
    """Put these fields on every line written inside, by this task and those it starts."""
    token = _BOUND.set({**(_BOUND.get() or {}), **fields})
    try:
        yield
    finally:
        _BOUND.reset(token)


def start_logging(
    stream: TextIO,
    *,
    format: LogFormat = "json",
    level: Threshold = "info",
    release: str = "",
    colour: bool = False,
) -> None:
    """Send every logger's lines, those of other libraries included, to the stream.

    `level` is for Twelvefold's own. Of others warnings and errors are written: below that HTTP
    clients and database drivers log URLs, bodies and values. A logger that code has given a level
    keeps it. A stream that has been closed at its other end loses lines and stops nothing.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_formatter(format, release, colour))
    handler.addFilter(_is_wanted)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])
    logging.raiseExceptions = False


def _is_wanted(record: logging.LogRecord) -> bool:
    if record.levelno >= logging.WARNING or _is_ours(record):
        return True
    logger: logging.Logger | None = logging.getLogger(record.name)
    while logger is not None and logger.parent is not None:
        if logger.level:
            return True
        logger = logger.parent
    return False


def _is_ours(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] == OURS


def _formatter(format: LogFormat, release: str, colour: bool) -> logging.Formatter:
    return JsonFormatter(release) if format == "json" else TextFormatter(release, colour)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `at`, `level`, `event`, `logger`, `release`, then the fields."""

    def __init__(self, release: str = "") -> None:
        super().__init__()
        self._release = {"release": release} if release else {}

    def format(self, record: logging.LogRecord) -> str:
        fixed = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname.lower(),
            "event": _event(record),
            "logger": record.name,
            **self._release,
        }
        # Twice: the first gives them their place in the line, the second makes them win.
        return _json({**fixed, **_fields(record), **self._traceback(record), **fixed})

    def _traceback(self, record: logging.LogRecord) -> dict[str, str]:
        text = _stack(record)
        return {"traceback": text} if text else {}


def _json(fields: dict[str, object]) -> str:
    """One line of JSON; what JSON has no form for is written as text."""
    try:
        line = json.dumps(fields, default=str, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        line = json.dumps({name: str(value) for name, value in fields.items()})
    return escape_json(line)


class TextFormatter(logging.Formatter):
    """A line for a person: the time of day (UTC), level, event, fields and the release.

    A traceback follows on lines of its own, each behind a bar. Nothing that a line holds breaks
    it, commands a terminal or reorders it.
    """

    def __init__(self, release: str = "", colour: bool = False) -> None:
        super().__init__()
        self._release = {"release": release} if release else {}
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        level = record.levelname.lower()
        fields = {**_fields(record), **self._release}
        pairs = (f"{_word(name)}={_word(value)}" for name, value in fields.items())
        words = [escape(_event(record)), *pairs]
        line = f"{at} {self._painted(f'{level:<7}', _COLOURS.get(level, ''))} {' '.join(words)}"
        text = _stack(record)
        # A file's or an exception's name must not look like a line of the log.
        return "".join((line, *(f"\n  | {escape(one)}" for one in text.split("\n") if text)))

    def _painted(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colour and colour else text


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {**(_BOUND.get() or {}), **getattr(record, "fields", {})}


def _event(record: logging.LogRecord) -> str:
    """What happened: of another library the first line, with no exception's message in it."""
    if _is_ours(record):
        return record.getMessage()
    if isinstance(record.args, tuple):
        record.args = tuple(map(_without_message, record.args))
    text = record.getMessage().strip().partition("\n")[0]
    # asyncio writes down tasks, handles and callbacks with their arguments and exceptions.
    return re.split(r"[(<]", text, maxsplit=1)[0].rstrip() if record.name == "asyncio" else text


def _without_message(value: object) -> object:
    return summary(value) if isinstance(value, BaseException) else value


def _stack(record: logging.LogRecord) -> str:
    error = record.exc_info[1] if record.exc_info else None
    return stack(error) if error else ""


def _word(value: object) -> str:
    """A value as one word, in quotes where it would not be one."""
    text = str(value)
    shown = escape(text)
    # Letters that are written from right to left would reorder the rest of the line.
    plain = shown == text and not any(bidirectional(one) in _RIGHT_TO_LEFT for one in text)
    return text if plain and text and not _QUOTED.search(text) else escape_json(json.dumps(text))
