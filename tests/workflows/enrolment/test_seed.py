"""Seeding from the built-in catalogue and from a file."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from twelvefold.core.ports import Store
from twelvefold.workflows.enrolment.seed import catalogue, problems, seed

RECORD: dict[str, Any] = {
    "clbid": "0000148988",
    "crsid": "0000000747",
    "term": 20231,
    "department": "MATH",
    "number": 252,
    "section": "B",
    "type": "Research",
    "name": "Abstract Algebra I",
    "description": ["Groups.", "Rings."],
    "prerequisites": "MATH 220.",
    "credits": 0.5,
    "status": "O",
    "enrolled": 18,
    "max": 20,
    "offerings": [
        {"day": "Mo", "start": "11:50", "end": "12:45", "location": "RNS 204"},
        {"day": "Mo", "start": "11:50", "end": "12:45", "location": "RNS 205"},
    ],
}


async def seeded(store: Store, *records: dict[str, Any]) -> int:
    async with store.write() as tx:
        return await seed(tx, records)


async def rows(store: Store, statement: str) -> list[tuple[Any, ...]]:
    async with store.read() as db:
        return [tuple(row.values()) for row in await db.fetch_all(statement)]


async def test_the_built_in_catalogue_is_seeded_once(empty_store: Store) -> None:
    async with empty_store.write() as tx:
        first = await seed(tx, None)
        await tx.execute("update sections set seats_left = 0 where id = 'DB-102-A'")
    async with empty_store.write() as tx:
        second = await seed(tx, None)

    assert (first, second) == (48, 0)
    seats = "select seats_left from sections where id = 'DB-102-A'"
    assert await rows(empty_store, seats) == [(0,)]


async def test_a_record_becomes_rows(empty_store: Store) -> None:
    assert await seeded(empty_store, RECORD) == 1

    assert await rows(empty_store, "select * from departments") == [("MATH", "MATH")]
    assert await rows(empty_store, "select * from courses") == [
        (
            *("MATH-252", "MATH", "Abstract Algebra I", "Groups.\n\nRings.", "MATH 220.", 50),
            " math 252 abstract algebra i groups rings",
        )
    ]
    assert await rows(empty_store, "select * from sections") == [
        (
            *(
                "0000148988",
                "MATH-252",
                "0000000747",
                "Abstract Algebra I",
                20231,
                "2023-09-07",
                "2023-12-20",
            ),
            *(20_000, 20, 2, "open"),
        )
    ]
    assert await rows(empty_store, "select * from meetings") == [("0000148988", 1, 710, 765)]
    assert await rows(empty_store, "select * from prerequisites") == []


async def test_optional_fields_override_the_defaults(empty_store: Store) -> None:
    more = {
        "department_name": "Mathematics",
        "price_cents": 100,
        "starts": "2027-01-04",
        "ends": "2027-01-29",
        "requires": ["math220"],
    }

    await seeded(empty_store, RECORD | more)

    assert await rows(empty_store, "select name from departments") == [("Mathematics",)]
    section = "select price_cents, starts_on, ends_on from sections"
    assert await rows(empty_store, section) == [(100, "2027-01-04", "2027-01-29")]
    assert await rows(empty_store, "select * from prerequisites") == [("MATH-252", "MATH-220")]


@pytest.mark.parametrize(
    ("term", "dates"),
    [
        (20231, ("2023-09-07", "2023-12-20")),
        (20232, ("2024-01-04", "2024-01-29")),
        (20233, ("2024-02-08", "2024-05-25")),
        (20239, ("2023-09-01", "2024-08-31")),
    ],
)
async def test_a_term_determines_the_dates(
    empty_store: Store, term: int, dates: tuple[str, str]
) -> None:
    await seeded(empty_store, RECORD | {"term": term})

    assert await rows(empty_store, "select starts_on, ends_on from sections") == [dates]


async def test_more_students_than_seats_is_full(empty_store: Store) -> None:
    await seeded(empty_store, RECORD | {"enrolled": 25, "status": "C"})

    assert await rows(empty_store, "select seats_left, status from sections") == [(0, "closed")]


async def test_a_lab_is_a_separate_course(empty_store: Store) -> None:
    await seeded(empty_store, RECORD, RECORD | {"clbid": "2", "type": "Lab"})

    codes = await rows(empty_store, "select code from courses order by code")
    assert codes == [("MATH-252",), ("MATH-252L",)]


async def test_a_course_is_found_by_the_topics_of_all_its_sections(empty_store: Store) -> None:
    topics = [RECORD | {"clbid": str(n), "title": "Topics", "name": f"Top: {n}"} for n in (1, 2)]

    await seeded(empty_store, *topics)

    assert await rows(empty_store, "select title, search_text from courses") == [
        ("Topics", " math 252 topics top 1 top 2 groups rings")
    ]
    assert await rows(empty_store, "select title from sections order by id") == [
        ("Top: 1",),
        ("Top: 2",),
    ]


async def test_a_new_section_is_added_to_a_known_course(empty_store: Store) -> None:
    await seeded(empty_store, RECORD)

    assert await seeded(empty_store, RECORD, RECORD | {"clbid": "2", "name": "Other"}) == 1
    assert await rows(empty_store, "select title from courses") == [("Abstract Algebra I",)]


async def test_a_file_with_an_invalid_record_writes_nothing(empty_store: Store) -> None:
    with pytest.raises(ValueError, match=r"record 2: max: .*found 'many'"):
        await seeded(empty_store, RECORD, RECORD | {"clbid": "2", "max": "many"})

    assert await rows(empty_store, "select id from sections") == []


async def test_a_repeated_section_is_rejected(empty_store: Store) -> None:
    with pytest.raises(ValueError, match="record 3: clbid: 0000148988 is also that of record 1"):
        await seeded(empty_store, RECORD, RECORD | {"clbid": "2"}, RECORD)


async def test_a_real_catalogue_is_seeded(empty_store: Store, catalogue_file: Path) -> None:
    with gzip.open(catalogue_file, "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]

    assert await seeded(empty_store, *records) == 2552

    full = "select count(*) from sections where seats_left = 0 and capacity > 0"
    assert await rows(empty_store, full) == [(720,)]


def test_the_built_in_catalogue_is_valid() -> None:
    assert [problem for record in catalogue() for problem in problems(record)] == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"max": -1}, "max: Input should be greater than or equal to 0, found -1"),
        ({"enrolled": True}, "enrolled: Input should be a valid integer, found True"),
        ({"status": "open"}, "status: Input should be 'O' or 'C', found 'open'"),
        ({"term": 2023}, "term: Input should be greater than or equal to 10000, found 2023"),
        (
            {"credits": "x"},
            "credits: Input should be a valid number, unable to parse string as a number",
        ),
        ({"clbid": None}, "clbid: Field required"),
        ({"clbid": "a b"}, "clbid: String should match pattern"),
        ({"name": "\ud800"}, "name: Input should be a valid string, unable to parse raw data"),
        ({"prerequisites": 5}, "prerequisites: Input should be a valid string, found 5"),
        (
            {"description": "x" * 20_000},
            "description: has 20000 characters; at most 10000 are allowed",
        ),
        ({"starts": "2030-01-01"}, "ends on 2023-12-20, before its start on 2030-01-01"),
        (
            {"offerings": [{"day": "Mo", "start": "12:00", "end": "11:00"}]},
            "offerings.0: ends at 11:00, not after its start at 12:00",
        ),
    ],
)
def test_an_invalid_record_is_reported_by_field(changed: dict[str, Any], message: str) -> None:
    (problem,) = problems(RECORD | changed)

    assert problem.startswith(message)


@pytest.mark.parametrize("record", [[1], "x", None, 5])
def test_a_line_that_is_not_an_object_is_reported(record: object) -> None:
    assert problems(record) == ["not an object"]


def test_optional_fields_may_be_null() -> None:
    spare = dict.fromkeys(["section", "type", "description", "offerings", "crsid"])

    assert problems(RECORD | spare) == []
