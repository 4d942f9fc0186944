"""A tool's exception as the journal stores it: type, message and place, without its arguments."""

import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Protocol

from twelvefold.core import ToolError

MESSAGE_CHARS = 1_000
"""The longest message that is stored."""
_PACKAGE = str(Path(__file__).parents[2])


class Called(Protocol):
    """A tool, or another function of the author's; `timeout_s` bounds a call of it."""

    @property
    def function(self) -> Callable[..., object]: ...
    @property
    def timeout_s(self) -> float: ...


def tool_error(error: BaseException, tool: Called, *, timed_out: bool = False) -> ToolError:
    """Return the exception that a tool raised, at the last line of the tool's own module."""
    file, line = _place(error, tool)
    message = f"it took longer than {tool.timeout_s:g} s (timeout_s)" if timed_out else _text(error)
    return ToolError(type(error).__qualname__, message, file, line)


def _text(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:
        text = "its message cannot be shown"
    clean = text.encode("utf-8", "backslashreplace").decode()
    return clean if len(clean) <= MESSAGE_CHARS else f"{clean[: MESSAGE_CHARS - 1]}…"


def _place(error: BaseException, tool: Called) -> tuple[str, int]:
    frames = list(traceback.walk_tb(error.__traceback__))
    own = getattr(getattr(tool.function, "__code__", None), "co_filename", "")
    return (
        _last([one for one in frames if _file(one[0]) == own])
        or _last([one for one in frames if not _file(one[0]).startswith(_PACKAGE)])
        or ("", 0)
    )


def _last(frames: Sequence[tuple[FrameType, int]]) -> tuple[str, int] | None:
    return (_file(frames[-1][0]), frames[-1][1]) if frames else None


def _file(frame: FrameType) -> str:
    return frame.f_code.co_filename
