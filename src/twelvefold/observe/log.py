"""Logging of events with fields, one line each, through the standard library's logging.

The operator's environment stores the lines; nothing here opens a file. Field values never contain a
prompt, a reply, an argument or a key. Exceptions are written without their message, as
`observe.exceptions` formats them.
"""

import json
import logging
import math
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal, TextIO
from unicodedata import bidirectional

import msgspec

from twelvefold.observe.escape import escape, escape_json
from twelvefold.observe.exceptions import stack, summary
from twelvefold.observe.line_handler import LineHandler

LogFormat = Literal["json", "text"]
LogLevel = Literal["debug", "info", "warning", "error"]
Threshold = LogLevel | Literal["none"]
"""The lowest level that is logged; "none" disables logging."""
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
_PLAIN_TYPES = frozenset({str, int, bool, type(None)})
_ENCODER = msgspec.json.Encoder()
_COLOURS = {"debug": "2", "info": "36", "warning": "33", "error": "31", "critical": "31"}


class Log:
    """A logger with fields as keyword arguments: `log.info("tool_succeeded", tool=name)`."""

    __slots__ = ("_logger",)

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def is_enabled(self, level: LogLevel) -> bool:
        """Return whether lines of this level are written, so that their fields are needed."""
        return self._logger.isEnabledFor(LEVELS[level])

    def debug(self, event: str, /, **fields: object) -> None:
        self._write(logging.DEBUG, event, fields)

    def info(self, event: str, /, **fields: object) -> None:
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, /, **fields: object) -> None:
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, /, **fields: object) -> None:
        self._write(logging.ERROR, event, fields)

    def exception(self, event: str, /, **fields: object) -> None:
        """Log an error with the traceback of the exception that is being handled."""
        self._write(logging.ERROR, event, fields, raised=sys.exception())

    def failure(self, event: str, error: BaseException, /, **fields: object) -> None:
        """Log an error with the traceback of the given exception."""
        self._write(logging.ERROR, event, fields, raised=error)

    def _write(
        self,
        level: int,
        event: str,
        fields: dict[str, object],
        *,
        raised: BaseException | None = None,
    ) -> None:
        if not self._logger.isEnabledFor(level):
            return
        exc_info = (type(raised), raised, raised.__traceback__) if raised else None
        # Not `Logger.log`: it searches the stack for the caller, which no format shows.
        record = logging.LogRecord(self._logger.name, level, "", 0, event, (), exc_info)
        record.fields = {name: _without_message(value) for name, value in fields.items()}
        self._logger.handle(record)


def get_logger(name: str) -> Log:
    """Return the log of a module: `log = get_logger(__name__)`."""
    return Log(logging.getLogger(name))


@contextmanager
def bind(**fields: object) -> Iterator[None]:
    """Add fields to every line logged in the body, by this task and by tasks it starts."""
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
    per_turn: bool = False,
) -> None:
    """Write the lines of all loggers to the stream, those of other libraries included.

    `per_turn`: write the lines of one iteration of the event loop together, as `LineHandler` does.

    `level` applies to Twelvefold. Other libraries log only warnings and errors, because below that
    HTTP clients and database drivers log URLs, bodies and values; a logger with an explicit level
    keeps it. Lines are lost, without an error, when the reader of the stream closes it.
    """
    handler = LineHandler(stream) if per_turn else logging.StreamHandler(stream)
    handler.setFormatter(_formatter(format, release, colour))
    handler.addFilter(_is_enabled)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])
    logging.raiseExceptions = False


def _is_enabled(record: logging.LogRecord) -> bool:
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
    """One JSON object per line: `at`, `level`, `event`, `logger`, `release`, then the fields."""

    def __init__(self, release: str = "") -> None:
        super().__init__()
        self._release = {"release": release} if release else {}

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": _format_time(record.created),
            "level": record.levelname.lower(),
            "event": _event(record),
            "logger": record.name,
            **self._release,
        }
        # A field does not replace a standard key.
        for name, value in {**_fields(record), **self._traceback(record)}.items():
            line.setdefault(name, value)
        return _json(line)

    def _traceback(self, record: logging.LogRecord) -> dict[str, str]:
        text = _stack(record)
        return {"traceback": text} if text else {}


def _format_time(seconds: float) -> str:
    """Return the time in UTC with microseconds, in the form of ISO 8601."""
    second, microsecond = divmod(round(seconds * 1_000_000), 1_000_000)
    return f"{_format_second(second)}.{microsecond:06d}+00:00"


@lru_cache(maxsize=2)
def _format_second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _json(fields: Mapping[str, object]) -> str:
    """Return one line of JSON; values without a JSON form become strings."""
    if all(map(_is_plain, fields.values())):
        try:
            line = msgspec.json.format(_ENCODER.encode(fields), indent=0)
        except ValueError:
            pass  # half of a surrogate pair
        else:
            if line.isascii() and b"\x7f" not in line:
                return line.decode()
    return escape_json(_dump(fields))


def _is_plain(value: object) -> bool:
    """Return whether msgspec and json write the value in the same way."""
    kind = type(value)
    return kind in _PLAIN_TYPES or (kind is float and math.isfinite(value))  # type: ignore[arg-type]


def _dump(fields: Mapping[str, object]) -> str:
    try:
        return json.dumps(fields, default=str, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return json.dumps({name: str(value) for name, value in fields.items()})


class TextFormatter(logging.Formatter):
    """A line for people: the time of day (UTC), level, event, fields and the release.

    The lines of a traceback follow, each after a bar. Values cannot break a line, control a
    terminal or reorder text.
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
        line = f"{at} {self._colourise(f'{level:<7}', _COLOURS.get(level, ''))} {' '.join(words)}"
        text = _stack(record)
        # The name of a file or exception must not look like a log line.
        return "".join((line, *(f"\n  | {escape(one)}" for one in text.split("\n") if text)))

    def _colourise(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colour and colour else text


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields: dict[str, object] = getattr(record, "fields", {})
    return {**bound, **fields} if (bound := _BOUND.get()) else fields


def _event(record: logging.LogRecord) -> str:
    """Return the event; for other libraries the first line, without messages of exceptions."""
    if _is_ours(record):
        return record.getMessage()
    if isinstance(record.args, tuple):
        record.args = tuple(map(_without_message, record.args))
    text = record.getMessage().strip().partition("\n")[0]
    # asyncio logs tasks, handles and callbacks with their arguments and exceptions.
    return re.split(r"[(<]", text, maxsplit=1)[0].rstrip() if record.name == "asyncio" else text


def _without_message(value: object) -> object:
    return summary(value) if isinstance(value, BaseException) else value


def _stack(record: logging.LogRecord) -> str:
    error = record.exc_info[1] if record.exc_info else None
    return stack(error) if error else ""


def _word(value: object) -> str:
    """Return a value as one word, quoted if necessary."""
    text = str(value)
    # Right-to-left letters would reorder the rest of the line.
    plain = escape(text) == text and not any(bidirectional(one) in _RIGHT_TO_LEFT for one in text)
    return text if plain and text and not _QUOTED.search(text) else escape_json(json.dumps(text))
