"""Fills the academy's tables from the built-in catalogue or from the records of a file.

An existing section is not changed, so that the seed can run again.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twelvefold import Transaction

if TYPE_CHECKING:
    from twelvefold.workflows.enrolment.record import Record

CATALOGUE = Path(__file__).with_name("catalogue.jsonl")
_BATCH = 100
_MAX_REPORTED = 20
_COLUMNS = {
    "departments": ("code", "name"),
    "courses": (
        *("code", "department", "title", "description", "prerequisite_note"),
        *("credit_hundredths", "search_text"),
    ),
    "sections": (
        *("id", "course_code", "crsid", "title", "term", "starts_on", "ends_on"),
        *("price_cents", "capacity", "seats_left", "status"),
    ),
    "prerequisites": ("course_code", "needs_code"),
    "meetings": ("section_id", "weekday", "starts_minute", "ends_minute"),
}


def catalogue() -> Iterator[Mapping[str, Any]]:
    """Yield the records of the built-in catalogue."""
    with CATALOGUE.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def problems(record: object) -> list[str]:
    """Return the problems of a catalogue's line, one sentence each; empty if it is valid."""
    parsed = _parse_record(record)
    return parsed if isinstance(parsed, list) else []


def _parse_record(record: object) -> "Record | list[str]":
    if not isinstance(record, Mapping):
        return ["not an object"]
    from pydantic import ValidationError

    from twelvefold.workflows.enrolment.record import Record

    try:
        return Record.model_validate(record)
    except ValidationError as error:
        return [_problem(one) for one in error.errors(include_url=False)]


def _problem(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"])
    message = error["msg"].removeprefix("Value error, ")
    if isinstance(error["input"], str | int | float):
        message += f", found {repr(error['input'])[:60]}"
    return f"{where}: {message}" if where else message


async def seed(tx: Transaction, records: Iterable[Mapping[str, Any]] | None = None) -> int:
    """Insert new courses and sections, and return the number of new sections.

    Raises ValueError without writing anything if a record is invalid or a section is repeated.
    """
    parsed = _parsed(catalogue() if records is None else records)
    sections = await _without_row(tx, "sections", "id", {one.clbid: one for one in parsed})
    # The first section of a course describes the course.
    courses = await _without_row(
        tx, "courses", "code", {one.course_code: one for one in reversed(sections)}
    )
    departments = await _without_row(
        tx, "departments", "code", {one.department: one for one in reversed(courses)}
    )
    await _insert(tx, "departments", [one.department_row for one in departments])
    topics = _topics(sections)
    await _insert(tx, "courses", [one.course_row(topics[one.course_code]) for one in courses])
    await _insert(tx, "prerequisites", [row for one in courses for row in one.prerequisite_rows])
    await _insert(tx, "sections", [one.section_row for one in sections])
    await _insert(tx, "meetings", [row for one in sections for row in one.meeting_rows])
    return len(sections)


def _parsed(records: Iterable[Mapping[str, Any]]) -> "list[Record]":
    parsed: list[Record] = []
    found: list[str] = []
    number_of: dict[str, int] = {}
    for number, record in enumerate(records, start=1):
        read = _parse_record(record)
        if isinstance(read, list):
            found += [f"record {number}: {problem}" for problem in read]
            continue
        parsed.append(read)
        first = number_of.setdefault(read.clbid, number)
        if first != number:
            found.append(f"record {number}: clbid: {read.clbid} is also that of record {first}")
    if found:
        more = [f"and {len(found) - _MAX_REPORTED} more"] if len(found) > _MAX_REPORTED else []
        raise ValueError("\n".join(found[:_MAX_REPORTED] + more))
    return parsed


async def _without_row(
    tx: Transaction, table: str, key: str, by_key: "Mapping[str, Record]"
) -> "list[Record]":
    """Return the records without a row in the table."""
    rows = await tx.fetch_all(f"select {key} as known from {table}")  # noqa: S608 - our own names
    known = {row["known"] for row in rows}
    return [record for value, record in by_key.items() if value not in known]


def _topics(sections: "Iterable[Record]") -> dict[str, list[str]]:
    """Return the distinct names of the sections of each course."""
    names: dict[str, dict[str, None]] = {}
    for one in sections:
        names.setdefault(one.course_code, {})[one.name] = None
    return {code: list(of_course) for code, of_course in names.items()}


async def _insert(tx: Transaction, table: str, rows: Sequence[Sequence[object]]) -> None:
    """Insert rows in batches, because a catalogue has thousands."""
    columns = _COLUMNS[table]
    for start in range(0, len(rows), _BATCH):
        batch = rows[start : start + _BATCH]
        marks = ", ".join(
            f"({', '.join(f':{column}{n}' for column in columns)})" for n in range(len(batch))
        )
        values = {
            f"{column}{n}": value
            for n, row in enumerate(batch)
            for column, value in zip(columns, row, strict=True)
        }
        insert = f"insert into {table} ({', '.join(columns)}) values {marks}"  # noqa: S608 - our own names
        await tx.execute(insert, **values)
