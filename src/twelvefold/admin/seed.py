"""Fill a workflow's tables, from a file or with its own records: all of it or nothing."""

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from twelvefold.core.ports import Store
from twelvefold.core.workflow import Workflow
from twelvefold.errors import RequestError, ServiceFault, StoreRefused, TwelvefoldError

Progress = Callable[[int, int], None]
"""Called with how many records are done, and how many there are."""
GZIP = b"\x1f\x8b"
BAD_LINES_SHOWN = 20


def _silence(done: int, total: int) -> None:
    pass


async def seed(
    store: Store, workflow: Workflow, path: Path | None = None, progress: Progress = _silence
) -> int:
    """Write the records of a JSON Lines file, or the workflow's own; returns how many.

    Raises RequestError for a workflow that has no seed and for a file with bad lines; nothing is
    written then.
    """
    if workflow.seed is None:
        raise RequestError(f"workflow {workflow.name!r} declares no seed")
    if path is None:
        try:
            async with store.write() as tx:
                return await workflow.seed(tx, None)
        except StoreRefused as error:
            said = f"workflow {workflow.name}: its seed: {error}; nothing was written"
            raise type(error)(said) from error
    file = _File(path)
    total = file.check()
    try:
        async with store.write() as tx:
            return await workflow.seed(tx, file.records(lambda done: progress(done, total)))
    except StoreRefused as error:
        raise type(error)(f"{file.told(error)}; nothing was written") from error
    except (ServiceFault, RequestError):
        raise
    except Exception as error:  # the author's seed may trip over a record in any way
        raise RequestError(f"{file.told(error)}\nnothing was written") from error


class _File:
    """A file of JSON objects, one a line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._numbers: list[int] = []
        self._all_read = False

    def check(self) -> int:
        """How many records it has. Raises RequestError with every bad line."""
        bad: list[str] = []
        total = 0
        for number, text in self._lines():
            try:
                _record(text)
                total += 1
            except ValueError as error:
                bad.append(f"{self._path}, line {number}: {error}")
        if not bad:
            return total
        if len(bad) > BAD_LINES_SHOWN:
            bad[BAD_LINES_SHOWN:] = [f"… and {len(bad) - BAD_LINES_SHOWN} more"]
        raise RequestError("\n".join([*bad, "nothing was written"]))

    def records(self, done: Callable[[int], None]) -> Iterator[Mapping[str, Any]]:
        for number, text in self._lines():
            self._numbers.append(number)
            yield _record(text)
            done(len(self._numbers))
        self._all_read = True

    def told(self, error: Exception) -> str:
        """What the author's seed says, `record N` in it being replaced by the line it stood in."""
        what = str(error) if isinstance(error, ValueError | TwelvefoldError) else repr(error)
        if self._all_read or not self._numbers:
            return re.sub("^record ([0-9]+)", self._line_of_record, what, flags=re.MULTILINE)
        return f"{self._path}, line {self._numbers[-1]}: {what}"

    def _line_of_record(self, match: re.Match[str]) -> str:
        number = int(match[1])
        known = 0 < number <= len(self._numbers)
        return f"{self._path}, line {self._numbers[number - 1]}" if known else match[0]

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        try:
            with self._path.open("rb") as file:
                packed = file.read(len(GZIP)) == GZIP
                file.seek(0)
                lines: Iterable[bytes] = gzip.GzipFile(fileobj=file) if packed else file
                for number, text in enumerate(lines, start=1):
                    if text.strip():
                        yield number, text
        except (OSError, EOFError, zlib.error) as error:
            raise RequestError(f"{self._path}: cannot be read: {error}") from error


def _record(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except UnicodeDecodeError:
        raise ValueError("is no UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"is no JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise ValueError("is no JSON that can be read: it is nested too deep") from None
    if not isinstance(value, dict):
        raise ValueError(f"is a {type(value).__name__}, not an object")
    return value
