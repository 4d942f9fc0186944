"""Exceptions as they are logged: with type and place, without the message.

A message or a source line may contain arguments, prompts, replies, addresses, values of a statement
or a password. The message of a tool's exception is in the journal (`twelvefold runs show`).
"""

import traceback
from collections.abc import Iterator
from types import TracebackType

from twelvefold.errors import TwelvefoldError

MAX_FRAMES = 40
"""Frames of a traceback; the middle of a longer one is left out."""
MAX_ERRORS = 20
"""Exceptions of a chain or group that are written."""


def summary(error: BaseException) -> str:
    """Return the error's `log_text` (`TwelvefoldError.loggable`), or else its type and place."""
    if text := _log_text(error):
        return text
    place = _last_place(error)
    return f"{_name(error)} ({place})" if place else _name(error)


def stack(error: BaseException) -> str:
    """Return the tracebacks of an exception, its causes and its group, on several lines.

    Frames have file, line and function, without source text.
    """
    return "\n".join(_lines(error))


def _lines(error: BaseException) -> Iterator[str]:
    for number, (one, relation) in enumerate(_chain(error)):
        if relation:
            yield relation
        if number == MAX_ERRORS:
            yield "  …"
            return
        yield from _frame_lines(one.__traceback__)
        text = _log_text(one)
        yield f"{_name(one)}: {text}" if text else _name(one)


def _chain(error: BaseException) -> Iterator[tuple[BaseException, str]]:
    """Return the exception, then its causes and group, each with its relation to the one before."""
    pending, seen = [(error, "")], set[int]()
    while pending:
        one, relation = pending.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one, relation
        cause = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
        if cause is not None:
            pending.append((cause, "caused by" if one.__cause__ else "raised while handling"))
        if isinstance(one, BaseExceptionGroup):
            pending += [(inner, "in the group") for inner in reversed(one.exceptions)]


def _frame_lines(found: TracebackType | None) -> Iterator[str]:
    frames = list(traceback.walk_tb(found))
    for number, (frame, line) in enumerate(frames):
        left_out = len(frames) - MAX_FRAMES
        if left_out > 0 and MAX_FRAMES // 2 <= number < len(frames) - MAX_FRAMES // 2:
            if number == MAX_FRAMES // 2:
                yield f"  … {left_out} frames"
            continue
        code = frame.f_code
        yield f'  File "{code.co_filename}", line {line}, in {code.co_qualname}'


def _last_place(error: BaseException) -> str:
    last = error.__traceback__
    if last is None:
        return ""
    while last.tb_next:
        last = last.tb_next
    return f"{last.tb_frame.f_code.co_filename}, line {last.tb_lineno}"


def _name(error: BaseException) -> str:
    kind = type(error)
    ours = kind.__module__ == "builtins" or kind.__module__.startswith("twelvefold.")
    return kind.__qualname__ if ours else f"{kind.__module__}.{kind.__qualname__}"


def _log_text(error: BaseException) -> str:
    return error.log_text if isinstance(error, TwelvefoldError) else ""
