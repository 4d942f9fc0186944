"""Fill a workflow's tables from a file or with its own records, in one transaction."""

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from twelvefold.core import Seeder, Store, Workflow
from twelvefold.errors import RequestError, ServiceFault, StoreRefused, TwelvefoldError

Progress = Callable[[int, int], None]
"""Called with the number of records done, and of all records."""
GZIP = b"\x1f\x8b"
MAX_BAD_LINES = 20


def _ignore_progress(done: int, total: int) -> None:
    pass


async def seed(
    store: Store,
    workflow: Workflow,
    path: Path | None = None,
    progress: Progress = _ignore_progress,
) -> int:
    """Write the records of a JSON Lines file, or the workflow's own; return their number.

    Raises RequestError, and writes nothing, for a workflow without a seed or a file with bad lines.
    """
    if workflow.seed is None:
        raise RequestError(f"workflow {workflow.name!r} declares no seed")
    if path is None:
        return await _seed_own_records(store, workflow.name, workflow.seed)
    return await _seed_file(store, workflow.seed, _RecordFile(path), progress)


async def _seed_own_records(store: Store, name: str, write: Seeder) -> int:
    try:
        async with store.write() as tx:
            return await write(tx, None)
    except StoreRefused as error:
        raise type(error)(f"workflow {name}: seed: {error}; nothing was written") from error


async def _seed_file(store: Store, write: Seeder, file: "_RecordFile", progress: Progress) -> int:
    total = file.check()
    try:
        async with store.write() as tx:
            return await write(tx, file.records(lambda done: progress(done, total)))
    except StoreRefused as error:
        raise type(error)(f"{file.locate(error)}; nothing was written") from error
    except (ServiceFault, RequestError):
        raise
    except Exception as error:  # the author's seed may raise anything
        raise RequestError(f"{file.locate(error)}\nnothing was written") from error


class _RecordFile:
    """A file with one JSON object per line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._numbers: list[int] = []
        self._all_read = False

    def check(self) -> int:
        """Return the number of records. Raises RequestError with every bad line."""
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
        if len(bad) > MAX_BAD_LINES:
            bad[MAX_BAD_LINES:] = [f"… and {len(bad) - MAX_BAD_LINES} more"]
        raise RequestError("\n".join([*bad, "nothing was written"]))

    def records(self, done: Callable[[int], None]) -> Iterator[Mapping[str, Any]]:
        for number, text in self._lines():
            self._numbers.append(number)
            yield _record(text)
            done(len(self._numbers))
        self._all_read = True

    def locate(self, error: Exception) -> str:
        """Return the error's message with the line: of `record N` in it, or the last one read."""
        text = str(error) if isinstance(error, ValueError | TwelvefoldError) else repr(error)
        if self._all_read or not self._numbers:
            return re.sub("^record ([0-9]+)", self._line_of_record, text, flags=re.MULTILINE)
        return f"{self._path}, line {self._numbers[-1]}: {text}"

    def _line_of_record(self, match: re.Match[str]) -> str:
        number = int(match[1])
        known = 0 < number <= len(self._numbers)
        return f"{self._path}, line {self._numbers[number - 1]}" if known else match[0]

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        try:
            with self._path.open("rb") as file:
                compressed = file.read(len(GZIP)) == GZIP
                file.seek(0)
                lines: Iterable[bytes] = gzip.GzipFile(fileobj=file) if compressed else file
                for number, text in enumerate(lines, start=1):
                    if text.strip():
                        yield number, text
        except (OSError, EOFError, zlib.error) as error:
            raise RequestError(f"{self._path}: cannot read the file: {error}") from error


def _record(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError(f"a JSON {type(value).__name__}, not an object")
    return value
